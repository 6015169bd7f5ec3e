"""Where a table is at fault: the first value that does not fit, by file and line. Slow, and asked only after a failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from amtl.sources.mapped import tables
from amtl.sources.mapped.conversions import Conversion
from amtl.sources.mapped.tables import Table
from amtl.sources.source import DAY


def first(table: Table, made: Sequence[Sequence[Conversion]], nulls: dict[str, str]) -> str | None:
    """The first fault of a table, in words; None if none is found.

    Args:
        table: the files.
        made: the conversions of each file.
        nulls: column to the word that stands for no value.
    """
    faults = (_of_file(path, table, conversions, nulls) for path, conversions in zip(table.paths, made, strict=True))
    return next((fault for fault in faults if fault), None)


def _of_file(path: Path, table: Table, made: Sequence[Conversion], nulls: dict[str, str]) -> str | None:
    try:
        return _bad_value(path, table, made, nulls)
    except (OSError, pl.exceptions.PolarsError) as error:
        return tables.complaint(path, table.format, error)


def _bad_value(path: Path, table: Table, made: Sequence[Conversion], nulls: dict[str, str]) -> str | None:
    """The first row with a value that a conversion cannot read, or without a day."""
    text = {one.column: pl.List(pl.String()) if isinstance(one.type, pl.List) else pl.String() for one in made}
    raw = tables.read(path, table, text, nulls).with_row_index("row")
    spoilt = {one: pl.col(one.column).is_not_null() & one.expression(strict=False).is_null() for one in made}
    spoilt |= {one: one.expression(strict=False).is_null() for one in made if one.name == DAY}
    found = raw.filter(pl.any_horizontal(spoilt.values())).head(1).collect(engine="streaming")
    if not len(found):
        return None
    culprit = next(one for one, expression in spoilt.items() if found.select(expression.alias("spoilt")).item())
    value = found[culprit.column][0]
    number = found["row"][0] + 1
    place = f"line {number + (table.layout is None or table.layout.header)}" if table.format == "csv" else f"row {number}"
    if value is None:
        return f"{path} {place} has no {culprit.column}, which says the day of a row; fill it in, or remove the row"
    return f"{path} {place}: {culprit.column} is {value!r}, which {_wanted(culprit)}"


def _wanted(culprit: Conversion) -> str:
    if isinstance(culprit.type, pl.Int64):
        return f"is no whole number of 64 bits; mend the line, or bring the column in as text with --field {culprit.column}:string"
    if isinstance(culprit.type, pl.Float64):
        return "is no number; mend the line"
    return "is not written like the values before it; mend the line, or say how it is written (--time-format, --label, --separator)"
