"""The paper's claims as runs: the layer as published from every start, and how sizes go with frequency.

Source: Yan et al. 2021 (arXiv 2108.11513). What the paper leaves open is as in `amtl.model.twins`.

Shapes: V rows of the table, F fields.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from amtl.compare.task import Task
from amtl.model.masked_embedding import TwinsEmbedding
from amtl.model.twins import AdaptivelyMaskedTwins
from amtl.packing.allocation import allocate
from amtl.packing.layout import Layout
from amtl.sizing.levels import describe_sizes
from benchmarks.results.experiment import Experiment, Result
from benchmarks.results.measure import Place, data_of, dense_bytes, judged, problem_of
from benchmarks.results.plan import CANDIDATES

INITIAL_BIAS = {"full": 3.0, "flat": 0.0}
"""Of the largest size in the layer's last bias."""

SAVED = 0.95
FEWEST = 30
"""Rows of a field from which a rank correlation says something."""


def measure_paper(experiment: Experiment, place: Place) -> Result:
    """The layer as published, trained jointly with the model until validation stops improving, from trained weights or from fresh ones.

    Its logit is calibrated on validation, as those of all others are.
    """
    data, choice = data_of(experiment, place), experiment.choice
    task = problem_of(experiment, place).task
    model = task.base if choice["start"] == "warm" else task.fresh()
    twins = layer(task, choice)
    model.embedder.lookup = TwinsEmbedding(model.embedding, twins)
    at_start = describe_sizes(twins.sizes(), twins.dim)
    rates = {"embedder.lookup.twins": task.settings.search.learning_rate}
    task.fit(model, task.full_fit, distilled=False, rates=rates)
    calibration = task.tuning.calibration(model)
    model.backbone.rescale(calibration.scale, calibration.shift)
    sizes_V = twins.sizes()
    stored = Layout.of_sizes(sizes_V, task.field_V, twins.dim, "fp32").bytes()
    return {
        **judged(model, data),
        "bytes": stored,
        "saved": 1 - stored / dense_bytes(data, experiment),
        "sizes_at_initialisation": at_start,
        "sizes": describe_sizes(sizes_V, twins.dim),
        "rank_correlation": rank_correlations(sizes_V, task),
    }


def layer(task: Task, choice: dict[str, Any]) -> AdaptivelyMaskedTwins:
    """The layer over the task's values; its initial weights are decided by the seed."""
    torch.manual_seed(task.seed)
    wanted = task.settings.search
    return AdaptivelyMaskedTwins(
        task.shown_V,
        task.config.dim,
        task.field_V,
        hidden=wanted.hidden,
        groups=wanted.buckets,
        temperature=wanted.temperature,
        full_bias=INITIAL_BIAS[choice["initial"]],
        single=choice["layer"] == "single",
    )


def measure_frequency(experiment: Experiment, place: Place) -> Result:
    """How the sizes of each selector go with frequency, at one budget."""
    data, task = data_of(experiment, place), problem_of(experiment, place).task
    found = task.found
    assert found.front is not None
    budget = round((1 - SAVED) * dense_bytes(data, experiment))
    table_VD, stored = found.model.embedding.weight.detach(), found.model.embedder.basis_FDD is not None
    layouts = {label: allocate(found.front, label, table_VD, budget, "int8", stored) for label in CANDIDATES}
    return {
        "saved": SAVED,
        "rank_correlation": {label: rank_correlations(layout.sizes_V, task) for label, layout in layouts.items()},
        "mean_sizes": {label: mean_sizes(layout.sizes_V, task) for label, layout in layouts.items()},
    }


def rank_correlations(sizes_V: Tensor, task: Task) -> dict[str, float]:
    """Spearman's rank correlation of size and frequency within each large field whose rows have different sizes."""
    from scipy.stats import spearmanr

    found = {}
    for index, name in enumerate(task.vocabulary.sizes):
        inside_V = task.field_V == index
        sizes, shown = sizes_V[inside_V].numpy(), task.shown_V[inside_V].numpy()
        if len(sizes) >= FEWEST and len(set(sizes.tolist())) > 1:
            found[name] = round(float(spearmanr(sizes, shown).statistic), 4)
    return found


def mean_sizes(sizes_V: Tensor, task: Task) -> dict[str, float]:
    """Mean size of each field's rows, in dimensions."""
    return {name: round(float(sizes_V[task.field_V == index].double().mean()), 2) for index, name in enumerate(task.vocabulary.sizes)}
