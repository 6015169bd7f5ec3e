"""The stages of dvc.yaml: `python -m amtl.stages NAME`. The one place that knows the workspace's paths.

Each stage reads files, calls a room, writes under build/. A failure prints `amtl: error: ...` last and exits 1.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amtl import files, params
from amtl.errors import AmtlError, ArtifactError, DataError
from amtl.params import EventsParams, FieldParams, Params

if TYPE_CHECKING:
    import polars as pl

    from amtl.data.encoded import EncodedRows
    from amtl.data.events import Partition
    from amtl.data.split import Part
    from amtl.data.vocabulary import Vocabulary

RAW_ROWS = 65_536  # of a chunk in which bundles are scored
EVENTS = Path("data/events")
PARENT_LOCK = Path("parent.lock")
EXPECTATIONS = Path("expectations.yaml")
SKIPPED_DAYS = Path("skipped_days.yaml")
DOWNLOADS = Path(".amtl/downloads")
BUILD = Path("build")
CACHE = BUILD / "cache"
VALIDATE, COUNT, PARENT, TRAIN = BUILD / "validate", BUILD / "count", BUILD / "parent", BUILD / "train"
SEARCH, COMPRESS, EVALUATE = BUILD / "search", BUILD / "compress", BUILD / "evaluate"
STATE, BUNDLE, METRICS, EVALUATION, CARD = (
    TRAIN / "state",
    COMPRESS / "bundle",
    EVALUATE / "metrics.json",
    EVALUATE / "evaluation.json",
    EVALUATE / "model_card.md",
)


def say(text: str) -> None:
    """One line of progress, at once visible."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def validate(settings: Params) -> None:
    """Judge the days that were not judged before; `build/validate/accepted.json` lists what may be used."""
    from amtl.data.events import partitions
    from amtl.validation.skipped import SkippedDays
    from amtl.validation.suite import Suite
    from amtl.validation.validate import validate as judge

    parts, skipped, suite = partitions(EVENTS), SkippedDays.read(SKIPPED_DAYS), Suite.read(EXPECTATIONS, settings.events)
    report = judge(parts, skipped, suite, settings.events, settings.validate_, CACHE, VALIDATE)
    left_out = f"; {len(report['skipped'])} are skipped" if report["skipped"] else ""
    say(f"validated {len(report['validated'])} days, {len(report['reused'])} were validated before{left_out}")


def count(settings: Params) -> None:
    """Count values over the training rows and grow the parent's vocabulary by the new ones."""
    from amtl.counting.counts import count as count_values

    result = count_values(_accepted(settings.events), settings.events, settings.count, _parent_vocabulary(settings), CACHE)
    result.vocabulary.write(COUNT / "vocabulary.parquet")
    files.publish(COUNT / "left_out.parquet", result.left_out.write_parquet)
    files.publish_json(COUNT / "split.json", result.bounds.to_json())
    files.publish_json(COUNT / "scaling.json", {"mean": result.scaling.mean, "std": result.scaling.std})
    files.publish_json(COUNT / "report.json", result.report)
    days = result.report
    say(f"counted {len(days['counted'])} days, {len(days['reused'])} were counted before; table rows: {result.vocabulary.rows:,}")


def parent(settings: Params) -> None:
    """Lay down the parent that parent.lock pins."""
    from amtl.release.parent import ParentLock, fetch

    pinned = fetch(ParentLock.read(PARENT_LOCK), PARENT)
    say("no parent: cold start" if pinned == {"parent": "none"} else f"parent: {pinned['name']} version {pinned['version']}")


def train(settings: Params) -> None:
    """Train the full-width model, warm from the parent's state where there is one."""
    from amtl.release.evaluate import logistic_baseline, score
    from amtl.release.registry import stage_run
    from amtl.training.train import train as fit

    data = Inputs(settings)
    parts = data.parts("train", "validation", "test")
    unfit = _why_parent_is_unfit(data)
    if unfit:
        say(f"cold start: the parent cannot be used, {unfit}")
    with _resumable("train", settings) as resume:
        state = None if unfit else _parent_folder("state")
        trained = fit(settings, data.vocabulary, parts["train"], parts["validation"], state, resume, say)
        trained.write(STATE)
        files.publish_json(TRAIN / "report.json", trained.report | {"unfit_parent": unfit} if unfit else trained.report)
        baseline = score(parts["test"].labels.numpy(), logistic_baseline(parts["train"], parts["test"], data.vocabulary.rows))
        files.publish_json(TRAIN / "baseline.json", baseline)
        with stage_run("train", settings.register_.name) as run:
            for entry in trained.report["history"]:
                run.metrics({f"train_{key}": value for key, value in entry.items() if key != "epoch"}, step=int(entry["epoch"]))


