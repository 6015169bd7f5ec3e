"""The flow `rollback`: the champion before this one becomes the champion again, once it has been loaded and asked."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from amtl import environment, files, params
from amtl.release import registry
from amtl.release.registry import Version
from flows.states import as_state


def roll_back(root: Path, why: str, to: int | None = None) -> Version:
    """Move the alias `champion` back; the version rolled back from is never promoted again by itself.

    Args:
        root: the workspace.
        why: the reason, for the ledger.
        to: the version to go back to; None takes the champion before this one.

    Raises:
        RegistryError: there is nothing to go back to; the alias has not moved.
        ArtifactError: the target is damaged; the alias has not moved.
    """
    with files.workspace_lock(root):
        settings = params.load(root / "params.yaml")
        return registry.rollback(settings.register_.name, by="amtl rollback", reason=why, to=to)


@flow(name="rollback", persist_result=False)
@as_state
def rollback(why: str, to: int | None = None) -> Version:
    """`roll_back` in the workspace that holds the current folder."""
    root = environment.find_root(Path.cwd())
    environment.apply(root)
    return roll_back(root, why, to)
