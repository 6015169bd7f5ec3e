"""Whether the lines of a text table are whole: polars fills short lines up with nulls, so that a damaged file would pass for a thin one."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl

from amtl.errors import DataError
from amtl.sources import textfile
from amtl.sources.mapped.tables import Layout, Table, columns, complaint


def checked_rows(table: Table) -> int:
    """Check that every line of a text table has as many values as the first, and count the rows of the table.

    Raises:
        DataError: a line has more or fewer values, or is no UTF-8: file, line number.
    """
    return sum(_whole_file(path, table) for path in table.paths)


def _whole_file(path: Path, table: Table) -> int:
    if table.format == "parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False).select(pl.len()).collect().item()
    if table.layout is None:
        return pl.scan_lines(path, name="line").select(pl.len()).collect(engine="streaming").item()
    return _whole_text(path, table.layout, len(columns(path, table)))


def _whole_text(path: Path, layout: Layout, width: int) -> int:
    """Rows of a text table whose lines are whole; line by line in polars, or by records where a value spans several lines."""
    line = pl.col("line")
    quotes = line.str.count_matches('"', literal=True)
    bare = line.str.replace_all('"[^"]*"', "")
    lines = pl.scan_lines(path, name="line", row_index_name="number", row_index_offset=1)
    plain_odd = (quotes == 0) & (_cuts(line, layout) != width - 1)
    try:
        figures = (
            lines.select(rows=pl.len(), odd=plain_odd.any(), quoted=(quotes > 0).any(), spanning=(quotes % 2 == 1).any())
            .collect(engine="streaming")
            .row(0, named=True)
        )
        if figures["spanning"]:
            return _whole_records(path, layout, width)
        if figures["odd"]:
            _refuse_odd_line(path, lines.filter(plain_odd), line, layout, width)
        if figures["quoted"]:
            _refuse_odd_line(path, lines.filter((quotes > 0) & (_cuts(bare, layout) != width - 1)), bare, layout, width)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(complaint(path, "csv", error)) from None
    return int(figures["rows"]) - layout.header


def _whole_records(path: Path, layout: Layout, width: int) -> int:
    """`_whole_text` by Python's csv module: exact for values of several lines, and slow."""
    rows, first_line = 0, 1
    with textfile.opened(path) as file:
        records = csv.reader((line.decode("utf-8-sig") for line in file), delimiter=layout.delimiter)
        try:
            for record in records:
                if len(record) != width:
                    raise _odd_line(path, first_line, len(record), layout, width)
                rows, first_line = rows + 1, records.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path} line {first_line}: a quote is opened and not closed ({error}); mend the line") from None
    return rows - layout.header


def _cuts(line: pl.Expr, layout: Layout) -> pl.Expr:
    return line.str.count_matches(layout.delimiter, literal=True)


def _refuse_odd_line(path: Path, odd: pl.LazyFrame, bare: pl.Expr, layout: Layout, width: int) -> None:
    """Raise for the first odd line, if there is one; a blank one is odd, since polars would make a row of nulls of it."""
    found = odd.select("number", values=_cuts(bare, layout) + 1, blank=bare.str.strip_chars() == "").head(1).collect(engine="streaming")
    if len(found):
        number, values, blank = found.row(0)
        raise _odd_line(path, number, 0 if blank else values, layout, width)


def _odd_line(path: Path, number: int, values: int, layout: Layout, width: int) -> DataError:
    has = f"has {values} value{'s' if values > 1 else ''}, not {width}" if values else "is blank"
    mend = f"mend or remove the line (a value that holds {layout.delimiter!r} needs quotes round it)"
    return DataError(f"{path} line {number} {has}; {mend}")
