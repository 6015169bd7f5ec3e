"""From the columns that files hold to the columns that params.yaml declares.

A `Reading` says how files write what the `events` section declares. It travels with the days, in the metadata of their
Parquet files, so that the next delivery of the same data needs no option.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from amtl.data.columns import Role
from amtl.params import EventsParams, FieldParams
from amtl.sources.mapped import times
from amtl.sources.mapped.tables import Layout
from amtl.sources.source import DAY

METADATA = "amtl.reading"
INNER = {"integer": pl.Int64(), "string": pl.String()}
TRUTHS = {"true": 1, "false": 0, "1": 1, "0": 0}


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelReading(_Frozen):
    """A label of 0 and 1, of true and false, or by a rule over another column: at least a number, equal to a word."""

    column: str
    type: Literal["integer", "number", "boolean", "rule"] = "integer"
    at_least: float | None = None
    equals: str | None = None

    @property
    def name(self) -> str:
        """Of the column of events: the raw column's, or one that tells the rule."""
        if self.at_least is not None:
            return f"{self.column}_at_least_{self.at_least:g}"
        return f"{self.column}_is_{self.equals}" if self.equals is not None else self.column


class TimeReading(_Frozen):
    """Which column holds times or days, how they are written (`times.told_form`), and the zone of those that name none."""

    column: str
    form: str
    zone: str | None = None


class Reading(_Frozen):
    """How files write the declared columns.

    Attributes:
        label: the label's column and rule.
        time: of `events.time`; None where events have none.
        day: what names a row's day where there is no time.
        lists: list field to the mark between its values in a text table.
        nulls: column to a word that stands for no value in a text table.
        layout: of text tables, where it was given and not told from the first lines.
    """

    label: LabelReading
    time: TimeReading | None = None
    day: TimeReading | None = None
    lists: dict[str, str] = {}
    nulls: dict[str, str] = {}
    layout: Layout | None = None

    @staticmethod
    def of(file: Path) -> Reading | None:
        """The reading by which a Parquet file of a day was made; None if it was made otherwise."""
        try:
            return Reading.model_validate_json(pl.read_parquet_metadata(file)[METADATA])
        except (OSError, pl.exceptions.PolarsError, KeyError, ValidationError):
            return None


@dataclass(frozen=True)
class Conversion:
    """One declared column, or the day, out of one raw column.

    Attributes:
        name: of the declared column.
        column: of the raw one.
        type: as which text tables and NDJSON read it; a conversion takes text as well.
        convert: raw expression and `strict` to the declared one; a value that does not fit fails if strict, else it is null.
        role: what a typed file's column must be able to hold (`events.fits`); None where the reading says how to read others.
        optional: whether a file may lack the column.
    """

    name: str
    column: str
    type: pl.DataType
    convert: Callable[[pl.Expr, bool], pl.Expr]
    role: Role | None = None
    optional: bool = False

    def expression(self, strict: bool) -> pl.Expr:
        """The declared column."""
        return self.convert(pl.col(self.column), strict).alias(self.name)


def conversions(events: EventsParams, reading: Reading, types: Mapping[str, pl.DataType]) -> list[Conversion]:
    """Conversions of all declared columns, and of the day where a column says it.

    Args:
        events: what is declared.
        reading: how files write it.
        types: the raw columns' types where files have such (Parquet, NDJSON); empty for text tables.
    """
    made = [_of_field(field, reading, types.get(field.name)) for field in events.fields]
    made.append(Conversion(events.label, reading.label.column, _label_type(reading.label), functools.partial(_label, reading.label)))
    if events.split.column:
        made.append(Conversion(events.split.column, events.split.column, pl.String(), _text))
    if reading.time and events.time:
        made += [_of_time(events.time, reading.time, types), _of_day(reading.time, types)]
    elif reading.day:
        made.append(_of_day(reading.day, types))
    return made


