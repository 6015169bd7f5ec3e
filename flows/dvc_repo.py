"""DVC in process: the stages that dvc.yaml names, what of it has changed. DVC's errors become ours, its advice stays quiet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from amtl.errors import WorkspaceError

T = TypeVar("T")

LOCK_MESSAGES = ("Unable to acquire lock", "is busy, it is being blocked by")
"""How DVC says that another process holds the workspace, or one that was killed has left its locks."""


class LockTrouble(WorkspaceError):
    """Another dvc process is at work here; it passes."""


def stage_names(root: Path) -> list[str]:
    """The stages of dvc.yaml, dependencies first; among equals in the order of the file.

    Raises:
        WorkspaceError: DVC cannot read dvc.yaml.
    """

    def question(repo: Any) -> list[str]:
        import networkx

        place = {stage: number for number, stage in enumerate(repo.index.stages)}
        order = networkx.lexicographical_topological_sort(repo.index.graph.reverse(), key=place.__getitem__)
        return [stage.name for stage in order if getattr(stage, "name", None) and not stage.is_data_source]

    return ask(root, question)


def changed_stages(root: Path, stages: Sequence[str]) -> list[str]:
    """Those of `stages` whose dependencies, parameters or outputs are not as dvc.lock says.

    Raises:
        WorkspaceError: DVC cannot tell.
    """
    return ask(root, lambda repo: [name for name in stages if repo.status([f"{root / 'dvc.yaml'}:{name}"])])


def ask(root: Path, question: Callable[[Any], T]) -> T:
    """Open the DVC repository at `root` and put it to `question`; targets must be absolute paths.

    Raises:
        WorkspaceError: DVC refuses, with its own words; `LockTrouble` if only for the moment.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.ui import ui

    logger = logging.getLogger("dvc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    ui.error_console.quiet = True  # its spinner would write into a bar of ours
    try:
        with Repo(str(root)) as repo:
            return question(repo)
    except DvcException as error:
        raise refusal(str(error)) from None
    finally:
        logger.setLevel(level)
        ui.error_console.quiet = False


def refusal(text: str) -> WorkspaceError:
    """DVC's own words as an error of ours."""
    if any(message in text for message in LOCK_MESSAGES):
        return LockTrouble("another dvc process is at work in this workspace, or was killed in it just now; try again when it has ended")
    return WorkspaceError(f"dvc: {' '.join(text.split())}")
