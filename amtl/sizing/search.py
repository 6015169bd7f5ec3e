"""Sizes for values: learned under a budget (a ladder of them in one run), or jointly with the model as published.

Budget mode trains the twins with the ordered head against what cutting costs the trained, rotated model. Cutting value i to
its first t dimensions moves an event's logit by delta = sum_{j >= t} J_j z_ij, J = d logit / d z, and the cross-entropy
between the whole model and the cut one by about p (1 - p) delta^2 / 2. One gradient pass over training events adds this up
for every group of values and every size: C[g, t]. The twins minimise

    sum_g E_t[C[g, t]] + pressure * log(kept share),          t ~ the ordered head's choice,

where a proportional-integral controller sets the pressure so that the kept share follows a target which falls from 1
through the rungs of the ladder. (Training the twins on the cross-entropy under the masks itself was tried first: at a
converged model its gradient is noise around zero, and small fields lost what they needed.) At the end of each rung the wanted
size of every group is recorded: that is the front, and any budget between two rungs is an interpolation.

Shapes: R rungs, G groups, O = D + 1 sizes, V rows, D dimensions, M looked-up values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.errors import ArtifactError
from amtl.files import publish_tensors, read_tensors
from amtl.model.ctr_model import CTRModel
from amtl.model.frequency import group_by_frequency_and_energy
from amtl.model.twins import AdaptivelyMaskedTwins, OrderedTwins
from amtl.params import SearchParams
from amtl.sizing.levels import describe_sizes as describe_sizes  # until compress.py asks levels.py

PROPORTIONAL, INTEGRAL = 0.3, 0.02
RAMP = 0.6  # share of a rung's steps in which the target falls; then it holds


@dataclass(frozen=True)
class Front:
    """What a search found.

    Attributes:
        share_R: kept share of each rung, falling. wanted_RG: real-valued size of each group at each rung.
        group_V: group of each table row; the groups of a field follow one another, as many for every field.
        values_G: rows in each group.
        limit_G: the most dimensions that can be of use in a group: D, or its field's number of rows if that is less.
        dim: D. fields: F.
    """

    share_R: Tensor
    wanted_RG: Tensor
    group_V: Tensor
    values_G: Tensor
    limit_G: Tensor
    dim: int
    fields: int

    def write(self, path: Path) -> None:
        """Write as safetensors."""
        tensors = {
            "share_R": self.share_R,
            "wanted_RG": self.wanted_RG,
            "group_V": self.group_V,
            "values_G": self.values_G,
            "limit_G": self.limit_G,
            "dim": torch.tensor(self.dim),
            "fields": torch.tensor(self.fields),
        }
        publish_tensors(path, tensors)

    @classmethod
    def read(cls, path: Path) -> Front:
        """Read what `write` wrote.

        Raises:
            ArtifactError: the file is missing or damaged.
        """
        tensors: dict[str, Any] = dict(read_tensors(path))
        try:
            return cls(**{**tensors, "dim": int(tensors["dim"]), "fields": int(tensors["fields"])})
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ArtifactError(f"{path} cannot be read as a search result ({error}); rerun: dvc repro search") from None


def search_under_budget(
    model: CTRModel,
    train: Rows,
    counts_V: Tensor,
    field_V: Tensor,
    energies_VE: Tensor,
    settings: SearchParams,
    seed: int,
    device: torch.device,
    log: Callable[[str], None],
) -> Front:
    """Find the front of a trained model, which stays as it is.

    Args:
        energies_VE: what the twins read of each trained row beside its frequency (`basis.tail_energies`).
    """
    torch.manual_seed(seed)
    grouped = group_by_frequency_and_energy(counts_V, field_V, energies_VE, settings.frequency_groups, settings.energy_groups)
    twins = OrderedTwins(counts_V, model.config.dim, field_V, hidden=settings.hidden, temperature=settings.temperature, grouped=grouped)
    costs_GO = cutting_costs_GO(model, train, twins.group_V, len(twins.values_G), device, settings.rows, seed)
    rungs = list(_descend(twins, costs_GO, settings, log))
    return Front(
        share_R=torch.tensor(settings.ladder),
        wanted_RG=torch.stack(rungs),
        group_V=twins.group_V,
        values_G=twins.values_G,
        limit_G=twins.values_G.view(twins.fields, -1).sum(1).clamp(max=twins.dim).repeat_interleave(len(twins.values_G) // twins.fields),
        dim=twins.dim,
        fields=twins.fields,
    )


def cutting_costs_GO(model: CTRModel, data: Rows, group_V: Tensor, groups: int, device: torch.device, rows: int, seed: int) -> Tensor:
    """C[g, t]: mean cross-entropy an event that cutting all values of group g to t dimensions costs, [G, D + 1] on the CPU.

    Args:
        group_V: group of each table row.
        rows: most random events to read.
    """
    model.to(device).eval()
    total_GO = torch.zeros(groups, model.config.dim + 1, dtype=torch.float64)
    seen = 0
    for batch in data.shuffled(4096, seed, 0):
        batch = batch.to(device)
        with model.embedder.recorded_lookups() as recorded:
            logits_B = model(batch)
        vectors_MD, rows_M, event_M = recorded.vectors_MD, recorded.rows_M, recorded.event_M
        (gradient_MD,) = torch.autograd.grad(logits_B.sum(), vectors_MD)
        p_B = torch.sigmoid(logits_B.detach())
        moved_MD = (gradient_MD * vectors_MD.detach()).flip(1).cumsum(1).flip(1)  # column t: sum over j >= t
        # An event may look up several values of one group (a list): they are cut together, so their effects add before squaring.
        pair_P, place_M = torch.unique(event_M * groups + group_V.to(device)[rows_M], return_inverse=True)
        moved_PD = moved_MD.new_zeros(len(pair_P), moved_MD.shape[1]).index_add_(0, place_M, moved_MD)
        cost_PD = 0.5 * (p_B * (1 - p_B))[pair_P // groups].unsqueeze(1) * moved_PD.square()
        total_GO[:, :-1].index_add_(0, (pair_P % groups).cpu(), cost_PD.double().cpu())
        seen += len(batch)
        if seen >= rows:
            break
    model.cpu()
    return (total_GO / max(seen, 1)).float()


def _descend(twins: OrderedTwins, costs_GO: Tensor, settings: SearchParams, log: Callable[[str], None]) -> Iterator[Tensor]:
    """Train the twins down the ladder; yields the wanted sizes at the end of each rung."""
    optimizer = torch.optim.Adam(twins.parameters(), lr=settings.learning_rate)
    controller = _Controller()
    unit = float(costs_GO[:, 0].sum().clamp(min=1e-12))  # what it costs to cut everything: makes pressures comparable
    previous = kept_share(twins)
    for share in settings.ladder:
        for step in range(settings.steps):
            reached = min(1.0, (step + 1) / (RAMP * settings.steps))
            target = previous ** (1 - reached) * share**reached
            pressure = controller.pressure(math.log(max(kept_share(twins), 1e-6) / target))
            damage = (twins.choices_GO() * costs_GO).sum() / unit
            optimizer.zero_grad(set_to_none=True)
            (damage + pressure * torch.log(twins.expected_share())).backward()
            optimizer.step()
        previous = share
        sizes_G = twins.group_sizes()[twins.values_G > 0]
        cost = damage.item() * unit
        log(f"rung {share:.0%}: kept {kept_share(twins):.1%}, {len(sizes_G.unique())} sizes, estimated cost {cost:.5f} nats an event")
        yield twins.wanted_sizes_G().detach().clone()


class _Controller:
    """Proportional-integral: pressure from the error of the log kept share; never negative."""

    def __init__(self) -> None:
        self.integral = 0.0

    def pressure(self, error: float) -> float:
        self.integral = max(0.0, self.integral + INTEGRAL * error)
        return max(0.0, PROPORTIONAL * error + self.integral)


def kept_share(twins: AdaptivelyMaskedTwins) -> float:
    """Share of the table's numbers that the chosen sizes keep."""
    return float((twins.group_sizes() * twins.values_G).sum() / (twins.values_G.sum() * twins.dim))