def search(settings: Params) -> None:
    """Make the fixed-width control, and find its sizes: the front of all budgets, or the published layer trained jointly."""
    from amtl.sizing.sizes import find_sizes
    from amtl.training.control import control_of
    from amtl.training.state import read_state
    from amtl.training.tuning import tuning_for

    data, state = Inputs(settings), read_state(STATE)
    parts = data.parts("train", "validation")
    tuning = tuning_for(settings, data.vocabulary, parts["train"], parts["validation"], say)
    with _resumable("search", settings, STATE / "manifest.json") as resume:
        control = control_of(state.model(), tuning, CACHE / "control", resume / "control")
        control.write(SEARCH)
        start = state.model() if settings.search.sizes == "paper" else control.model
        found = find_sizes(settings, data.vocabulary, start, parts["train"], parts["validation"], resume / "sizes", say)
        found.write(SEARCH)


def compress(settings: Params) -> None:
    """Take the budget's sizes, fine-tune under the mask, quantise, pack."""
    from amtl.model.ctr_model import ModelConfig
    from amtl.packing import compress as packing
    from amtl.sizing.sizes import Found
    from amtl.training.tuning import tuning_for

    data, config = Inputs(settings), ModelConfig.of(settings.events, settings.train)
    parts = data.parts("train", "validation")
    tuning = tuning_for(settings, data.vocabulary, parts["train"], parts["validation"], say)
    found, control = Found.read(SEARCH, config), files.read_json(SEARCH / "control.json")["validation"]
    front = [SEARCH / "front.safetensors"] if found.front else []
    with _resumable("compress", settings, SEARCH / "report.json", SEARCH / "model.safetensors", SEARCH / "control.json", *front) as resume:
        result = packing.compress(settings, found, control, data.vocabulary, tuning, resume)
        lineage = {
            "data": files.sha256(VALIDATE / "accepted.json"),
            "parent": files.read_json(PARENT / "parent.json"),
            "split": data.provenance,
        }
        result.write(COMPRESS, packing.contents(settings, result, data.vocabulary, data.scaling, lineage))
    packing.check_budget(BUNDLE / "table.safetensors", result.report.get("budget_bytes"))


def evaluate(settings: Params) -> None:
    """Score the packed table beside the masked one, the control, the baseline and the parent."""
    from amtl.model.ctr_model import ModelConfig
    from amtl.packing.bundle import field_bytes
    from amtl.release.breakdown import describe
    from amtl.release.candidates import Candidates, score_candidates, table_metrics
    from amtl.release.registry import stage_run
    from amtl.release.report import model_card
    from amtl.training.control import Control

    data = Inputs(settings)
    test = data.parts("test")["test"]
    parent = _parent_folder("bundle")
    comparable = parent if parent and not why_not_comparable(settings, parent) else None
    control = Control.read(SEARCH, ModelConfig.of(settings.events, settings.train))
    candidates = Candidates.read(COMPRESS, control.model, comparable)
    fields = candidates.parent.events.fields if candidates.parent else ()
    metrics, predictions = score_candidates(candidates, data.raw("test", fields), test, settings.evaluate.batch_size)
    metrics |= table_metrics(BUNDLE, candidates.packed)
    metrics |= {f"{name}_logistic": value for name, value in files.read_json(TRAIN / "baseline.json").items()}
    evaluation = _context(settings) | describe(
        data.vocabulary,
        candidates.sizes_V.numpy(),
        field_bytes(BUNDLE),
        test,
        predictions,
        settings.train.dim,
        settings.evaluate.bands,
    )
    files.publish_json(METRICS, metrics)
    files.publish_json(EVALUATION, evaluation)
    files.publish_text(CARD, model_card(metrics, evaluation, candidates.packed.manifest["lineage"]))
    with stage_run("evaluate", settings.register_.name) as run:
        run.metrics(metrics)
        run.files([METRICS, EVALUATION, CARD])
    aucs = ", ".join(f"{name} {metrics[key]:.4f}" for name, key in (("packed", "auc"), ("fixed width", "auc_fixed")) if key in metrics)
    say(f"AUC {aucs}; {metrics['saved']:.1%} of {metrics['dense_bytes']:,} bytes saved")


