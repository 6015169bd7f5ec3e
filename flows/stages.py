"""A stage of dvc.yaml as one Prefect task: DVC decides whether it runs and runs it, its output goes to the run's log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from amtl import processes
from amtl.errors import AmtlError, StageError
from flows import dvc_repo
from flows.states import STEP, as_state

ERROR = "amtl: error: "
HINTS = (
    "To track the changes with git, run:",
    "git add ",
    "To enable auto staging, run:",
    "dvc config core.autostage true",
    "Use `dvc push` to send your updates to remote storage.",
)


@task(task_run_name="stage-{name}", **STEP)
@as_state
def run_stage(root: Path, name: str, run_id: str | None, place: tuple[int, int]) -> bool:
    """Run one stage by DVC, unless it is up to date.

    Args:
        root: the workspace.
        name: the stage.
        run_id: the MLflow run that the stage logs to; None lets the stage open one.
        place: its number, from 1, and the number of stages.

    Returns:
        Whether DVC was started.

    Raises:
        StageError: the stage failed; with the stage's own message. Not retried.
        LockTrouble: another dvc is at work. Retried.
    """
    logger = get_run_logger()
    todo = bool(dvc_repo.changed_stages(root, [name]))
    logger.info("stage %d of %d: %s%s", *place, name, "" if todo else " is up to date", extra={"amtl_stage": (*place, name)})
    if not todo:
        return False
    repro(root, name, run_id, logger.info)
    return True


def repro(root: Path, name: str, run_id: str | None, say: Callable[[str, str], None]) -> None:
    """`dvc repro --single-item`, in a process group of its own that ends with this process; `say("%s", line)` gets its output.

    Raises:
        StageError: the stage failed; with the stage's own message.
        LockTrouble: another dvc is at work.
    """
    lines: list[str] = []

    def on_line(line: str) -> None:
        if line.strip() and not line.strip().startswith(HINTS):
            lines.append(line)
            say("%s", line)

    command = [sys.executable, "-m", "dvc", "repro", "--single-item", name]
    own = {processes.FLOW_PID: str(os.getpid()), "PYTHONUNBUFFERED": "1", **({"MLFLOW_RUN_ID": run_id} if run_id else {})}
    if processes.run_streamed(command, root, {**os.environ, **own}, on_line):
        raise failure(name, lines)


def failure(name: str, lines: Sequence[str]) -> AmtlError:
    """The error of a failed stage: its own words if it had any, else the last that DVC said."""
    own = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    if own:
        return StageError(own[-1])
    trouble = dvc_repo.refusal("\n".join(lines))
    if isinstance(trouble, dvc_repo.LockTrouble):
        return trouble
    said = lines[-1].removeprefix("ERROR: ") if lines else f"dvc repro --single-item {name} said nothing"
    return StageError(f"stage {name}: {said}; see the log above")
