"""What the columns of an unknown table are likely to be: an `events` section and a `Reading`, proposed from a sample of rows.

    whole numbers, text, true/false    id          floats        number
    lists, columns named by --list     ids         nulls occur   optional
    0 and 1, or true and false, once   the label   dates         the time, if there is one such column

Left out, with a note: constants, row numbers (all values different), further times, what tells the label exactly, and the
raw column of a label's rule.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.sources.mapped import kinds, tables, times
from amtl.sources.mapped.conversions import LabelReading, Reading, TimeReading
from amtl.sources.mapped.kinds import Column, Kind

FIELDS: dict[Kind, dict[str, str]] = {
    "integer": {"type": "integer"},
    "number": {"kind": "number"},
    "boolean": {},
    "text": {},
    "integers": {"kind": "ids", "type": "integer"},
    "texts": {"kind": "ids"},
}
NO_TIME = "none"
"""What --time says where a column of times is not the events' time."""
COMMAS = "its numbers have decimal commas, which are not read; write them with points"
TOO_FEW = 50
"""Rows below which different values say nothing about a column."""


@dataclass(frozen=True)
class Wishes:
    """What the user said about the columns; what is None is proposed."""

    label: str | None = None
    time: str | None = None
    fields: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    separator: str = "|"
    name: str | None = None
    time_format: str | None = None
    time_zone: str | None = None
    split: str | None = None
    day_column: str | None = None
    delimiter: str | None = None
    header: bool | None = None

    @property
    def any(self) -> bool:
        """Whether the user said anything about columns."""
        return self != Wishes()


@dataclass(frozen=True)
class Proposal:
    """An `events` section, how the files write it, and what the user should know."""

    section: dict[str, Any]
    reading: Reading
    notes: tuple[str, ...]


def propose(table: tables.Table, sample: pl.DataFrame, wishes: Wishes, name: str) -> Proposal:
    """A mapping for a table.

    Args:
        table: the files.
        sample: rows of them, see `tables.sample`.
        wishes: what the user said.
        name: of the data set, where the user gave none.

    Raises:
        DataError: the label or the time cannot be told; a wish names a column that is not there.
    """
    columns = kinds.describe(sample)
    _check_names(columns, wishes)
    label = _label(columns, wishes.label)
    time, day = _time(columns, sample, wishes), _day(columns, sample, wishes)
    taken = {label.column, *(one.column for one in (time, day) if one), *_split_column(wishes)}
    fields, left_out = _fields(columns, wishes, taken, _leaks(sample, columns, label))
    if not any(field.get("kind") != "number" for field in fields):
        raise DataError("no column is left that could be a field with ids; name some with --field COLUMN")
    section = {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", wishes.name or name).strip("-._") or "events",
        "label": label.name,
        **({"time": time.column} if time else {}),
        "split": _split(wishes, time),
        "fields": fields,
    }
    given = wishes.delimiter is not None or wishes.header is not None
    reading = Reading(
        label=label,
        time=time,
        day=day,
        lists={field["name"]: wishes.separator for field in fields if columns[field["name"]].kind == "text" and field.get("kind") == "ids"},
        nulls=_nulls(
            columns, taken | {field["name"] for field in fields if field.get("kind") == "number" or field.get("type") == "integer"}
        ),
        layout=table.layout if given else None,
    )
    return Proposal(section, reading, (*_notes(columns, reading), *_timeless(wishes, reading), *left_out))


def reading_for(sample: pl.DataFrame, events: EventsParams, stored: Reading | None) -> Reading:
    """How a later delivery writes what `events` declares.

    Args:
        sample: rows of it.
        events: as params.yaml declares them.
        stored: the reading of the days that are here; None if they were made otherwise.

    Raises:
        DataError: the time cannot be told.
    """
    columns = kinds.describe(sample)
    label = stored.label if stored and stored.label.name == events.label else _known_label(columns, events.label)
    known = stored.time if stored and stored.time and stored.time.column == events.time else None
    time = _retold(sample, columns, events.time, known) if events.time in columns and events.time else known
    parsed = {events.label, events.time, *(field.name for field in events.fields if field.kind == "number" or field.type == "integer")}
    nulls = _nulls(columns, parsed)
    if stored is None:
        return Reading(label=label, time=time, nulls=nulls)
    return stored.model_copy(update={"label": label, "time": time, "nulls": nulls | stored.nulls})


