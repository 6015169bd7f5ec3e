"""What kind of values a raw column holds, told from a sample of rows; text is judged by what all of its values could be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from amtl.data.columns import SMALLER
from amtl.sources.mapped import times

Kind = Literal["integer", "number", "boolean", "text", "integers", "texts", "time", "nothing", "other"]
WHOLE = r"^[+-]?(0|[1-9][0-9]{0,18})$"
CODE = r"^[+-]?(0[0-9]+|[0-9]{19,})$"
"""Digits that are no number: zip codes, hashes."""
COMMA = r"^[+-]?[0-9]+(,[0-9]{1,2}|,[0-9]{4,})?$"
"""A number with a decimal comma, as far as it cannot be one of thousands."""
NO_VALUE = ("\\N", "NULL", "null", "NA", "N/A", "nan", "NaN", "None", "-")


@dataclass(frozen=True)
class Column:
    """What a sample shows of a raw column.

    Attributes:
        name: of the raw column.
        kind: of its values.
        rows: of the sample.
        nulls: rows without a value.
        distinct: different values; 0 for lists.
        form: of times, where it can be told.
        null: the word that stands for no value, if one does.
        only_zero_one: whether it could be a label.
        commas: whether it is text only because of decimal commas.
    """

    name: str
    kind: Kind
    rows: int
    nulls: int
    distinct: int
    form: str | None = None
    null: str | None = None
    only_zero_one: bool = False
    commas: bool = False


def describe(sample: pl.DataFrame) -> dict[str, Column]:
    """Raw columns by name; text is judged by what all of its values could be."""
    return {series.name: _described(series) for series in sample}


def zero_one(columns: Mapping[str, Column]) -> list[str]:
    """Columns of only 0 and 1, or true and false, with both."""
    return [column.name for column in columns.values() if column.only_zero_one]


def timely(columns: Mapping[str, Column]) -> list[str]:
    """Columns of times."""
    return [column.name for column in columns.values() if column.kind == "time"]


def is_wide(dtype: pl.DataType) -> bool:
    """Whether a type has integers beyond 64 bits with a sign; those are brought in as text."""
    return dtype.is_integer() and dtype not in SMALLER


def _described(series: pl.Series) -> Column:
    values = series.drop_nulls()
    null = None
    if series.dtype == pl.String:
        values = values.filter(values != "")
        null = next((word for word in NO_VALUE if _hides_a_type(values, word)), None)
        values = values.filter(values != null) if null else values
    kind, form = _kind(values)
    missing = len(series) - len(values)
    if kind in {"integers", "texts", "other"}:
        return Column(series.name, kind, len(series), missing, 0)
    values = _canonical(values, kind)
    zero_one = kind in {"boolean", "integer", "number"} and sorted(values.unique().head(3)) in ([0, 1], ["false", "true"])
    commas = kind == "text" and values.dtype == pl.String and values.str.contains(COMMA).all() and values.str.contains(",").any()
    return Column(series.name, kind, len(series), missing, values.n_unique(), form, null, zero_one, commas)


def _canonical(values: pl.Series, kind: Kind) -> pl.Series:
    """Equal values written in one way: 1 and 1.0, true and True."""
    if kind == "boolean":
        return values.cast(pl.String).str.to_lowercase()
    return values.cast(pl.Float64) if kind == "number" else values.cast(pl.Int64) if kind == "integer" else values


def _hides_a_type(values: pl.Series, word: str) -> bool:
    """Whether a column is text only because of this word."""
    rest = values.filter(values != word)
    return 0 < len(rest) < len(values) and _kind(rest)[0] != "text" and _kind(values)[0] == "text"


def _kind(values: pl.Series) -> tuple[Kind, str | None]:
    """Kind of non-null values, and the form of times; whole numbers are times only in a column that is named like one."""
    if values.is_empty() or values.dtype == pl.Null:
        return "nothing", None
    form = times.told_form(values) if times.TIME_NAMES.search(values.name) or values.dtype in (pl.Date, pl.Datetime) else None
    if form:
        return "time", form
    kind = _kind_of_type(values.dtype)
    if kind == "integer" and values.cast(pl.Int64, strict=False).null_count():
        return "text", None
    if kind == "text":
        kind = _kind_of_text(values.cast(pl.String))
    if kind != "text":
        return kind, None
    text = values.cast(pl.String)
    pattern = times.told_pattern(text)
    return ("time", pattern) if pattern or times.possible_patterns(text) or times.unlike(text) is not None else (kind, None)


def _kind_of_type(dtype: pl.DataType) -> Kind:
    if isinstance(dtype, pl.List | pl.Array):
        inner = "text" if is_wide(dtype.inner) else _kind_of_type(dtype.inner)  # type: ignore[arg-type]
        return "integers" if inner == "integer" else "texts" if inner == "text" else "other"
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "text"
    if isinstance(dtype, pl.Boolean):
        return "boolean"
    return "integer" if dtype.is_integer() else "number" if dtype.is_numeric() else "other"


def _kind_of_text(values: pl.Series) -> Kind:
    if values.str.to_lowercase().is_in(["true", "false"]).all():
        return "boolean"
    if values.str.contains(WHOLE).all() and values.cast(pl.Int64, strict=False).null_count() == 0:
        return "integer"
    if not values.str.contains(CODE).any() and values.cast(pl.Float64, strict=False).null_count() == 0:
        return "number"
    return "text"
