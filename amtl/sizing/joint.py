"""The cold start: sizes that owe nothing to a trained table, from twins that learn together with the model.

The twins with the ordered head stand behind a fresh table and read frequency alone. Model and twins are trained on the task loss, plus
the pressure of a budget that falls through the rungs of a ladder while the epochs go by (`twins.Pressure`). What the groups wanted at
the end of each rung makes levels worth something as after a search on a trained table. The jointly trained weights have seen the
budgets of all rungs: for the best ones train again, under the mask of the chosen sizes.

What a trained table would lose by a cut says little of what a model would lose that never had those numbers. So these sizes are other
ones: on ratings a deep cut of a trained table leaves nearly every row a few dimensions, cold twins leave a third of them, rare ones, none
(docs/results.md, 6).

Shapes: V rows of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.model.ctr_model import CTRModel
from amtl.model.masked_embedding import TwinsEmbedding
from amtl.model.twins import OrderedTwins
from amtl.params import SearchParams
from amtl.sizing.twins import Descent, Pressure
from amtl.training.loop import FitSettings, Trainer

EPOCHS_A_RUNG = 1
"""Most epochs of a rung."""


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
    resume: Path | None = None,
) -> Descent:
    """Train a fresh model and the twins behind its table down the whole ladder; the table is bare again afterwards.

    Args:
        fit: how the model is trained; of its epochs at most `EPOCHS_A_RUNG` for every rung, and at least a step for each.
        resume: folder for checkpoints.
    """
    torch.manual_seed(fit.seed)
    twins = OrderedTwins(counts_V, model.config.dim, field_V, hidden=search.hidden, groups=search.buckets, temperature=search.temperature)
    model.embedder.lookup = TwinsEmbedding(model.embedding, twins)
    rungs, steps = len(search.ladder), max(len(train) // fit.batch_size, 1)
    epochs = max(min(fit.epochs, EPOCHS_A_RUNG * rungs), -(-rungs // steps))
    pressure = Pressure(twins, search.ladder, epochs * steps // rungs, log)
    trainer = Trainer(
        model,
        replace(fit, epochs=epochs, patience=epochs, keep_last=True, calibrate=False),
        device,
        first_rows(field_V),
        beside=pressure,
        rates={"embedder.lookup.twins": search.learning_rate},
        resume=resume,
        log=log,
    )
    trainer.fit(train, validation)
    model.embedder.lookup = model.embedding
    model.to("cpu")
    return pressure.descent()


def first_rows(field_V: Tensor) -> Tensor:
    """Each field's first row, which is its unknown one, int64 [F]."""
    return torch.cat([field_V.new_zeros(1), field_V.diff().nonzero().flatten() + 1])
