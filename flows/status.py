"""The state of a workspace on one screen: data, stages, parent, versions, ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from amtl import params, stages
from amtl.data.events import Partition, partitions, reading
from amtl.errors import AmtlError, DataError, ParamsError
from amtl.params import Params
from amtl.release import registry
from amtl.release.parent import ParentLock
from amtl.release.registry import Version
from amtl.validation.skipped import SkippedDays
from flows import data, dvc_repo

LEDGER_LINES = 5
COLUMN = 12


def lines(root: Path) -> Iterator[str]:
    """The screen, line by line."""
    settings = params.load(root / "params.yaml")
    yield from _row("workspace", str(root))
    try:
        parts = partitions(root / stages.EVENTS)
    except DataError as error:
        yield from _row("data", f"{settings.events.name}: {error}")
    else:
        yield from _row("data", f"{settings.events.name}: {_data(root, parts)}")
        yield from _row("skipped", *(_skipped(root, parts) or ["none"]))
    yield from _row("stages", _stages(root))
    yield from _row("parent", _parent(root))
    yield from _versions(settings)


def _row(name: str, *values: str) -> Iterator[str]:
    for number, value in enumerate(values):
        yield f"{name if number == 0 else '':{COLUMN}}{value}"


def _data(root: Path, parts: Sequence[Partition]) -> str:
    import polars as pl

    lengths = [pl.scan_parquet(path, glob=False, hive_partitioning=False).select(pl.len()) for part in parts for path in part.files]
    try:
        with reading():
            rows = pl.concat(lengths).sum().collect().item()
    except DataError as error:
        return str(error)
    digest = data.pinned(root)
    pinned = f"pinned as {digest[:12]}" if data.is_clean(root) else "changed since they were pinned; `amtl retrain` takes them in"
    return f"{len(parts)} days ({parts[0].day} to {parts[-1].day}), {rows:,} events, {pinned}"


def _skipped(root: Path, parts: Sequence[Partition]) -> list[str]:
    """The days that are left out, and entries that no longer hold: their day was mended, or is gone."""
    try:
        record = SkippedDays.read(root / stages.SKIPPED_DAYS)
    except ParamsError as error:
        return [str(error)]
    holding = record.within(parts)
    return [f"{entry.day}{'' if entry in holding else ' (no longer: its content is another)'}: {entry.why}" for entry in record.entries]


def _stages(root: Path) -> str:
    names = dvc_repo.stage_names(root)
    changed = dvc_repo.changed_stages(root, names)
    return f"{', '.join(changed)} to run, and what follows from them: `amtl retrain`" if changed else "up to date"


def _parent(root: Path) -> str:
    try:
        parent = ParentLock.read(root / stages.PARENT_LOCK).parent
    except AmtlError as error:
        return str(error)
    return f"version {parent.version} of {parent.name} ({parent.digest[:12]})" if parent else "none (cold start)"


def _versions(settings: Params) -> Iterator[str]:
    name = settings.register_.name
    versions = registry.versions(name)
    yield from _row("model", f"{name}: {len(versions)} version{'' if len(versions) == 1 else 's'}")
    for alias in ("champion", "challenger"):
        held = next((version for version in versions if alias in version.aliases), None)
        yield from _row(alias, *(_version(held) if held else ("none",)))
    moves = [f"version {line.version} {_span(line)} by {line.by}: {line.reason}" for line in registry.ledger(name)[-LEDGER_LINES:]]
    yield from _row("ledger", *(moves or ["nobody was champion yet"]))


def _version(version: Version) -> Iterator[str]:
    tags = version.tags
    figures = [
        f"AUC {float(tags['amtl.auc']):.4f}" if "amtl.auc" in tags else "",
        f"{int(tags['amtl.table_bytes']):,} bytes" if "amtl.table_bytes" in tags else "",
        tags.get("amtl.verdict", "not judged"),
    ]
    yield f"version {version.number}: {', '.join(figure for figure in figures if figure)}"
    yield from tags.get("amtl.reasons", "").splitlines()


def _span(line: registry.Tenure) -> str:
    if line.until is None:
        return f"since {line.since or 'an unknown time'}"
    return f"{line.since or 'an unknown time'} to {line.until or 'an unknown time'}"
