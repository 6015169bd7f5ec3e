"""Files of published data sets as typed streams: every line has the official fields, or the file is refused with the line.

polars' CSV reader fills short lines up with nulls, so that a damaged file would pass for one with missing values. Here lines
are split and their fields counted, at the speed of that reader. Compressed files (.gz) are read as they are.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from amtl.errors import DataError

LINE = "line"
"""The column with a row's line number in its file, from 1."""

_ODD = "odd"
_SHOWN = 60


@dataclass(frozen=True)
class Kind:
    """What a field's text may be.

    Attributes:
        expected: for messages, e.g. "an integer".
        parse: from text to value; null where the text is no such value.
    """

    expected: str
    parse: Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class Column:
    """A field of a line; `optional`: its text may be one of the layout's words for a missing value."""

    name: str
    kind: Kind
    optional: bool = False


@dataclass(frozen=True)
class Layout:
    """The official layout of a file of lines.

    Attributes:
        title: which file of which data set, for messages.
        separator: between fields; fields are not quoted.
        columns: the fields of a line.
        header: whether line 1 holds their names.
        missing: the words for a missing value.
        latin_1: whether the file is encoded so, not UTF-8; such a file is read whole.
    """

    title: str
    separator: str
    columns: tuple[Column, ...]
    header: bool = False
    missing: tuple[str, ...] = ("",)
    latin_1: bool = False


def coded(codes: dict[str, int]) -> Kind:
    """Small integers written as fixed words."""

    def parse(text: pl.Expr) -> pl.Expr:
        # Not `replace_strict`: the streaming engine (polars 2.1) holds the whole file for it.
        return pl.coalesce(pl.when(text == word).then(pl.lit(code, pl.Int8)) for word, code in codes.items())

    return Kind(" or ".join(codes), parse)


def one_of(*words: str) -> Kind:
    """One of a few words."""
    return Kind(" or ".join(words), lambda text: pl.when(text.is_in(words)).then(text))


def integer(lowest: int, highest: int, expected: str) -> Kind:
    """An integer from `lowest` to `highest`."""

    def parse(text: pl.Expr) -> pl.Expr:
        number = text.cast(pl.Int64, strict=False)
        return pl.when(number.is_between(lowest, highest)).then(number)

    return Kind(expected, parse)


def _finite(text: pl.Expr) -> pl.Expr:
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


TEXT = Kind("a value", lambda text: pl.when(text != "").then(text))
INTEGER = Kind("an integer", lambda text: text.cast(pl.Int64, strict=False))
NUMBER = Kind("a number", _finite)
FLAG = coded({"0": 0, "1": 1})
EPOCH = integer(0, 2**32, "a time in seconds since 1970")


def columns(kind: Kind, names: Sequence[str], optional: bool = False) -> tuple[Column, ...]:
    """Fields of one kind."""
    return tuple(Column(name, kind, optional) for name in names)


def scan(path: Path, layout: Layout) -> pl.LazyFrame:
    """The lines of a file as a stream: `line` and the layout's columns, each with the type of its kind; null where missing.

    Raises:
        DataError: at once if there is no such file, it is empty, or its header is another; on collecting if a line does not
            have the layout's fields.
    """
    _check_start(path, layout)
    lines = _lines(path, layout)
    texts = [(column, pl.col("fields").struct.field(f"field_{index}")) for index, column in enumerate(layout.columns)]
    values = [_value(column, text, layout).alias(column.name) for column, text in texts]
    odd = pl.any_horizontal(_miscounted(layout), *(_is_odd(column, text, layout) for column, text in texts))
    split = lines.with_columns(fields=pl.col("text").str.split_exact(layout.separator, len(layout.columns)))
    return split.select(LINE, odd.alias(_ODD), *values).map_batches(lambda batch: _sound(batch, path, layout), streamable=True).drop(_ODD)


