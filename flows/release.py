"""From a finished bundle to a registered, judged version: what the flow does after dvc.yaml ends.

Every step looks at how things are before it acts, so after a crash the next run completes the work and repeats none.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.logging import get_run_logger

from amtl import files, stages
from amtl.errors import ArtifactError
from amtl.params import Params
from amtl.release import registry
from amtl.release.gate import Verdict, judge
from amtl.release.registry import Version
from flows import data
from flows.states import STEP, as_state

RECORD = stages.BUILD / "release.json"
REPORT = stages.BUILD / "report.html"
CHAMPION = stages.BUILD / "champion"
PINS = (Path("dvc.lock"), Path("data.dvc"), stages.PARENT_LOCK, Path("params.yaml"))


@dataclass(frozen=True)
class Release:
    """A registered version and what the gate said of it.

    Attributes:
        name: the registered model.
        version: its number.
        decision: PROMOTE, HOLD or REJECT.
        reasons: why, in sentences.
        new: made by this run.
    """

    name: str
    version: int
    decision: str
    reasons: tuple[str, ...]
    new: bool


def standing(settings: Params) -> Release | None:
    """The release of what lies in the workspace if nothing has changed since, and the registry has it with its verdict.

    Raises:
        RegistryError: MLflow does not answer.
    """
    record = files.read_json(RECORD) if RECORD.is_file() else None
    if not isinstance(record, dict) or record.get("key") != _key(settings):
        return None
    version = registry.find(settings.register_.name, record["digest"])
    if version is None or "amtl.verdict" not in version.tags:
        return None
    rolled_back = version.tags.get("amtl.rolled_back_at") if "champion" not in version.aliases else None
    since = (f"rolled back from at {rolled_back}",) if rolled_back else ()
    return Release(version.name, version.number, record["decision"], (*record["reasons"], *since), new=False)


def registered(settings: Params) -> Version | None:
    """The version whose bundle lies in the workspace.

    Raises:
        ArtifactError: the bundle is damaged.
    """
    from amtl.packing.bundle import identity

    return registry.find(settings.register_.name, identity(stages.BUNDLE))


@task(task_run_name="register", **STEP)
@as_state
def register(settings: Params, run_id: str) -> tuple[Version, bool]:
    """Register the bundle with its lineage; the same bundle is one version however often this runs.

    Returns:
        The version, and whether it is new.
    """
    known = registered(settings)
    tags = {**lineage(settings), **_figures()}
    version = registry.register(settings.register_.name, stages.BUNDLE, stages.STATE, run_id, tags)
    get_run_logger().info("version %d of %s is registered%s", version.number, version.name, " already" if known else "")
    return version, known is None


@task(task_run_name="gate", **STEP)
@as_state
def gate(settings: Params, version: Version) -> Verdict:
    """Judge a version against the champion of this moment, scored on the same rows; PROMOTE makes it the champion.

    The verdict is tagged last, so a version with a verdict needs nothing more.
    """
    champion = registry.champion(version.name)
    verdict = _verdict(settings, version, champion)
    if verdict.decision == "PROMOTE":
        expected = champion.number if champion else None
        registry.promote(version.name, version.number, expected, by="retrain", reason="; ".join(verdict.reasons), automatic=True)
    registry.set_verdict(version, verdict.decision, verdict.reasons)
    get_run_logger().info("gate: %s version %d: %s", verdict.decision, version.number, "; ".join(verdict.reasons))
    return verdict


@task(task_run_name="report", **STEP)
@as_state
def report(settings: Params, run_id: str, version: Version, verdict: Verdict) -> None:
    """Write `build/report.html`, log it with the pinned inputs to MLflow, and note the release for `standing`."""
    from amtl.release.report import render

    title = {"title": f"{version.name} version {version.number}"}
    page = render(files.read_json(stages.METRICS), files.read_json(stages.EVALUATION), verdict, {**title, **lineage(settings)})
    files.publish_text(REPORT, page)
    registry.RunLogger(run_id).files([REPORT, *PINS])
    entry = {"version": version.number, "digest": version.digest, "decision": verdict.decision, "reasons": list(verdict.reasons)}
    files.publish_json(RECORD, {"key": _key(settings), **entry})


def metrics_of(settings: Params, version: Version) -> dict[str, Any]:
    """Metrics of a registered version on the test rows of today."""
    return stages.champion_metrics(settings, registry.fetch(version.name, version.number, "bundle", CHAMPION))


def pins(settings: Params) -> dict[str, Any]:
    """What a run is made from, as tags."""
    return {"amtl.data": data.pinned(Path.cwd()), "amtl.budget": settings.compress.budget, "amtl.code": _code_commit()}


def lineage(settings: Params) -> dict[str, Any]:
    """Where the bundle in the workspace comes from, as tags of its version."""
    parent = _in_words(files.read_json(stages.PARENT / "parent.json"))
    return {**pins(settings), "amtl.dvc_lock": files.sha256(Path("dvc.lock")), "amtl.parent": parent}


def _verdict(settings: Params, version: Version, champion: Version | None) -> Verdict:
    if champion is not None and champion.number == version.number:
        return Verdict("PROMOTE", (f"version {version.number} is the champion",))
    if "amtl.rolled_back_at" in version.tags:
        when = version.tags["amtl.rolled_back_at"]
        return Verdict("HOLD", (f"version {version.number} was rolled back from at {when}; only `amtl promote` brings it back",))
    challenger = files.read_json(stages.METRICS)
    if champion is None:
        return judge(challenger, None, settings.gate)
    bundle = registry.fetch(champion.name, champion.number, "bundle", CHAMPION)
    reason = stages.why_not_comparable(settings, bundle)
    if reason is None:
        return judge(challenger, stages.champion_metrics(settings, bundle), settings.gate)
    alone = judge(challenger, None, settings.gate)
    held = f"version {champion.number}, the champion, cannot be compared on today's test rows: {reason}; `amtl promote` decides by hand"
    return alone if alone.decision == "REJECT" else Verdict("HOLD", (held,))


def _figures() -> dict[str, Any]:
    """The metrics that `amtl status` shows of a version, as tags."""
    metrics = files.read_json(stages.METRICS)
    return {"amtl.auc": metrics.get("auc"), "amtl.table_bytes": metrics["table_bytes"]}


def _in_words(parent: Mapping[str, Any]) -> str:
    return f"{parent['name']} version {parent['version']}" if "version" in parent else "none"


def _code_commit() -> str | None:
    """The commit of the code here, marked if files differ from it; None outside git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _key(settings: Params) -> str:
    """Digest of all that a release follows from: the stages' inputs and outputs, the gate, the model's name."""
    if not Path("dvc.lock").is_file():
        raise ArtifactError("dvc.lock does not exist; run `amtl retrain`")
    return files.digest_of([files.sha256(Path("dvc.lock")), settings.gate.model_dump(mode="json"), settings.register_.name])
