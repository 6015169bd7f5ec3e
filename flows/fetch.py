"""What `amtl fetch` does: download a data set from its publisher, verify it, bring it in."""

from __future__ import annotations

import tempfile
from pathlib import Path

from amtl import stages
from amtl.sources.fetch import publishers
from amtl.sources.fetch.download import At
from amtl.sources.progress import Advance, shown
from flows import dataset, ingest


def fetched(root: Path, name: str, replace: bool, mirror: str | None = None) -> ingest.Ingested:
    """Download a data set, unless it was before, and bring it in, whole.

    Args:
        root: the workspace; the caller holds its lock.
        name: one of `amtl.sources.fetch.publishers.OFFERS`.
        replace: swap the data set that is here.
        mirror: another address of the publisher's file.

    Raises:
        ParamsError: no such data set, or the mirror is no address.
        DataError: another data set is here and `replace` is not set; it cannot be fetched, or is not what its publisher states.
    """
    publishers.offer(name)
    dataset.refuse_other_name(root, name, replace)
    with tempfile.TemporaryDirectory(prefix="amtl-fetch-") as folder:
        with shown(f"fetching {name}", None, "bytes") as advance:
            publishers.fetch(name, root / stages.DOWNLOADS, Path(folder), mirror, _absolute(advance))
        return ingest.published(root, name, Path(folder), replace)


def _absolute(advance: Advance) -> At:
    """Tell how many there are to who wants to know how many more."""
    told = 0

    def at(now: int) -> None:
        nonlocal told
        advance(now - told)
        told = now

    return at