def champion_metrics(settings: Params, bundle: Path) -> dict[str, Any]:
    """Metrics of any bundle on the test rows of today: what the gate compares with.

    Raises:
        DataError: the bundle predicts another label, or cannot read today's rows.
    """
    from amtl.data.evolution import another_label, unreadable
    from amtl.release.candidates import bundle_metrics

    events, _ = _declared(bundle)
    reason = another_label(events, settings.events) or unreadable(events, settings.events)
    if reason:
        hint = "to promote without a comparison: amtl promote VERSION --force --why REASON"
        raise DataError(f"{bundle} cannot be scored on today's test rows: {reason}; {hint}")
    return bundle_metrics(bundle, Inputs(settings).raw("test", events.fields), settings.events.label, settings.evaluate.batch_size)


def why_not_comparable(settings: Params, bundle: Path) -> str | None:
    """Why a bundle's metrics on today's test rows would say nothing, or flatter it; None if they can be compared."""
    from amtl.data.evolution import unreadable

    return _why_unfit(Inputs(settings), bundle) or unreadable(_declared(bundle)[0], settings.events)


def _why_parent_is_unfit(data: Inputs) -> str | None:
    """Why today's model must not start from the pinned parent; None if it may, or if there is none."""
    bundle = _parent_folder("bundle")
    return _why_unfit(data, bundle) if bundle else None


def _why_unfit(data: Inputs, bundle: Path) -> str | None:
    """Why a model cannot be a parent of today's: another label, or test rows of today that it may have trained on."""
    from amtl.data.evolution import another_label
    from amtl.data.split import overlap

    events, split = _declared(bundle)
    return another_label(events, data.settings.events) or overlap(split, data.provenance)


def _declared(bundle: Path) -> tuple[EventsParams, Any]:
    """The events and the split that a bundle was made under.

    Raises:
        ArtifactError: its manifest says neither, or in words of another version of amtl.
    """
    manifest = files.read_json(bundle / files.MANIFEST)
    try:
        return EventsParams.model_validate(manifest["events"]), manifest["lineage"].get("split")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{bundle} does not say which events it was made under ({reason}); fetch or make it again") from None


class Inputs:
    """The events and what counting made of them."""

    def __init__(self, settings: Params) -> None:
        from amtl.data.batches import Scaling
        from amtl.data.split import SplitBounds
        from amtl.data.vocabulary import Vocabulary

        self.settings = settings
        self.partitions: list[Partition] = _accepted(settings.events)
        self.vocabulary: Vocabulary = Vocabulary.read(COUNT / "vocabulary.parquet", settings.events)
        self.bounds = SplitBounds.from_json(files.read_json(COUNT / "split.json"))
        self.scaling = Scaling(**files.read_json(COUNT / "scaling.json"))

    def parts(self, *names: Part) -> dict[Part, EncodedRows]:
        """Encoded parts of the split."""
        from amtl.data.dataset import Encoding, encoded_rows

        encoding = Encoding(
            self.partitions,
            self.settings.events,
            self.bounds,
            self.scaling,
            self.vocabulary.lookup,
            self.vocabulary.rows,
            files.sha256(COUNT / "vocabulary.parquet"),
        )
        return {name: encoded_rows(encoding, name, CACHE / "encoded", say) for name in names}

    @property
    def provenance(self) -> dict[str, Any]:
        """What decides which rows are test rows."""
        from amtl.data.split import provenance

        return provenance(self.settings.events, self.bounds)

    def raw(self, part: Part, fields: Iterable[FieldParams] = ()) -> Iterator[pl.DataFrame]:
        """A part of the split as chunks of raw values; columns of `fields` that params.yaml no longer names come along."""
        from amtl.data.columns import columns
        from amtl.data.dataset import raw_rows
        from amtl.data.split import membership

        events = self.settings.events
        known = {column.name for column in columns(events)}
        gone = [field for field in fields if field.name not in known]
        return raw_rows(self.partitions, events, membership(events, self.bounds, part), RAW_ROWS, gone)