def options(proposal: Proposal, wishes: Wishes) -> str:
    """A proposal as options of `amtl ingest`, for the user to change."""
    words = ["--label", wishes.label or proposal.reading.label.column]
    words += ["--time", proposal.section["time"]] if "time" in proposal.section else ["--time", "none"]
    words += ["--day-column", wishes.day_column] if wishes.day_column else []
    for field in proposal.section["fields"]:
        option = {"number": "--number", "ids": "--list"}.get(field.get("kind", "id"), "--field")
        words += [option, field["name"]]
    words += ["--separator", wishes.separator] if proposal.reading.lists else []
    said = {"--time-format": wishes.time_format, "--time-zone": wishes.time_zone, "--split": wishes.split, "--delimiter": wishes.delimiter}
    words += [word for option, value in said.items() if value is not None for word in (option, value)]
    words += [] if wishes.header is None else ["--header" if wishes.header else "--no-header"]
    return shlex.join([*words, "--name", proposal.section["name"]])


def _known_label(columns: Mapping[str, Column], name: str) -> LabelReading:
    kind = columns[name].kind if name in columns else "integer"
    return LabelReading(column=name, type="boolean" if kind == "boolean" else "number" if kind == "number" else "integer")


def _retold(sample: pl.DataFrame, columns: Mapping[str, Column], name: str, known: TimeReading | None) -> TimeReading:
    """The time's reading, with the form that these rows show unless the user gave one, or a row is at fault, which reading finds."""
    given = known and known.form not in {*times.PATTERNS, *times.EPOCHS, "native"}
    if known and (given or (sample[name].dtype == pl.String and times.unlike(sample[name].drop_nulls()) is not None)):
        return known
    return _time_reading(sample, columns[name], Wishes(time_zone=known.zone if known else None))


def _nulls(columns: Mapping[str, Column], parsed: Collection[str | None]) -> dict[str, str]:
    """Column to the word that stands for no value; in text that is not parsed any word is a value."""
    return {column.name: column.null for column in columns.values() if column.null and column.name in parsed}


def _check_names(columns: Mapping[str, Column], wishes: Wishes) -> None:
    columns_said = [wishes.time if wishes.time != NO_TIME else None, wishes.day_column]
    named = [*_asked(columns, wishes), *wishes.numbers, *wishes.lists, *_split_column(wishes), *[one for one in columns_said if one]]
    for name in named:
        if name not in columns:
            raise DataError(f"there is no column {name}; the table has {', '.join(columns)}")


def _label(columns: Mapping[str, Column], wish: str | None) -> LabelReading:
    """The label's column and rule.

    Raises:
        DataError: it cannot be told, or the wish does not fit the column.
    """
    if wish is None:
        candidates = kinds.zero_one(columns)
        if len(candidates) == 1:
            return _plain_label(columns[candidates[0]])
        held = f"columns {', '.join(candidates)} hold" if candidates else "no column holds"
        rules = "" if candidates else _rules(columns)
        raise DataError(
            f"which column is the label? {held} only 0 and 1; say --label COLUMN, --label 'COLUMN>=4' or --label 'COLUMN=yes'{rules}"
        )
    match = re.fullmatch(r"(.+?)\s*(>=|=)\s*(.+)", wish)
    name = wish if wish in columns or not match else match[1]
    if name not in columns:
        raise DataError(f"--label {wish}: there is no column {name}; the table has {', '.join(columns)}")
    if name == wish or not match:
        return _plain_label(columns[name])
    if match[2] == "=":
        return LabelReading(column=name, type="rule", equals=match[3])
    try:
        return LabelReading(column=name, type="rule", at_least=float(match[3]))
    except ValueError:
        raise DataError(f"--label {wish}: {match[3]} is no number; a threshold is written 'COLUMN>=4'") from None


