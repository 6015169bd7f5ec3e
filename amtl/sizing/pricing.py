"""From a trained model to its front: the balanced basis, what every size of every row costs in it, and what the twins make of that.

`price` serves a whole table, `rebase` one that was cut already: the less is left, the less the directions that mattered to the whole
table matter to the rest, so deep cuts go in steps (keep a fifth, rebase, keep a tenth, rebase, ...).

Shapes: V rows of the table, L levels above 0, G groups of the twins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.model.ctr_model import CTRModel
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.params import SearchParams
from amtl.sizing.basis import balanced_basis, rotate, undo_rotation
from amtl.sizing.costs import Sample, row_costs, sample_effects
from amtl.sizing.front import UNSEEN, Front, useful_FL
from amtl.sizing.levels import size_levels
from amtl.sizing.magnitude import magnitude_worth
from amtl.sizing.twins import Descent, descend, energy_profiles

BASIS_ROWS = 200_000
LEARNED = ("twins", "single")
"""Selectors that are trained."""


def price(
    model: CTRModel,
    field_V: Tensor,
    shown_V: Tensor,
    train: Rows,
    search: SearchParams,
    seed: int,
    device: torch.device,
    log: Callable[[str], None],
    also: Collection[str] = (),
) -> tuple[Front, dict[str, Any]]:
    """Rotate the model's table into its balanced basis and price it there; predictions stay equal. The model ends on the CPU.

    Args:
        shown_V: how often training shows each row.
        also: further selectors to add to the front: `twins`, `single` (one MLP in their place), `magnitude`.

    Returns:
        The front, and a report {"rows_read", "levels"} and, of the twins, {"rungs", "groups"}.
    """
    dim = model.config.dim
    ends_2 = torch.tensor([0, dim])
    curvature_FDD = sample_effects(model, train, field_V, ends_2, device, min(search.rows, BASIS_ROWS), seed).curvature_FDD
    rotate(model, balanced_basis(model.embedding.weight.detach(), shown_V, field_V, curvature_FDD), field_V)
    sample = sample_effects(model, train, field_V, size_levels(dim), device, search.rows, seed)
    table_VD = model.embedding.weight.detach()
    front = front_of(sample, table_VD, shown_V, len(train))
    report: dict[str, Any] = {"rows_read": sample.events, "levels": front.size_L1.tolist()}
    if "magnitude" in also:
        front = front.with_worth("magnitude", magnitude_worth(table_VD, field_V, front.size_L1))
    learned = [name for name in LEARNED if name in also]
    if not learned:
        return front, report
    energies_VE = energy_profiles(sample, table_VD)
    return _with_learned(front, learned, shown_V, energies_VE, search, seed, log, report)


def rebase(
    model: CTRModel,
    field_V: Tensor,
    shown_V: Tensor,
    train: Rows,
    search: SearchParams,
    seed: int,
    device: torch.device,
    log: Callable[[str], None],
    also: Collection[str] = (),
) -> tuple[Front, dict[str, Any]]:
    """`price` for a model whose table is cut (masked, or zero beyond each row's size): predictions stay equal, the mask goes.

    What is left of the rows is stored in a basis of its own, in which rows are whole again; a basis that the backbone does not absorb
    replaces the one before.
    """
    lookup = model.embedder.lookup
    if isinstance(lookup, MaskedEmbedding):
        lookup.apply_mask()
        model.embedder.lookup = lookup.embedding
    undo_rotation(model, field_V)
    return price(model, field_V, shown_V, train, search, seed, device, log, also)


def front_of(sample: Sample, table_VD: Tensor, shown_V: Tensor, events: int) -> Front:
    """The front of a table by curvature; `sample` is used up.

    Args:
        shown_V: occurrences of each row in training; a row without any is taken to have `UNSEEN`: its cost is then the closed
            form's, of its own trained row under its field's curvature.
        events: training events.
    """
    lookups_V = (shown_V.clamp(min=UNSEEN) / max(events, 1)).float()
    costs_VL1 = row_costs(sample, table_VD, lookups_V)
    return Front(sample.size_L1, costs_VL1, sample.noise_FD, lookups_V, sample.field_V, max(events, 1))


def _with_learned(
    front: Front,
    names: Sequence[str],
    shown_V: Tensor,
    energies_VE: Tensor,
    search: SearchParams,
    seed: int,
    log: Callable[[str], None],
    report: dict[str, Any],
) -> tuple[Front, dict[str, Any]]:
    """The front with learned selectors, and the report with what the first of them reached."""
    costs_VL1, size_L1 = front.costs_VL1, front.size_L1
    for name in names:
        descent = descend(shown_V, front.field_V, energies_VE, costs_VL1, size_L1, search, seed, log, single=name == "single")
        front, report = front.with_worth(name, twins_worth(descent, front)), {**rungs_of(descent, int(size_L1[-1])), **report}
    return front, report


def twins_worth(descent: Descent, front: Front) -> Tensor:
    """What level l is worth over level l - 1 to the twins, float32 [V, L]."""
    worth_GL = descent.worth(front.size_L1)
    groups = len(worth_GL) // len(front.noise_FD)
    return (worth_GL * useful_FL(front.field_V, front.size_L1).repeat_interleave(groups, dim=0))[descent.group_V]


def rungs_of(descent: Descent, dim: int) -> dict[str, Any]:
    """What the descent reached, for the report."""
    numbers = float(descent.values_G.sum()) * dim
    kept_R = (descent.wanted_RG.round() * descent.values_G).sum(1) / numbers
    rungs = [{"share": share, "kept": kept} for share, kept in zip(descent.share_R.tolist(), kept_R.tolist(), strict=True)]
    return {"rungs": rungs, "groups": int((descent.values_G > 0).sum())}