def _accepted(events: EventsParams) -> list[Partition]:
    """The partitions that were accepted, if the events are what was judged; skipped days are not among them."""
    from amtl.data.events import partitions, soundness

    found, judged = partitions(EVENTS), files.read_json(VALIDATE / "accepted.json")
    try:
        accepted, skipped = ({entry["day"]: entry["digest"] for entry in judged[kind]} for kind in ("partitions", "skipped"))
        same_rules = judged["soundness"] == files.digest_of(soundness(events))
        clean = {entry["day"] for entry in judged["partitions"] if same_rules and not entry["quarantined"]}
    except (LookupError, TypeError):
        raise ArtifactError(f"{VALIDATE / 'accepted.json'} is of another version of amtl; run: dvc repro validate") from None
    if {part.day: part.digest for part in found} != accepted | skipped:
        raise DataError(f"{EVENTS} is not what was validated; run: dvc repro validate")
    return [replace(part, sound=part.day in clean) for part in found if part.day in accepted]


def _parent_folder(name: str) -> Path | None:
    return None if files.read_json(PARENT / "parent.json") == {"parent": "none"} else PARENT / name


def _parent_vocabulary(settings: Params) -> Vocabulary | None:
    from amtl.data.vocabulary import Vocabulary

    state = _parent_folder("state")
    return Vocabulary.read(state / "vocabulary.parquet", settings.events) if state else None


class _resumable:
    """A folder for a stage's checkpoints, keyed by all that decides its result; removed after success.

    It lies in the cache: DVC deletes a stage's outputs before it runs the stage.
    """

    def __init__(self, stage: str, settings: Params, *made: Path) -> None:
        inputs = [files.sha256(path) for path in (VALIDATE / "accepted.json", COUNT / "vocabulary.parquet", PARENT / "parent.json", *made)]
        code = files.code_digest("amtl.data", "amtl.model", "amtl.packing", "amtl.release.evaluate", "amtl.sizing", "amtl.training")
        self.path = CACHE / "resume" / stage / files.digest_of([settings.model_dump(mode="json"), inputs, code])[:16]

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            shutil.rmtree(self.path.parent, ignore_errors=True)


def _context(settings: Params) -> dict[str, Any]:
    """What the report says of how the result came about."""
    trained = files.read_json(TRAIN / "report.json")
    warm_start = trained["warm_start"] | ({"unfit_parent": trained["unfit_parent"]} if "unfit_parent" in trained else {})
    if warm_start["parent"] != "none":
        warm_start["parent"] = files.read_json(PARENT / "parent.json")
    return {
        "data": files.read_json(VALIDATE / "report.json"),
        "warm_start": warm_start,
        "search": files.read_json(SEARCH / "report.json"),
        "control": files.read_json(SEARCH / "control.json"),
        "split": files.read_json(COUNT / "report.json")["rows"],
        "dim": settings.train.dim,
        "backbone": settings.train.backbone,
        "precision": settings.compress.precision,
        **files.read_json(COMPRESS / "report.json"),
    }


STAGES: dict[str, Callable[[Params], None]] = {
    stage.__name__: stage for stage in (validate, count, parent, train, search, compress, evaluate)
}


def main(arguments: list[str]) -> int:
    """Run one stage; returns the exit code."""
    from amtl.processes import die_with_parents

    if len(arguments) != 1 or arguments[0] not in STAGES:
        sys.stderr.write(f"amtl: error: usage: python -m amtl.stages {{{','.join(STAGES)}}}\n")
        return 2
    die_with_parents()
    try:
        with files.workspace_lock(Path.cwd()):
            STAGES[arguments[0]](params.load(Path("params.yaml")))
    except (AmtlError, OSError) as error:  # OSError: an input that no stage has made, a full disk, no rights
        sys.stderr.write(f"amtl: error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    from amtl import environment

    environment.apply(Path.cwd())  # a stage run by hand needs the stores too; what is set already wins
    sys.exit(main(sys.argv[1:]))
