"""What a run logs. The flow opens, names, tags and closes one run; stages only add metrics and files to it."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from amtl.errors import ArtifactError
from amtl.release.registry.store import connected, texts

METRICS_A_CALL, PARAMS_A_CALL, PARAM_LENGTH = 1000, 100, 6000  # MLflow's limits


class RunLogger:
    """Logs to one MLflow run; never touches its status or parameters."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Log the entries that are finite numbers, in one call a thousand."""
        with connected() as client:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            numbers = {key: value for key, value in values.items() if isinstance(value, int | float) and math.isfinite(value)}
            entries = [Metric(key, float(value), now, step) for key, value in numbers.items()]
            for start in range(0, len(entries), METRICS_A_CALL):
                client.log_batch(self.run_id, metrics=entries[start : start + METRICS_A_CALL])

    def files(self, paths: Sequence[Path]) -> None:
        """Log files, and folders under their own names.

        Raises:
            ArtifactError: one of them does not exist.
        """
        with connected() as client:
            for path in paths:
                if not path.exists():
                    raise ArtifactError(f"{path} does not exist, so it cannot be logged to MLflow; rerun the stage that makes it")
                if path.is_dir():
                    client.log_artifacts(self.run_id, str(path), path.name)
                else:
                    client.log_artifact(self.run_id, str(path))


def open_run(experiment: str, run_name: str, tags: Mapping[str, Any]) -> str:
    """Open a run, its experiment made where there is none, and return its id."""
    with connected() as client:
        run = client.create_run(_experiment(client, experiment), tags=texts(tags), run_name=run_name)
        return str(run.info.run_id)


def log_params(run_id: str, params: Mapping[str, Any]) -> None:
    """Log parameters; nested ones get dotted names (`train.epochs`)."""
    with connected() as client:
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:PARAM_LENGTH]) for key, value in _flat(params)]
        for start in range(0, len(entries), PARAMS_A_CALL):
            client.log_batch(run_id, params=entries[start : start + PARAMS_A_CALL])


def close_run(run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    """End a run."""
    with connected() as client:
        client.set_terminated(run_id, status)


@contextlib.contextmanager
def stage_run(stage: str, experiment: str) -> Iterator[RunLogger]:
    """The run that a stage logs to: the one that MLFLOW_RUN_ID names, left as it is; else one of its own, closed at the end."""
    given = os.environ.get("MLFLOW_RUN_ID")
    if given:
        with connected() as client:
            client.get_run(given)
        yield RunLogger(given)
        return
    run_id = open_run(experiment, stage, {"amtl.stage": stage})
    try:
        yield RunLogger(run_id)
    except BaseException as error:
        close_run(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    close_run(run_id, "FINISHED")


def _experiment(client: Any, name: str) -> str:
    """Id of the experiment `name`, which is made where there is none; two makers at once end with one experiment."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifact_location()))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _artifact_location() -> str | None:
    """AMTL_ARTIFACT_ROOT; else beside an SQLite file (MLflow would take the current folder); else the server's own choice."""
    root, uri = os.environ.get("AMTL_ARTIFACT_ROOT"), os.environ.get("MLFLOW_TRACKING_URI", "")
    if root:
        return root if "://" in root else Path(root).resolve().as_uri()
    if uri.startswith("sqlite:///"):
        return (Path(uri.removeprefix("sqlite:///")).resolve().parent / "artifacts").as_uri()
    return None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
