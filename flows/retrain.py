"""The flow `retrain`: pin the data and the parent, run the stages of dvc.yaml, register, judge, report.

    data        `dvc add data`, if days arrived
    stage-NAME  each stage of dvc.yaml, by DVC, in its order; those that are up to date do nothing
    pin-parent  before the stage `parent`: the champion goes into parent.lock, if the data changed since the last pin
    register    the bundle becomes a version of the registered model
    gate        PROMOTE | HOLD | REJECT; PROMOTE moves the alias `champion`
    report      build/report.html

It needs no server: `amtl retrain` brings one along. Run again with the same data and parameters, it changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from prefect import flow, task
from prefect.logging import get_run_logger

from amtl import environment, files, params
from amtl.errors import RegistryError
from amtl.params import Params
from amtl.release import registry
from amtl.stages import BUILD, VALIDATE
from flows import data, dvc_repo, parent, release
from flows.release import Release
from flows.stages import run_stage
from flows.states import STEP, as_state, outcome

OPEN_RUN = BUILD / "run.json"
"""Names the MLflow run that is open, while one is."""


@flow(name="retrain", persist_result=False)
@as_state
def retrain() -> Release:
    """Retrain from the data and parameters of the workspace that holds the current folder.

    Raises:
        AmtlError: as the state Failed; nothing was registered, unless it was the gate or the report that failed.
    """
    root = environment.find_root(Path.cwd())
    environment.apply(root)
    with contextlib.chdir(root), files.workspace_lock(root):
        settings = params.load(Path("params.yaml"))
        digest = outcome(pin_data(root, return_state=True))
        stages = dvc_repo.stage_names(root)
        todo = dvc_repo.changed_stages(root, stages) or not parent.is_pinned_for(digest)
        with mlflow_run(settings) if todo else contextlib.nullcontext() as run_id:
            for number, name in enumerate(stages, start=1):
                if name == "parent":  # not before the data were judged: a day that is refused must leave no trace
                    outcome(pin_parent(settings, digest, return_state=True))
                outcome(run_stage(root, name, run_id, (number, len(stages)), return_state=True))
                if name == "validate":
                    _log_skipped()
            return _finish(settings, run_id) if run_id else _complete(settings)


@task(task_run_name="data", **STEP)
@as_state
def pin_data(root: Path) -> str:
    """Bring data.dvc up to date with data/; returns the MD5."""
    before = data.pinned(root)
    digest = data.pin(root)
    get_run_logger().info("data %s (%s)", "are as pinned" if digest == before else "changed and are pinned anew", digest)
    return digest


@task(task_run_name="pin-parent", **STEP)
@as_state
def pin_parent(settings: Params, digest: str) -> None:
    """Pin the champion as parent, if the data changed since the last pin."""
    lock = parent.follow_champion(settings, digest)
    if lock:
        get_run_logger().info("parent: %s", f"version {lock.parent.version}" if lock.parent else "none (cold start)")


def _log_skipped() -> None:
    """Say which days are left out and why, once a run, whether they were skipped just now or long ago."""
    for entry in files.read_json(VALIDATE / "report.json")["skipped"]:
        get_run_logger().info("day %s is skipped: %s", entry["day"], entry["why"])


@contextlib.contextmanager
def mlflow_run(settings: Params) -> Iterator[str]:
    """A new MLflow run for what the block does, closed however it ends; one that was killed is closed by the next.

    The caller holds the workspace's lock.

    Yields:
        The run's id.
    """
    if OPEN_RUN.exists():
        with contextlib.suppress(RegistryError):  # the store may be another one by now
            registry.close_run(files.read_json(OPEN_RUN)["run_id"], "KILLED")
    run_id = registry.open_run(settings.register_.name, "retrain", release.pins(settings))
    files.publish_json(OPEN_RUN, {"run_id": run_id})
    status: Literal["FINISHED", "FAILED"] = "FAILED"
    try:
        registry.log_params(run_id, settings.model_dump(mode="json", by_alias=True))
        yield run_id
        status = "FINISHED"
    finally:
        registry.close_run(run_id, status)
        OPEN_RUN.unlink()


def _finish(settings: Params, run_id: str) -> Release:
    """Register, judge and report what the stages have made."""
    version, new = outcome(release.register(settings, run_id, return_state=True))
    verdict = outcome(release.gate(settings, version, return_state=True))
    outcome(release.report(settings, run_id, version, verdict, return_state=True))
    return Release(version.name, version.number, verdict.decision, verdict.reasons, new)


def _complete(settings: Params) -> Release:
    """No stage ran: see to it that what lies here is registered, judged and reported. Most often it is."""
    standing = release.standing(settings)
    if standing:
        get_run_logger().info("nothing changed: version %d of %s stands", standing.version, standing.name)
        return standing
    version = release.registered(settings)
    if version:
        return _finish(settings, version.run_id)
    with mlflow_run(settings) as run_id:
        return _finish(settings, run_id)
