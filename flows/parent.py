"""Pinning the parent: which registered version the next training starts from."""

from __future__ import annotations

from pathlib import Path

from amtl import params, stages
from amtl.errors import ParamsError, RegistryError
from amtl.params import Params
from amtl.release import registry
from amtl.release.parent import Parent, ParentLock
from flows import data


def is_pinned_for(digest: str) -> bool:
    """Whether parent.lock was written for the data with this MD5."""
    return ParentLock.read(stages.PARENT_LOCK).data == digest


def follow_champion(settings: Params, digest: str) -> ParentLock | None:
    """Pin the champion, or a cold start if there is none, if the data are not those that parent.lock was written for.

    Args:
        settings: name the registered model.
        digest: MD5 of the data.

    Returns:
        The new pin; None if it was left alone.
    """
    if is_pinned_for(digest):
        return None
    lock = ParentLock(_champion(settings), digest)
    lock.write(stages.PARENT_LOCK)
    return lock


def pin(root: Path, which: str) -> ParentLock:
    """Pin `champion`, `none` or a version number by hand, for the data as they are; pins the data too.

    Raises:
        ParamsError: `which` is something else.
        RegistryError: there is no such version.
    """
    settings = params.load(root / "params.yaml")
    if which == "none":
        parent = None
    elif which == "champion":
        parent = _champion(settings)
        if parent is None:
            raise RegistryError(f"{settings.register_.name} has no champion; `amtl promote VERSION` makes one")
    elif which.isdigit():
        parent = _version(settings, int(which))
    else:
        raise ParamsError(f"{which!r} is no parent; give champion, none or the number of a version")
    lock = ParentLock(parent, data.pin(root))
    lock.write(root / stages.PARENT_LOCK)
    return lock


def _champion(settings: Params) -> Parent | None:

    champion = registry.champion(settings.register_.name)
    return Parent(champion.name, champion.number, champion.digest) if champion else None


def _version(settings: Params, number: int) -> Parent:

    version = registry.get(settings.register_.name, number)
    return Parent(version.name, version.number, version.digest)