def table(path: Path, layout: Layout, key: str) -> pl.DataFrame:
    """The lines of a file that fits in memory, with one line a value of `key`: what `scan` gives, without the line numbers.

    Raises:
        DataError: as `scan`, or a value of `key` has several lines.
    """
    rows = collect(scan(path, layout))
    double = rows.filter(pl.col(key).is_duplicated() & ~pl.col(key).is_first_distinct())
    if len(double):
        raise refuse(path, int(double[LINE][0]), f"{key} {double[key][0]} has a line already", layout)
    return rows.drop(LINE)


def collect(frame: pl.LazyFrame) -> pl.DataFrame:
    """Collect, streaming.

    Raises:
        DataError: a file has not the official layout, is damaged, or is not encoded in UTF-8.
    """
    try:
        return frame.collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the files cannot be read ({str(error).splitlines()[0]}); download them again") from None


def find(path: Path, names: Sequence[str], title: str) -> Path:
    """The file `path`, or the one of these names that lies in the folder `path`.

    Raises:
        DataError: neither is there.
    """
    candidates = [path / name for name in names] if path.is_dir() else [path]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise DataError(f"{path} {'holds no ' + ' or '.join(names) if path.is_dir() else 'does not exist'}; give {title}")
    return found


def refuse(path: Path, line: int, problem: str, layout: Layout) -> DataError:
    """The error for a line that does not have the official layout."""
    return DataError(f"{path} line {line:,}: {problem}; this is not {layout.title}: download it again")


def _check_start(path: Path, layout: Layout) -> None:
    first = _line_of(path, 1, layout)
    if not first:
        raise DataError(
            f"{path} {'is empty' if first is None else 'starts with an empty line'}; it should be {layout.title}: download it again"
        )
    names = [name.strip() for name in first.split(layout.separator)]
    expected = [column.name for column in layout.columns]
    if layout.header and names != expected:
        lacking = [name for name in expected if name not in names]
        strange = [name for name in names if name not in expected]
        said = (
            f"lacks {', '.join(lacking)}" if lacking else f"has {', '.join(strange)} too" if strange else "has the columns in another order"
        )
        raise refuse(path, 1, f"the header {said[:200]}", layout)


def _lines(path: Path, layout: Layout) -> pl.LazyFrame:
    """Columns `line` and `text`, without the header."""
    source: Path | bytes = path.read_bytes().decode("latin-1").encode() if layout.latin_1 else path
    lines = pl.scan_lines(source, name="text", row_index_name=LINE, row_index_offset=1, glob=False)
    return lines.filter(pl.col(LINE) > 1) if layout.header else lines


def _miscounted(layout: Layout) -> pl.Expr:
    return pl.col("text").str.count_matches(layout.separator, literal=True) != len(layout.columns) - 1


def _value(column: Column, text: pl.Expr, layout: Layout) -> pl.Expr:
    value = column.kind.parse(text)
    return pl.when(~text.is_in(layout.missing)).then(value) if column.optional else value


def _is_odd(column: Column, text: pl.Expr, layout: Layout) -> pl.Expr:
    no_value = column.kind.parse(text).is_null()
    return no_value & ~text.is_in(layout.missing) if column.optional else no_value


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
        return refuse(path, line, f"it has {len(fields)} fields, not {len(layout.columns)}", layout)
    for column, field in zip(layout.columns, fields, strict=True):
        row = pl.DataFrame({"text": [field]}, schema={"text": pl.String})
        if row.select(_is_odd(column, pl.col("text"), layout)).item():
            return refuse(path, line, f"{column.name} is {field[:_SHOWN]!r}, not {column.kind.expected}", layout)
    return refuse(path, line, "it cannot be read", layout)


def _line_of(path: Path, number: int, layout: Layout) -> str | None:
    """A line by its number, without its end; None if the file has fewer lines."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="latin-1" if layout.latin_1 else "utf-8", errors="replace", newline="\n") as file:
            line = next(islice(file, number - 1, number), None)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}); give {layout.title}, whole") from None
    return None if line is None else line.rstrip("\r\n")