def _rules(columns: Mapping[str, Column]) -> str:
    """The columns that a label's rule could be about, for a message."""
    few = [shlex.quote(column.name) for column in columns.values() if column.distinct == 2]
    return f"; two values have: {', '.join(few)}" if few else ""


def _plain_label(column: Column) -> LabelReading:
    if not column.only_zero_one and column.distinct != 1:
        raise DataError(
            f"--label {column.name}: it holds other values than 0 and 1 (or true and false); say which of them are positive: "
            f"--label '{column.name}>=NUMBER' or --label '{column.name}=WORD'"
        )
    if column.kind == "boolean":
        return LabelReading(column=column.name, type="boolean")
    return LabelReading(column=column.name, type="number" if column.kind == "number" else "integer")


def _time(columns: Mapping[str, Column], sample: pl.DataFrame, wishes: Wishes) -> TimeReading | None:
    """The time's column and how it is written; None without one.

    Raises:
        DataError: several columns could be it, or the one that was named holds no times.
    """
    times.check_zone(wishes.time_zone)
    if wishes.time == NO_TIME:
        return None
    if wishes.time is not None:
        return _time_reading(sample, columns[wishes.time], wishes)
    candidates = [] if wishes.day_column else kinds.timely(columns)
    if len(candidates) > 1:
        raise DataError(f"columns {', '.join(candidates)} hold times; say which is the event's: --time COLUMN, or --time none")
    return _time_reading(sample, columns[candidates[0]], wishes) if candidates else None


def _day(columns: Mapping[str, Column], sample: pl.DataFrame, wishes: Wishes) -> TimeReading | None:
    return _time_reading(sample, columns[wishes.day_column], wishes) if wishes.day_column else None


def _time_reading(sample: pl.DataFrame, column: Column, wishes: Wishes) -> TimeReading:
    values = sample[column.name].drop_nulls()
    text = values.dtype == pl.String
    if text:
        values = values.filter((values != "") & (values != (column.null or "")))
    form = wishes.time_format if text and wishes.time_format else times.told_form(values)
    if form is None:
        raise DataError(_untold(column.name, values))
    return TimeReading(column=column.name, form=form, zone=wishes.time_zone)


def _untold(name: str, values: pl.Series) -> str:
    """Why a column's times cannot be read, and what to say or to mend."""
    text = values.dtype == pl.String
    odd = times.unlike(values) if text else None
    if odd is not None:
        return f"column {name}: {odd!r} is not written like the times before it; mend it, or say --time none"
    example = repr(values[0]) if len(values) else "empty"
    possible = times.possible_patterns(values) if text else []
    forms = " or ".join(f"--time-format {shlex.quote(one)}" for one in possible or ["%d/%m/%Y %H:%M"])
    return (
        f"column {name} is no time that can be told ({example}); say how it is written: --time {shlex.quote(name)} {forms}; or --time none"
    )


def _split_column(wishes: Wishes) -> list[str]:
    kind, _, name = (wishes.split or "").partition(":")
    return [name] if kind == "column" and name else []


def _split(wishes: Wishes, time: TimeReading | None) -> dict[str, Any]:
    column = _split_column(wishes)
    kind = "column" if column else wishes.split or ("time" if time else "random")
    if kind not in {"column", "time", "random"} or (kind == "time" and not time):
        needed = "it needs --time" if kind == "time" else "it is random, time or column:NAME"
        raise DataError(f"--split {wishes.split}: {needed}")
    return {"kind": kind, "column": column[0]} if column else {"kind": kind, "test": 0.1, "validation": 0.1}


