"""What cutting a row to a size costs: sampled curvature of the cross-entropy, steadied by a closed form.

Cutting row i to its first t dimensions moves the logit of an event that looks it up by delta_i = sum_{j >= t} J_j z_ij, with
J = d logit / d z, and the cross-entropy between the whole model and the cut one by about p (1 - p) delta^2 / 2 (second order; the
first order vanishes where the whole model is the truth). One gradient pass over random training events adds up, for each row and
level, the sampled part

    S_i(t) = sum over the m_i sampled lookups of p (1 - p) delta_i delta / 2,

where delta is what all of the event's values in the field move the logit by together: of one value it is delta_i itself; the values
of a list are cut together, and so S summed over the list is the joint square. A row that few sampled events look up has a
noisy S, a row that none does has none; the expectation of S / m under the field's curvature steadies both:

    E_i(t) = z_tail' G_f z_tail / 2,      G_f = mean over the field's sampled lookups of p (1 - p) J J'

    cost_i(t) = lookups_i * (S_i(t) + KAPPA E_i(t)) / (m_i + KAPPA),

made non-increasing in t. Everything is held at the level sizes only: V (L + 1) numbers beside the table, and rows go by in chunks.

Shapes: V rows, F fields, D dimensions, L levels above 0, B events, M looked-up values, U bags (values of one field in one event),
N rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.model.ctr_model import CTRModel

KAPPA = 8.0
"""Sampled lookups that the closed form weighs as much as."""

CHUNK_ROWS = 2**18
BATCH_EVENTS = 4096


@dataclass(frozen=True)
class Looked:
    """What one batch looked up, and how its logits answer.

    Attributes:
        rows_M: table rows. vectors_MD: their stored vectors. gradient_MD: d logit / d vector of the value's event.
        curvature_M: p (1 - p) of the value's event.
        bag_M: which bag the value is in, 0 ... bags - 1. bags: U.
    """

    rows_M: Tensor
    vectors_MD: Tensor
    gradient_MD: Tensor
    curvature_M: Tensor
    bag_M: Tensor
    bags: int


class Sample:
    """Sums over sampled lookups, on the CPU.

    Attributes:
        size_L1: the levels' sizes.
        effect_VL1: S, float32 [V, L + 1]; the last column is 0.
        seen_V: m, sampled lookups of each row, float32.
        gram_FDD: sum over the field's lookups of p (1 - p) J J', float64. lookups_F: how many they are.
        events: sampled events.
    """

    def __init__(self, field_V: Tensor, fields: int, size_L1: Tensor) -> None:
        rows, dim = len(field_V), int(size_L1[-1])
        self.field_V, self.size_L1, self.events = field_V, size_L1, 0
        self.effect_VL1 = torch.zeros(rows, len(size_L1))
        self.seen_V = torch.zeros(rows)
        self.gram_FDD = torch.zeros(fields, dim, dim, dtype=torch.float64)
        self.lookups_F = torch.zeros(fields, dtype=torch.int64)

    def add(self, looked: Looked, events: int) -> None:
        """Add the lookups of a batch of events."""
        rows_M = looked.rows_M.cpu()
        field_M = self.field_V[rows_M]
        self.events += events
        self.effect_VL1.index_add_(0, rows_M, _effects(looked, self.size_L1).cpu())
        self.seen_V.index_add_(0, rows_M, torch.ones(len(rows_M)))
        self.lookups_F += torch.bincount(field_M, minlength=len(self.lookups_F))
        weighted_MD = looked.gradient_MD * looked.curvature_M.sqrt().unsqueeze(1)
        for number in field_M.unique().tolist():
            own_ND = weighted_MD[(field_M == number).to(weighted_MD.device)]
            self.gram_FDD[number] += (own_ND.T @ own_ND).double().cpu()

    @property
    def curvature_FDD(self) -> Tensor:
        """G_f, float64 [F, D, D]; 0 for fields without a sampled lookup."""
        return self.gram_FDD / self.lookups_F.clamp(min=1)[:, None, None]

    @property
    def noise_FD(self) -> Tensor:
        """Nats a lookup costs for each unit of squared error in a dimension, float32 [F, D]."""
        return 0.5 * self.curvature_FDD.diagonal(dim1=1, dim2=2).float()


def _effects(looked: Looked, size_L1: Tensor) -> Tensor:
    """What S adds up, p (1 - p) delta_i delta / 2, of every looked-up value at every level, float32 [M, L + 1], not negative."""
    tails_MD = (looked.gradient_MD * looked.vectors_MD).flip(1).cumsum(1).flip(1)  # column t: sum over j >= t
    moved_ML1 = torch.cat([tails_MD, tails_MD.new_zeros(len(tails_MD), 1)], dim=1)[:, size_L1.to(tails_MD.device)]
    bag_UL1 = moved_ML1.new_zeros(looked.bags, len(size_L1)).index_add_(0, looked.bag_M, moved_ML1)
    return (0.5 * looked.curvature_M.unsqueeze(1) * moved_ML1 * bag_UL1[looked.bag_M]).clamp(min=0).float()


def sample_effects(model: CTRModel, data: Rows, field_V: Tensor, size_L1: Tensor, device: torch.device, rows: int, seed: int) -> Sample:
    """One gradient pass over about `rows` random events; the model stays as it is and ends on the CPU."""
    sample = Sample(field_V, model.config.fields, size_L1)
    model.to(device).eval()
    for batch in data.shuffled(BATCH_EVENTS, seed, 0):
        batch = batch.to(device)
        with model.embedder.recorded_lookups() as recorded:
            logits_B = model(batch)
        (gradient_MD,) = torch.autograd.grad(logits_B.sum(), recorded.vectors_MD)
        p_B = torch.sigmoid(logits_B.detach())
        bag_M = recorded.event_M * model.config.fields + field_V[recorded.rows_M.cpu()].to(device)
        looked = Looked(
            rows_M=recorded.rows_M,
            vectors_MD=recorded.vectors_MD.detach(),
            gradient_MD=gradient_MD,
            curvature_M=(p_B * (1 - p_B))[recorded.event_M],
            bag_M=bag_M,
            bags=len(batch) * model.config.fields,
        )
        sample.add(looked, len(batch))
        if sample.events >= rows:
            break
    model.cpu()
    return sample


def row_costs(sample: Sample, table_VD: Tensor, lookups_V: Tensor) -> Tensor:
    """Cross-entropy, nats an event, that cutting each row to each level costs: float32 [V, L + 1].

    The sample's own sums become the costs, in place: it cannot be used again.

    Args:
        table_VD: stored rows, on the CPU. lookups_V: lookups of each row an event.
    """
    costs_VL1 = sample.effect_VL1
    for number, chunk in field_chunks(sample.field_V):
        expected_NL1 = tail_energies(table_VD[chunk], sample.curvature_FDD[number].float(), sample.size_L1)
        weight_N = lookups_V[chunk] / (sample.seen_V[chunk] + KAPPA)
        costs_NL1 = (costs_VL1[chunk] + KAPPA * expected_NL1) * weight_N.unsqueeze(1)
        costs_VL1[chunk] = costs_NL1.flip(1).cummax(1).values.flip(1)
    return costs_VL1


def tail_energies(rows_ND: Tensor, curvature_DD: Tensor, size_L1: Tensor) -> Tensor:
    """E: z_tail' G z_tail / 2 of the tails that begin at each level's size, float32 [N, L + 1]; the last column is 0."""
    energies_NL1 = rows_ND.new_zeros(len(rows_ND), len(size_L1))
    sizes = size_L1.tolist()
    for level in range(len(sizes) - 2, -1, -1):
        start, stop = sizes[level], sizes[level + 1]
        weights_TX = curvature_DD[start:, start:stop].clone()
        weights_TX[stop - start :] *= 2  # dimensions beyond the level enter as (level, beyond) and as (beyond, level)
        grown_N = ((rows_ND[:, start:] @ weights_TX) * rows_ND[:, start:stop]).sum(1)
        energies_NL1[:, level] = energies_NL1[:, level + 1] + 0.5 * grown_N
    return energies_NL1.clamp_(min=0)


def field_chunks(field_V: Tensor) -> Iterator[tuple[int, slice]]:
    """(field, rows) over a table whose fields' rows follow one another, at most `CHUNK_ROWS` at a time."""
    numbers, counts = torch.unique_consecutive(field_V, return_counts=True)
    first = 0
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        for start in range(first, first + count, CHUNK_ROWS):
            yield number, slice(start, min(start + CHUNK_ROWS, first + count))
        first += count