def read_types(made: list[Conversion]) -> dict[str, pl.DataType]:
    """Raw column to the type as which to read it: text where two conversions want different ones."""
    types: dict[str, pl.DataType] = {}
    for one in made:
        types[one.column] = one.type if types.get(one.column, one.type) == one.type else pl.String()
    return types


def _of_field(field: FieldParams, reading: Reading, dtype: pl.DataType | None) -> Conversion:
    whole = field.type == "integer"
    if field.kind == "number":
        return Conversion(field.name, field.name, pl.Float64(), _number, "number", field.optional)
    if field.kind == "id":
        convert = _integer if whole else _text
        return Conversion(field.name, field.name, INNER[field.type], convert, "integer" if whole else "string", field.optional)
    target = pl.List(INNER[field.type])
    if dtype is None or isinstance(dtype, pl.String):
        split = functools.partial(_split, reading.lists.get(field.name, "|"), target)
        return Conversion(field.name, field.name, pl.String(), split, None, field.optional)
    cast_list = functools.partial(_cast_list, target)
    return Conversion(field.name, field.name, target, cast_list, "integers" if whole else "strings", field.optional)


def _of_time(name: str, reading: TimeReading, types: Mapping[str, pl.DataType]) -> Conversion:
    dtype = types.get(reading.column)
    raw: pl.DataType = pl.Float64() if reading.form in times.EPOCHS else pl.String()
    if reading.form in times.EPOCHS and (dtype is None or dtype.is_integer()):
        raw = pl.Int64()
    return Conversion(name, reading.column, raw, functools.partial(_time, reading, dtype))


def _of_day(reading: TimeReading, types: Mapping[str, pl.DataType]) -> Conversion:
    time = _of_time(DAY, reading, types)
    return Conversion(DAY, time.column, time.type, lambda column, strict: time.convert(column, strict).dt.date().cast(pl.String))


def _label_type(reading: LabelReading) -> pl.DataType:
    if reading.equals is not None or reading.type == "boolean":
        return pl.String()
    return pl.Float64() if reading.at_least is not None or reading.type == "number" else pl.Int64()


def _label(reading: LabelReading, column: pl.Expr, strict: bool) -> pl.Expr:
    if reading.equals is not None:
        return (column.cast(pl.String) == reading.equals).cast(pl.Int8)
    if reading.at_least is not None:
        return (column.cast(pl.Float64, strict=strict) >= reading.at_least).cast(pl.Int8)
    if reading.type == "boolean":
        return _truth(column.cast(pl.String).str.to_lowercase(), strict)
    return _number(column, strict) if reading.type == "number" else _integer(column, strict)


def _truth(text: pl.Expr, strict: bool) -> pl.Expr:
    """0 or 1 for a word of TRUTHS. Not `replace_strict`: the streaming engine (polars 2.1) holds all rows for it."""
    digits = (pl.when(text == word).then(pl.lit(str(truth))) for word, truth in TRUTHS.items())
    unknown = pl.when(text.is_not_null()).then(pl.lit("neither"))
    return pl.coalesce(*digits, unknown).cast(pl.Int8, strict=strict)


def _integer(column: pl.Expr, strict: bool) -> pl.Expr:
    return column.cast(pl.Int64, strict=strict)


def _number(column: pl.Expr, strict: bool) -> pl.Expr:
    return column.cast(pl.Float64, strict=strict)


def _text(column: pl.Expr, strict: bool) -> pl.Expr:
    return column.cast(pl.String, strict=strict)


def _cast_list(target: pl.List, column: pl.Expr, strict: bool) -> pl.Expr:
    return column.cast(target, strict=strict)


def _split(mark: str, target: pl.List, column: pl.Expr, strict: bool) -> pl.Expr:
    return column.str.split(mark).cast(target, strict=strict)


def _time(reading: TimeReading, dtype: pl.DataType | None, column: pl.Expr, strict: bool) -> pl.Expr:
    return times.to_utc(column, reading.form, reading.zone, dtype, strict)