def _leaks(sample: pl.DataFrame, columns: Mapping[str, Column], label: LabelReading) -> set[str]:
    """Columns of few values each of which goes with one label only: a rating beside the like that was made from it."""
    if len(sample) < TOO_FEW or not columns[label.column].only_zero_one:
        return set()
    few = [column.name for column in columns.values() if 1 < column.distinct <= len(sample) // TOO_FEW and column.name != label.column]
    labels = sample.select(pl.col(label.column).n_unique().over(name).max().alias(name) for name in few)
    return {name for name in few if labels[name][0] == 1}


def _asked(columns: Mapping[str, Column], wishes: Wishes) -> dict[str, str]:
    """The fields that --field names, each with the type that was given, or with none."""
    plain = {field: "" for field in wishes.fields if field in columns or ":" not in field}
    typed = (field.rpartition(":") for field in wishes.fields if field not in plain)
    return plain | {name: as_type for name, _, as_type in typed}


def _fields(columns: Mapping[str, Column], wishes: Wishes, taken: set[str], leaks: set[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The fields, as entries of params.yaml, and notes on what was left out."""
    fields, notes = [], []
    asked = _asked(columns, wishes)
    wanted = {*asked, *wishes.numbers, *wishes.lists}
    for column in columns.values():
        if column.name in wanted:
            fields.append(_field(column, wishes, asked))
        elif column.name not in taken and not wishes.fields:
            why = "it tells the label (known only afterwards?)" if column.name in leaks else _why_not(column)
            if why:
                notes.append(f"{column.name} is left out: {why}; to bring it in, name it and all other fields with --field")
            else:
                fields.append(_field(column, wishes, asked))
    return fields, notes


def _field(column: Column, wishes: Wishes, asked: Mapping[str, str]) -> dict[str, Any]:
    """An entry of params.yaml; what --field names is an id, floats too."""
    as_type = asked.get(column.name)
    if column.name in wishes.numbers:
        if column.commas:
            raise DataError(f"--number {column.name}: {COMMAS}")
        entry = {"kind": "number"}
    elif column.name in wishes.lists:
        entry = {"kind": "ids", **({"type": "integer"} if column.kind == "integers" else {})}
    elif as_type:
        if as_type not in {"integer", "string"}:
            raise DataError(f"--field {column.name}:{as_type}: the type is integer or string; a number is --number {column.name}")
        entry = {"type": "integer"} if as_type == "integer" else {}
    else:
        entry = {} if as_type is not None and column.kind == "number" else FIELDS.get(column.kind, {})
    return {"name": column.name, **entry, **({"optional": True} if column.nulls else {})}


def _why_not(column: Column) -> str | None:
    """Why a column is not proposed as a field; None if it is."""
    if column.kind == "nothing":
        return "it is empty"
    if column.kind == "other":
        return "it holds neither values nor lists of values"
    if column.kind == "time":
        return "it holds times"
    if column.kind in {"integers", "texts"}:
        return None
    if column.commas:
        return COMMAS
    if column.distinct == 1 and not column.nulls and column.rows > 1:
        return "it is constant"
    if column.distinct == column.rows >= TOO_FEW and column.kind != "number":
        return "all its values are different (a row number?)"
    return None


def _timeless(wishes: Wishes, reading: Reading) -> list[str]:
    """What becomes of rows whose day nothing says, unless the user wants it so."""
    if wishes.time == NO_TIME or reading.time or reading.day:
        return []
    return ["no column holds times: all rows lie in the day of import (--time or --day-column says otherwise)"]


def _notes(columns: Mapping[str, Column], reading: Reading) -> list[str]:
    """How the label and times are read, and what stands for no value."""
    notes = []
    if reading.label.type == "rule":
        rule = f">= {reading.label.at_least:g}" if reading.label.at_least is not None else f"= {reading.label.equals}"
        notes.append(f"{reading.label.name} is 1 where {reading.label.column} {rule}; {reading.label.column} itself is no field")
    for one in (reading.time, reading.day):
        if one:
            zone = "" if re.search("%[#:]*z|%[+]|epoch", one.form) else f", times without a zone taken as {one.zone or 'UTC'}"
            form = "it is" if one.form == "native" else one.form
            notes.append(f"{one.column} is read as {form}{zone}; days are UTC days")
    notes += [f"{word!r} in {name} stands for no value" for name, word in reading.nulls.items()]
    return notes
