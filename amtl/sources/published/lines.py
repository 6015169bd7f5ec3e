"""Published files of lines as typed streams: every line has the official fields, or the file is refused with the line.

polars' CSV reader fills short lines up with nulls, so that a damaged file would pass for one with missing values. Here lines
are split and their fields counted, at the speed of that reader. Compressed files (gzip) are read as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from amtl.errors import DataError
from amtl.sources import textfile
from amtl.sources.published.layout import Layout, is_odd, value
from amtl.sources.source import DAY, Source, declared

LINE = "line"
"""The column with a row's line number in its file, from 1."""

_ODD = "odd"
_SHOWN = 60


def scan(path: Path, layout: Layout) -> pl.LazyFrame:
    """The lines of a file as a stream: `line` and the layout's columns, each with the type of its kind; null where missing.

    Raises:
        DataError: at once if there is no such file, it is empty, or its header is another; on collecting if a line does not
            have the layout's fields.
    """
    _check_start(path, layout)
    texts = [(column, pl.col("fields").struct.field(f"field_{index}")) for index, column in enumerate(layout.columns)]
    values = [value(column, text, layout).alias(column.name) for column, text in texts]
    miscounted = pl.col("text").str.count_matches(layout.separator, literal=True) != len(layout.columns) - 1
    odd = pl.any_horizontal(miscounted, *(is_odd(column, text, layout) for column, text in texts))
    split = _lines(path, layout).with_columns(fields=pl.col("text").str.split_exact(layout.separator, len(layout.columns)))
    return split.select(LINE, odd.alias(_ODD), *values).map_batches(lambda batch: _sound(batch, path, layout), streamable=True).drop(_ODD)


def table(path: Path, layout: Layout, key: str) -> pl.DataFrame:
    """The lines of a file that fits in memory, with one line a value of `key`: what `scan` gives, without the line numbers.

    Raises:
        DataError: as `scan`, or a value of `key` has several lines.
    """
    rows = collect(scan(path, layout), path)
    double = rows.filter(~pl.col(key).is_first_distinct())
    if len(double):
        raise _refusal(path, int(double[LINE][0]), f"{key} {double[key][0]} has a line already", layout)
    return rows.drop(LINE)


def collect(frame: pl.LazyFrame, *files: Path) -> pl.DataFrame:
    """Collect what is scanned from files, streaming.

    Raises:
        DataError: a file does not have the official layout, ends early, or is not encoded in UTF-8.
    """
    try:
        return frame.collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(_fault(files) or f"{files[0]} cannot be read ({str(error).splitlines()[0]}); download it again") from None


def source(section: dict[str, Any], events: pl.LazyFrame, files: Sequence[Path], rows: int | None, notes: Sequence[str] = ()) -> Source:
    """Events that are scanned from files, with the columns that `section` declares and `day`."""
    return Source(section, events.select(*declared(section), DAY), tuple(files), tuple(notes), rows=rows, fault=lambda: _fault(files))


def count(files: Sequence[Path], layout: Layout) -> int | None:
    """Rows in files; None where one is compressed, since they would have to be read twice."""
    if any(textfile.is_compressed(path) for path in files):
        return None
    lines = pl.concat(pl.scan_lines(path, glob=False).select(pl.len()) for path in files)
    return int(collect(lines, *files)["len"].sum()) - len(files) * layout.header


def find(path: Path, names: Sequence[str], what: str) -> Path:
    """The file `path`, or the first of these names that lies in the folder `path`.

    Args:
        path: a file or folder.
        names: of the files looked for.
        what: is needed, for the message.

    Raises:
        DataError: there is none.
    """
    found = next((file for file in ([path / name for name in names] if path.is_dir() else [path]) if file.is_file()), None)
    if found is None:
        problem = f"holds no {' or '.join(names)}" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {problem}; give {what}")
    return found


def _refusal(path: Path, line: int, problem: str, layout: Layout) -> DataError:
    return DataError(f"{path} line {line:,}: {problem}; this is not {layout.title}: download it again")


def _check_start(path: Path, layout: Layout) -> None:
    first = _line_of(path, 1, layout)
    if not first:
        state = "is empty" if first is None else "starts with an empty line"
        raise DataError(f"{path} {state}; it should be {layout.title}: download it again")
    names = [name.strip() for name in first.split(layout.separator)]
    expected = [column.name for column in layout.columns]
    if layout.header and names != expected:
        raise _refusal(path, 1, f"the header {_difference(names, expected)[:200]}", layout)


def _difference(names: list[str], expected: list[str]) -> str:
    lacking = [name for name in expected if name not in names]
    strange = [name for name in names if name not in expected]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    return f"has {', '.join(strange)} too" if strange else "has the columns in another order"


def _lines(path: Path, layout: Layout) -> pl.LazyFrame:
    """Columns `line` and `text`, without the header."""
    content: Path | bytes = path.read_bytes().decode("latin-1").encode() if layout.latin_1 else path
    lines = pl.scan_lines(content, name="text", row_index_name=LINE, row_index_offset=1, glob=False)
    return lines.filter(pl.col(LINE) > 1) if layout.header else lines


def _sound(batch: pl.DataFrame, path: Path, layout: Layout) -> pl.DataFrame:
    """The batch as it is, unless a line is odd."""
    odd = batch.filter(pl.col(_ODD))
    if len(odd):
        raise _complaint(path, int(odd[LINE][0]), layout)
    return batch


def _complaint(path: Path, line: int, layout: Layout) -> DataError:
    """The error for an odd line: what is wrong with it."""
    fields = (_line_of(path, line, layout) or "").split(layout.separator)
    if len(fields) != len(layout.columns):
        return _refusal(path, line, f"it has {len(fields)} fields, not {len(layout.columns)}", layout)
    row = pl.DataFrame([fields], schema=[column.name for column in layout.columns], orient="row")
    odd = row.select(is_odd(column, pl.col(column.name), layout).alias(column.name) for column in layout.columns).row(0)
    column, field = next((column, field) for column, field, is_one in zip(layout.columns, fields, odd, strict=True) if is_one)
    return _refusal(path, line, f"{column.name} is {field[:_SHOWN]!r}, not {column.kind.expected}", layout)


def _line_of(path: Path, number: int, layout: Layout) -> str | None:
    """A line by its number, without its end; None if the file has fewer lines."""
    try:
        with textfile.opened(path) as file:
            line = next(islice(file, number - 1, number), None)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); give {layout.title}") from None
    return None if line is None else line.rstrip(b"\r\n").decode("latin-1" if layout.latin_1 else "utf-8", errors="replace")


def _fault(files: Sequence[Path]) -> str | None:
    """What keeps files from being read as text, and what to do; None if nothing does."""
    found = next((fault for fault in map(textfile.fault, files) if fault), None)
    return f"{found}; download the file again" if found else None
