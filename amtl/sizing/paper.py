"""The layer as published, trained jointly with the model on the task loss: its saving is whatever comes out.

Shapes: V rows of the table, F fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.model.ctr_model import CTRModel
from amtl.model.masked_embedding import TwinsEmbedding
from amtl.model.twins import AdaptivelyMaskedTwins
from amtl.params import Params, SearchParams
from amtl.sizing.joint import first_rows
from amtl.sizing.levels import describe_sizes
from amtl.training.loop import Trainer, pick_device
from amtl.training.train import fit_settings


def put_layer_behind(model: CTRModel, counts_V: Tensor, field_V: Tensor, settings: SearchParams, seed: int) -> AdaptivelyMaskedTwins:
    """Put the layer as published behind the model's table; train the model then as usual."""
    torch.manual_seed(seed)
    twins = AdaptivelyMaskedTwins(
        counts_V, model.config.dim, field_V, hidden=settings.hidden, groups=settings.buckets, temperature=settings.temperature
    )
    model.embedder.lookup = TwinsEmbedding(model.embedding, twins)
    return twins


def train_jointly(
    settings: Params,
    counts_V: Tensor,
    field_V: Tensor,
    model: CTRModel,
    train: Rows,
    validation: Rows,
    resume: Path | None,
    log: Callable[[str], None],
) -> tuple[Tensor, dict[str, Any]]:
    """Joint training for `search.epochs` epochs, all of them: the last weights count, as the sizes belong to them.

    Returns:
        The size of every row, int64 [V], and a report. The model is changed in place; its table is no longer masked.
    """
    seed, device = settings.train.seed, pick_device(settings.train.device)
    twins = put_layer_behind(model, counts_V, field_V, settings.search, seed)
    at_start = describe_sizes(twins.sizes(), twins.dim)
    log(f"sizes at initialisation: mean {at_start['mean_size']:.2f} of {twins.dim}, {at_start['distinct_sizes']} different")
    fit = replace(fit_settings(settings, warm=False), epochs=settings.search.epochs, patience=settings.search.epochs, keep_last=True)
    rates = {"embedder.lookup.twins": settings.search.learning_rate}
    Trainer(model, fit, device, first_rows(field_V), rates=rates, resume=resume, log=log).fit(train, validation)
    sizes_V = twins.sizes().cpu()
    model.embedder.lookup = model.embedding
    model.to("cpu")
    at_end = describe_sizes(sizes_V, twins.dim)
    log(f"sizes after training: mean {at_end['mean_size']:.2f} of {twins.dim}, {at_end['distinct_sizes']} different")
    return sizes_V, {"mode": "paper", "sizes_at_initialisation": at_start, "sizes": at_end}
