"""Take the budget's sizes, cut, fine-tune under the mask, pack; and give the fixed-width control the same training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtl.data.batches import Scaling
from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.errors import ArtifactError, BudgetError
from amtl.files import (
    code_digest,
    digest_of,
    digest_of_tensors,
    publish_folder,
    publish_json,
    publish_tensors,
    read_tensors,
    verify_manifest,
    write_manifest,
)
from amtl.model.ctr_model import CTRModel, ModelConfig, restore, weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing import bundle
from amtl.packing.budget import Costs, dense_bytes, sizes_within
from amtl.params import Params, parse_budget
from amtl.sizing.search import Front, describe_sizes
from amtl.sizing.sizes import Found
from amtl.training.loop import FitSettings, Progress, Trainer, pick_device
from amtl.training.state import State


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning works with: the same for the cut model and for the control."""

    settings: FitSettings
    train: Rows
    validation: Rows
    unknown_rows_F: Tensor
    device: torch.device
    log: Callable[[str], None]

    def run(self, model: CTRModel, resume: Path | None = None) -> Progress:
        """Train on from the model's weights, in place; the model ends on the CPU."""
        trainer = Trainer(model, self.settings, self.device, self.unknown_rows_F, resume=resume, log=self.log)
        progress = trainer.fit(self.train, self.validation)
        model.to("cpu")
        return progress


@dataclass(frozen=True)
class Compressed:
    """The cut and fine-tuned model, the control, and what the report says of them.

    Attributes:
        model: masked; the stored rows are cut as well.
        control: full width, the same fine-tuning from the same weights.
        sizes_V: size of every table row.
    """

    model: CTRModel
    control: CTRModel
    sizes_V: Tensor
    report: dict[str, Any]

    def write(self, folder: Path, packed: bundle.Contents) -> None:
        """Write bundle/, masked.safetensors, control.safetensors and report.json."""
        publish_tensors(folder / "masked.safetensors", weights_of(self.model))
        publish_tensors(folder / "control.safetensors", weights_of(self.control))
        bundle.write(folder / "bundle", packed)
        publish_json(folder / "report.json", self.report)


def tuning_settings(settings: Params) -> FitSettings:
    """Fine-tuning starts anew: a fresh optimizer, another order of batches, and the weights at the start compete.

    In paper mode the layer was trained jointly for `search.epochs`, all of which count; so the control gets that.
    """
    paper = settings.search.sizes == "paper"
    finetune, train = settings.compress.finetune, settings.train
    return FitSettings(
        epochs=settings.search.epochs if paper else finetune.epochs,
        patience=settings.search.epochs if paper else finetune.patience,
        batch_size=train.batch_size,
        learning_rate=train.learning_rate if paper else finetune.learning_rate,
        seed=train.seed + (0 if paper else 1),
        l2=train.l2,
        unknown_rate=train.unknown_rate,
        bf16=train.bf16,
        keep_start=not paper,
        keep_last=paper,
        calibrate=not paper,
        checkpoint_steps=train.checkpoint_steps,
    )


def compress(
    settings: Params, found: Found, state: State, vocabulary: Vocabulary, tuning: Tuning, control_cache: Path, resume: Path | None = None
) -> Compressed:
    """Cut the model that the search found to the budget, fine-tune it, and fetch or make the control.

    Raises:
        BudgetError: no table meets the budget.
    """
    rows, dim = vocabulary.rows, settings.train.dim
    report: dict[str, Any] = {}
    sizes_V, paper = found.sizes_V, found.sizes_V is not None
    if sizes_V is None:
        assert found.front is not None
        report["budget_bytes"] = parse_budget(settings.compress.budget, dense_bytes(rows, dim))
        sizes_V = choose_sizes(found.model, found.front, report["budget_bytes"], settings.compress.precision)
    control = _control(state.model() if paper else found.model, state.config, tuning, control_cache)
    cut(found.model, sizes_V)
    if not paper:
        tuning.log(f"fine-tuning under the mask: {float(sizes_V.double().mean()):.2f} of {dim} dimensions kept on average")
        report["finetune"] = tuning.run(found.model, resume).history
        cut(found.model, sizes_V)
    return Compressed(found.model, control, sizes_V, {**report, "sizes": describe_sizes(sizes_V, dim)})


def choose_sizes(model: CTRModel, front: Front, budget_bytes: int, precision: str) -> Tensor:
    """Sizes of all table rows whose file meets the budget, int64 [V]."""
    return sizes_within(front, budget_bytes, Costs(precision, stores_basis=model.embedder.basis_FDD is not None))


def cut(model: CTRModel, sizes_V: Tensor) -> None:
    """Mask the model's table: row i keeps its first `sizes_V[i]` dimensions, in the forward pass and in the stored weights."""
    masked = MaskedEmbedding(model.embedding, sizes_V)
    with torch.no_grad():
        masked.embedding.weight *= masked.triangle_OD[masked.sizes_V]
    model.embedder.lookup = masked


def contents(
    settings: Params, compressed: Compressed, vocabulary: Vocabulary, scaling: Scaling, lineage: dict[str, Any]
) -> bundle.Contents:
    """What the bundle holds."""
    lineage = {
        **lineage,
        "budget": str(settings.compress.budget),
        "sizes": settings.search.sizes,
        "seed": settings.train.seed,
        "precision": settings.compress.precision,
    }
    return bundle.Contents(
        model=compressed.model,
        sizes_V=compressed.sizes_V,
        vocabulary=vocabulary,
        events=settings.events,
        scaling=scaling,
        precision=settings.compress.precision,
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
{sizes["mean_size"]:.2f} dimensions on average ({sizes["distinct_sizes"]} different sizes), stored in {settings.compress.precision}.

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


def _control(start: CTRModel, config: ModelConfig, tuning: Tuning, cache: Path) -> CTRModel:
    """The fixed-width model after the same fine-tuning; trained once for the same start, data and settings."""
    weights = weights_of(start)
    data = [tuning.train.digest, tuning.validation.digest]
    key = digest_of([digest_of_tensors(weights), *data, str(tuning.settings), code_digest("amtl.data", "amtl.model", "amtl.training")])
    kept = cache / key[:32]
    try:
        verify_manifest(kept)
    except ArtifactError:
        tuning.log("fine-tuning the fixed-width control")
        model = restore(config, {name: tensor.clone() for name, tensor in weights.items()})
        tuning.run(model)
        with publish_folder(kept) as folder:
            publish_tensors(folder / "weights.safetensors", weights_of(model))
            write_manifest(folder, format=1, kind="control")
    return restore(config, read_tensors(kept / "weights.safetensors"))


def tuning_for(settings: Params, vocabulary: Vocabulary, train: Rows, validation: Rows, log: Callable[[str], None]) -> Tuning:
    """The tuning that params.yaml asks for."""
    unknown = torch.tensor(list(vocabulary.offsets.values()))
    return Tuning(tuning_settings(settings), train, validation, unknown, pick_device(settings.train.device), log)
