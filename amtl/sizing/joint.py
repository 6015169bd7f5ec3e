"""The cold start: sizes before there is a trained table, from twins that learn together with the model.

The twins with the ordered head stand behind a fresh table and read frequency alone. Model and twins are trained on the task loss, plus
the pressure of a budget that falls through the rungs of a ladder while the epochs go by (`twins.Pressure`). What the groups wanted at
the end of each rung makes levels worth something as after a search on a trained table. The jointly trained weights have seen the
budgets of all rungs: for the best ones train again, under the mask of the chosen sizes.

Shapes: V rows of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.model.ctr_model import CTRModel
from amtl.model.masked_embedding import TwinsEmbedding
from amtl.model.twins import OrderedTwins
from amtl.params import SearchParams
from amtl.sizing.twins import Descent, Pressure
from amtl.training.loop import FitSettings, Trainer


def descend_jointly(
    model: CTRModel,
    counts_V: Tensor,
    field_V: Tensor,
    train: Rows,
    validation: Rows,
    search: SearchParams,
    fit: FitSettings,
    device: torch.device,
    log: Callable[[str], None],
) -> Descent:
    """Train a fresh model and the twins behind its table for all of `fit.epochs`; the table is bare again afterwards.

    Args:
        fit: how the model is trained; its epochs are shared out among the rungs.
    """
    torch.manual_seed(fit.seed)
    twins = OrderedTwins(counts_V, model.config.dim, field_V, hidden=search.hidden, groups=search.buckets, temperature=search.temperature)
    model.embedder.lookup = TwinsEmbedding(model.embedding, twins)
    steps = fit.epochs * (len(train) // fit.batch_size)
    pressure = Pressure(twins, search.ladder, max(steps // len(search.ladder), 1), log)
    trainer = Trainer(
        model,
        replace(fit, patience=fit.epochs, keep_last=True, calibrate=False),
        device,
        first_rows(field_V),
        beside=pressure.term,
        rates={"embedder.lookup.twins": search.learning_rate},
        log=log,
    )
    trainer.fit(train, validation)
    model.embedder.lookup = model.embedding
    model.to("cpu")
    return pressure.descent()


def first_rows(field_V: Tensor) -> Tensor:
    """Each field's first row, which is its unknown one, int64 [F]."""
    return torch.cat([field_V.new_zeros(1), field_V.diff().nonzero().flatten() + 1])
