"""From what a search found to a bundle: the sizes of the budget, the training after the cut, and what is said of both.

Shapes: N validation events.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtl.budgets import AUTO, parse_budget
from amtl.data.batches import Scaling
from amtl.data.vocabulary import Vocabulary
from amtl.errors import BudgetError
from amtl.files import publish_json, publish_tensors
from amtl.model.ctr_model import CTRModel, weights_of
from amtl.packing import bundle
from amtl.packing.choice import Goal, Table, best_cut
from amtl.packing.cut import Cut, settled
from amtl.packing.layout import Layout, dense_bytes
from amtl.packing.walk import smallest_cut
from amtl.params import Params
from amtl.sizing.levels import describe_sizes
from amtl.sizing.sizes import Found
from amtl.training.tuning import Tuning


@dataclass(frozen=True)
class Compressed:
    """The cut and fine-tuned model, and what the report says of it.

    Attributes:
        model: masked; the stored rows are cut as well.
        layout: what is kept of every table row, and at how many bits.
    """

    model: CTRModel
    layout: Layout
    report: dict[str, Any]

    def write(self, folder: Path, packed: bundle.Contents) -> None:
        """Write bundle/, masked.safetensors and report.json."""
        publish_tensors(folder / "masked.safetensors", weights_of(self.model))
        bundle.write(folder / "bundle", packed)
        publish_json(folder / "report.json", self.report)


def compress(
    settings: Params,
    found: Found,
    control: Mapping[str, float],
    vocabulary: Vocabulary,
    tuning: Tuning,
    resume: Path | None = None,
) -> Compressed:
    """Cut the model that the search found to the budget, and fine-tune it with the whole one as its teacher.

    Args:
        control: validation AUC and log loss of the control, which the whole model is.

    Raises:
        BudgetError: no table meets the budget.
    """
    if found.front is None:
        return _as_trained(settings, found, vocabulary, tuning)
    table = Table.of(settings, found.model, found.front, vocabulary, tuning, Goal(control, settings.compress.tolerance))
    if settings.compress.budget == AUTO:
        walk = smallest_cut(table, resume)
        budget_bytes, choice, walked = walk.budget_bytes, walk.choice, {"walk": walk.rungs}
    else:
        budget_bytes, walked = parse_budget(settings.compress.budget, dense_bytes(vocabulary.rows, settings.train.dim)), {}
        choice = best_cut(table, table.selectors, budget_bytes, resume)
    chosen = choice.cut
    tuning.log(f"chosen: {chosen.name}, {chosen.bytes:,} bytes of at most {budget_bytes:,}; {table.goal.compared(chosen.measured)}")
    told = resolution(chosen.losses_N - tuning.calibration(found.model).losses_N, settings.compress.tolerance.logloss)
    tuning.log(told)
    report = {
        "budget_bytes": budget_bytes,
        "loses": "nothing" if table.goal.met(chosen.measured) else "more than the tolerance",
        "resolution": told,
        "finetune": chosen.history,
        "candidates": choice.judged,
        **walked,
    }
    return Compressed(chosen.model, chosen.layout, report | _described(chosen))


def resolution(lost_N: Tensor, tolerance: float) -> str:
    """How finely validation rows tell what a table loses, in words: a tolerance below one standard error is not seen on them.

    Args:
        lost_N: log loss of each validation event beside the control's, nats.
        tolerance: of the mean of these.
    """
    error = float(lost_N.std()) / math.sqrt(len(lost_N)) if len(lost_N) > 1 else math.inf
    known = f"{len(lost_N):,} validation events tell the mean log loss lost to ±{error:.4f} nats (one standard error)"
    return f"{known}, coarser than the tolerance of {tolerance:g}: other events may lose more" if error > tolerance else known


def _as_trained(settings: Params, found: Found, vocabulary: Vocabulary, tuning: Tuning) -> Compressed:
    """Sizes and weights of the published layer, which were trained jointly: there is no budget, and nothing is trained on."""
    assert found.sizes_V is not None
    layout = Layout.of_sizes(found.sizes_V, torch.from_numpy(vocabulary.fields_V), settings.train.dim, settings.compress.precision)
    chosen = settled(Cut("paper", found.model, layout, {}), tuning)
    return Compressed(chosen.model, layout, _described(chosen))


def _described(chosen: Cut) -> dict[str, Any]:
    """Of the cut that was chosen: by whom, how good on validation, how large."""
    layout = chosen.layout
    sizes, bits_K = describe_sizes(layout.sizes_V, layout.dim), layout.bits_KD.long().sum(1)
    numbers, bits = int((layout.rows_K * layout.sizes_K).sum()), int((layout.rows_K * bits_K).sum())
    return {"selector": chosen.name, "validation": chosen.measured, "mean_bits": bits / max(numbers, 1), "sizes": sizes}


def contents(
    settings: Params, compressed: Compressed, vocabulary: Vocabulary, scaling: Scaling, lineage: dict[str, Any]
) -> bundle.Contents:
    """What the bundle holds."""
    lineage = {
        **lineage,
        "budget": str(settings.compress.budget),
        "sizes": settings.search.sizes,
        "selector": compressed.report["selector"],
        "seed": settings.train.seed,
        "precision": settings.compress.precision,
    }
    return bundle.Contents(
        model=compressed.model,
        layout=compressed.layout,
        vocabulary=vocabulary,
        events=settings.events,
        scaling=scaling,
        lineage=lineage,
        card=card(settings, compressed, vocabulary),
    )


def card(settings: Params, compressed: Compressed, vocabulary: Vocabulary) -> str:
    """MODEL_CARD.md: what the bundle is, without anything that changes from run to run."""
    sizes = compressed.report["sizes"]
    fields = "\n".join(f"| {field} | {rows:,} |" for field, rows in vocabulary.sizes.items())
    return f"""# {settings.events.name}

Predicts the probability of `{settings.events.label}` from {len(settings.events.fields)} fields with a `{settings.train.backbone}`
model over an adaptively masked embedding table of width {settings.train.dim}: {vocabulary.rows:,} rows keep
{sizes["mean_size"]:.2f} dimensions on average ({sizes["distinct_sizes"]} different sizes, by {compressed.report["selector"]}), stored in
{settings.compress.precision} with {compressed.report["mean_bits"]:.1f} bits a number.

| field | rows |
|---|---|
{fields}

Values that training did not see share their field's unknown row. How it performs, and against what, is recorded with the
registered version (metrics, report).
"""


def check_budget(table: Path, budget_bytes: int | None) -> None:
    """Hold the promise: the file on disk is not larger than the budget.

    Raises:
        BudgetError: it is; a defect of amtl.
    """
    if budget_bytes is not None and table.stat().st_size > budget_bytes:
        raise BudgetError(f"{table} has {table.stat().st_size:,} bytes, over the budget of {budget_bytes:,}; please report this")
