"""The fixed-width control: the best that the full width reaches with the same fine-tuning and distillation.

It is what a cut table is measured against, the model that is cut, and the teacher of what was cut: anything less would let
"compressed beats fixed" be an artefact of the training that only the compressed model got. So one candidate is a model of the same
width that is trained anew with the best so far as its teacher, as a distilled narrower table would be (Furlanello et al., "Born-Again
Neural Networks", ICML 2018, arXiv 1805.04770): it costs a second training, and `compress.finetune.born_again` asks for it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amtl.errors import ArtifactError
from amtl.files import (
    code_digest,
    digest_of,
    digest_of_tensors,
    prune,
    publish_folder,
    publish_json,
    publish_tensors,
    read_json,
    read_tensors,
    verify_manifest,
    write_manifest,
)
from amtl.model.ctr_model import CTRModel, ModelConfig, restore, weights_of
from amtl.training.loop import Progress
from amtl.training.tuning import Fresh, Tuning

TRAINED, TUNED, DISTILLED, BORN_AGAIN = "as trained", "fine-tuned", "fine-tuned and distilled", "born again"


KEPT_DAYS = 30
"""Days after which a kept control that nobody asked for again goes."""


@dataclass(frozen=True)
class Control:
    """The control.

    Attributes:
        model: full width, calibrated.
        report: JSON-able: `chosen`, and of every candidate its validation history.
    """

    model: CTRModel
    report: dict[str, Any]

    @property
    def measured(self) -> dict[str, float]:
        """Validation AUC, log loss and score of the model."""
        return dict(self.report["validation"])

    def write(self, folder: Path) -> None:
        """Write control.safetensors and control.json."""
        publish_tensors(folder / "control.safetensors", weights_of(self.model))
        publish_json(folder / "control.json", self.report)

    @classmethod
    def read(cls, folder: Path, config: ModelConfig) -> Control:
        """Read what `write` wrote.

        Raises:
            ArtifactError: it is missing or damaged.
        """
        try:
            return cls(restore(config, read_tensors(folder / "control.safetensors")), read_json(folder / "control.json"))
        except ValueError as error:
            raise ArtifactError(f"{folder} holds no control that can be read ({error}); rerun: dvc repro search") from None


def make_control(start: CTRModel, tuning: Tuning, resume: Path | None = None) -> Control:
    """The best on validation of: as trained, fine-tuned, fine-tuned with the best so far as its own teacher, and born again from that.

    Where all epochs count (`keep_last`, of the published layer's protocol) the control is what they end with.

    Args:
        start: the trained full-width model; it stays as it is.
        resume: folder for checkpoints; None: none are written.
    """
    model, settings = copy.deepcopy(start), tuning.settings
    tuned = replace(tuning, settings=replace(settings, distillation=0.0)).run(model, resume=resume and resume / "tuned")
    report: dict[str, Any] = {"chosen": _better(tuned, TUNED, TRAINED), "tuned": tuned.history}
    if settings.distillation and settings.epochs and not settings.keep_last:
        student = copy.deepcopy(model)
        on_events = replace(tuning, settings=replace(settings, recombined=0.0))  # of recombined ones a copy already says the same
        distilled = on_events.run(student, teacher=model, resume=resume and resume / "distilled")
        report |= {"chosen": _better(distilled, DISTILLED, report["chosen"]), "distilled": distilled.history}
        model = student
    validation = tuning.judge(model)
    if tuning.fresh:
        pupil, histories = _born_again(tuning.fresh, model, tuning, resume)
        report["born_again"], measured = histories, tuning.judge(pupil)
        if measured["score"] > validation["score"]:
            model, validation, report["chosen"] = pupil, measured, BORN_AGAIN
    return Control(model, {**report, "validation": validation})


def _born_again(fresh: Fresh, teacher: CTRModel, tuning: Tuning, resume: Path | None) -> tuple[CTRModel, dict[str, Any]]:
    """A new model trained by labels and teacher, then fine-tuned as one at chosen sizes is; and the histories of both."""
    tuning.log("training the full width anew, the control teaching")
    pupil = fresh.build()
    trained = tuning.run(pupil, teacher, resume and resume / "born again", fresh.fit)
    tuned = tuning.run_in_rounds(pupil, teacher, fresh.rounds, resume and resume / "born again and tuned")
    return pupil, {"trained": trained.history, "tuned": tuned}


def _better(progress: Progress, trained: str, start: str) -> str:
    """The name of what the fit ended with: where its start competed and no epoch was better, the start's."""
    best = max(progress.history, key=lambda entry: entry["score"], default={"epoch": 0.0})
    return trained if best["epoch"] else start


def control_of(start: CTRModel, tuning: Tuning, cache: Path, resume: Path | None = None) -> Control:
    """`make_control`, done once for the same start, data, settings and code; kept below `cache` by the digest of these."""
    weights = weights_of(start)
    data, code = (
        [tuning.train.digest, tuning.validation.digest],
        code_digest("amtl.data", "amtl.model", "amtl.release.evaluate", "amtl.training"),
    )
    kept = cache / digest_of([digest_of_tensors(weights), *data, str(tuning.settings), str(tuning.fresh), code])[:32]
    try:
        verify_manifest(kept)
    except ArtifactError:
        tuning.log("fine-tuning the fixed-width control")
        made = make_control(start, tuning, resume)
        with publish_folder(kept) as folder:
            made.write(folder)
            write_manifest(folder, format=1, kind="control")
    prune(cache, {kept.name}, KEPT_DAYS)
    control = Control.read(kept, start.config)
    measured = control.measured
    tuning.log(f"control: {control.report['chosen']}, validation AUC {measured['auc']:.4f}, log loss {measured['logloss']:.4f}")
    return control
