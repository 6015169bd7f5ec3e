"""What `amtl ingest` does: choose how data are read, show how far it has come, install them or add their days."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from amtl import params, stages
from amtl.errors import DataError, ParamsError
from amtl.sources.mapped import mapping, tables
from amtl.sources.mapped.conversions import Reading
from amtl.sources.mapped.proposal import Proposal, Wishes, options, propose, reading_for
from amtl.sources.progress import shown
from amtl.sources.published.registry import PUBLISHED
from amtl.sources.source import Source
from amtl.sources.writing import Added, write_days
from flows import dataset

Ask = Callable[[tables.Table, Wishes], Wishes]
"""Asks the user what the columns are: the table and the wishes so far to wishes with a label."""


@dataclass(frozen=True)
class Ingested:
    """What was brought in: the data set's name, its days, and what the user should know."""

    name: str
    days: Added
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For the user to read."""
        said = [f"note: {note}" for note in self.notes]
        said += [f"{span(self.days.same)} here already, with the same content"] if self.days.same else []
        said += (
            [f"{self.name}: {span(self.days.written)} in data/events; data.dvc pins them; next: amtl retrain"] if self.days.written else []
        )
        return said


def dry_run(name: str | None, patterns: Sequence[str], wishes: Wishes, day: str | None = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The `events` section that would be written, and what the user should know.

    Args:
        name: of a published data set; None for a user's files.
        patterns: where it lies.
        wishes: what the user said about the columns.
        day: as in `published`.

    Raises:
        DataError: the layout is not the official one; or as `proposed`.
    """
    if name:
        source = PUBLISHED[name].read(Path(patterns[0]), _import_day(name, day))
        return source.section, source.notes
    _, proposal = proposed(patterns, wishes)
    return proposal.section, proposal.notes


def published(root: Path, name: str, path: Path, replace: bool, replace_days: bool = False, day: str | None = None) -> Ingested:
    """Bring a published data set in; once it is here, again only what is not here yet.

    Args:
        root: the workspace; the caller holds its lock.
        name: one of `PUBLISHED`.
        path: what its publisher ships.
        replace: swap the data set that is here.
        replace_days: let days that are here with other content be replaced.
        day: YYYY-MM-DD, where rows without times lie, or the first day of days without dates.

    Raises:
        ParamsError: `day` is no day.
        DataError: the layout is not the official one; another data set is here and `replace` is not set.
    """
    import_day = _import_day(name, day)
    source = PUBLISHED[name].read(path, import_day)
    here = sorted((root / stages.EVENTS).glob("date=*"))
    dataset.refuse_other_name(root, name, replace)
    if replace or not here:
        return _install(root, source, replace)
    if "time" not in source.section and here[0].name != f"date={import_day}":
        raise DataError(
            f"{name} is here already ({here[0].name}); it has no times, and would count twice: to bring it in again, add --replace"
        )
    return _add(root, source, replace_days)


def proposed(patterns: Sequence[str], wishes: Wishes) -> tuple[tables.Table, Proposal]:
    """What a user's files hold, as far as wishes and a sample of rows tell.

    Raises:
        DataError: there are no such files; the label or the time cannot be told.
    """
    table = tables.open_table(tables.find(patterns), wishes.delimiter, wishes.header)
    first = table.paths[0]
    name = first.parent.name if len(table.paths) > 1 else first.name.partition(".")[0]
    return table, propose(table, tables.sample(table), wishes, name)


def files(root: Path, patterns: Sequence[str], wishes: Wishes, replace: bool, replace_days: bool, ask: Ask | None) -> Ingested:
    """Bring a user's files in: as the data set of the workspace, or as a later delivery of the one that is here.

    Args:
        root: the workspace; the caller holds its lock.
        patterns: files, folders or globs.
        wishes: what the user said about the columns; if nothing, and `replace` is not set, params.yaml says what they are.
        replace: swap the data set that is here.
        replace_days: let days that are here with other content be replaced.
        ask: where there is somebody to ask; else a missing label is refused, with a proposal.

    Raises:
        DataError: the files, or what was said of them, do not fit; nothing was changed.
    """
    if not wishes.any and not replace:
        return _add(root, _delivered(root, patterns), replace_days)
    if wishes.label is None:
        wishes = _with_label(patterns, wishes, replace, ask)
    if wishes.name is None and not replace:
        wishes = dataclasses.replace(wishes, name=params.load(root / "params.yaml").events.name)
    table, proposal = proposed(patterns, wishes)
    if not replace:
        dataset.refuse_other(root, proposal.section)
    with shown("checking lines", None):
        source = mapping.read(table, proposal.section, proposal.reading, _today(), proposal.notes)
    return _install(root, source, replace) if replace else _add(root, source, replace_days)


def _delivered(root: Path, patterns: Sequence[str]) -> Source:
    """A later delivery of the data set that is here, with its columns as params.yaml declares them."""
    section = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))["events"]
    events = params.load(root / "params.yaml").events
    newest = max((root / stages.EVENTS).glob("date=*/*.parquet"), default=None)
    stored = Reading.of(newest) if newest else None
    paths = tables.find(patterns)
    table = (
        tables.open_table(paths, stored.layout.delimiter, stored.layout.header) if stored and stored.layout else tables.open_table(paths)
    )
    reading = reading_for(tables.sample(table), events, stored)
    with shown("checking lines", None):
        return mapping.read(table, section, reading, _today())


def _with_label(patterns: Sequence[str], wishes: Wishes, replace: bool, ask: Ask | None) -> Wishes:
    if ask:
        return ask(tables.open_table(tables.find(patterns), wishes.delimiter, wishes.header), wishes)
    _, proposal = proposed(patterns, wishes)
    command = shlex.join(["amtl", "ingest", *(["--replace"] if replace else []), *patterns])
    raise DataError(f"say which column is the label; a proposal, to take or to change: {command} {options(proposal, wishes)}")


def _install(root: Path, source: Source, replace: bool) -> Ingested:
    with shown("reading", source.rows) as advance:
        days = dataset.install(root, source.section, functools.partial(write_days, source, advance=advance), replace)
    return Ingested(source.section["name"], days, source.notes)


def _add(root: Path, source: Source, replace_days: bool) -> Ingested:
    with shown("reading", source.rows) as advance:
        days = dataset.add(root, source, replace_days, advance)
    return Ingested(source.section["name"], days, source.notes)


def _import_day(name: str, day: str | None) -> str:
    try:
        return date.fromisoformat(day).isoformat() if day else PUBLISHED[name].first_day or _today()
    except ValueError:
        raise ParamsError(f"--day {day} is no day; give one such as 2026-01-31") from None


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def span(days: Sequence[str]) -> str:
    """Days in a few words."""
    return days[0] if len(days) == 1 else f"{len(days)} days from {days[0]} to {days[-1]}"
