"""A user's own files as polars reads them: which files, of what format, with which columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from amtl.errors import DataError
from amtl.sources import textfile

SUFFIXES: dict[str, Literal["csv", "parquet", "ndjson"]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
}
DELIMITERS = (",", "\t", ";", "|", " ")
SNIFFED_LINES = 50
SNIFFED_BYTES = 2**20
SAMPLED_ROWS = 20_000
FORMATS = "CSV or TSV (also .gz), Parquet, NDJSON"


class Layout(BaseModel):
    """How a text table is written: what stands between two values, and whether the first line names the columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delimiter: str
    header: bool = True


@dataclass(frozen=True)
class Table:
    """Files of one format that together hold the rows of one table.

    Attributes:
        paths: the files, in the order of their rows.
        format: csv (any delimiter), parquet or ndjson.
        layout: of CSV; None for the other formats.
    """

    paths: tuple[Path, ...]
    format: Literal["csv", "parquet", "ndjson"]
    layout: Layout | None = None


def find(patterns: Sequence[str]) -> tuple[Path, ...]:
    """The files that the patterns name: a file, a folder (all tables in it) or a glob; sorted within each pattern.

    Raises:
        DataError: a pattern names nothing, or files of an unknown format.
    """
    found = [path for pattern in patterns for path in _matches(pattern)]
    if not found:
        raise DataError(f"{', '.join(patterns)} holds no table; amtl reads {FORMATS}")
    return tuple(dict.fromkeys(path.resolve() for path in found))


def open_table(paths: Sequence[Path], delimiter: str | None = None, header: bool | None = None) -> Table:
    """Files as one table; of text tables what is not given is told from the first lines.

    Raises:
        DataError: formats are mixed; a file is empty or cannot be read; the delimiter cannot be told.
    """
    formats = {path: _format(path) for path in paths}
    if len(set(formats.values())) > 1:
        raise DataError(f"{paths[0]} and {_odd_one(formats)} are of different formats; bring one format in at a time")
    kind = formats[paths[0]]
    table = Table(tuple(paths), kind, _sniffed(paths[0], delimiter, header) if kind == "csv" else None)
    _refuse_other_delimiter(table)
    return table


def _refuse_other_delimiter(table: Table) -> None:
    if table.layout is None:
        return
    mark = table.layout.delimiter
    single = [path for path in table.paths if len(next(records(path, mark), [])) == 1]
    if single and single != list(table.paths):
        raise DataError(
            f"{single[0]} line 1 has no {mark!r}, which other files have between two values; bring files of one layout in at a time"
        )


def columns(path: Path, table: Table) -> list[str]:
    """Names of the columns of one file.

    Raises:
        DataError: the file is empty, cannot be read, or names a column twice or not at all.
    """
    if table.layout is None:
        return _schema(path, table).names()
    first = next(records(path, table.layout.delimiter), [])
    if not first:
        raise DataError(f"{path} is empty; deliver it again")
    if not table.layout.header:
        return [f"column_{number}" for number in range(1, len(first) + 1)]
    odd = [name for number, name in enumerate(first) if not name or name in first[:number]]
    if odd:
        wrong = f"names the column {odd[0]!r} twice" if odd[0] else "has a column without a name"
        raise DataError(f"{path} line 1 {wrong}; mend the first line, or add --no-header if it is no header")
    return first


def types(path: Path, table: Table) -> dict[str, pl.DataType]:
    """Column types of a Parquet or NDJSON file (of NDJSON by its first lines); empty for a text table.

    Raises:
        DataError: the file cannot be read.
    """
    return {} if table.layout is not None else dict(_schema(path, table))


def read(path: Path, table: Table, types: Mapping[str, pl.DataType], nulls: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """The columns that `types` names, streamable; a missing one is null.

    Args:
        path: one of the table's files.
        table: says how to read it.
        types: column to the type as which text tables and NDJSON are read; Parquet keeps its own.
        nulls: column to a word that stands for no value in a text table; an empty value always does.
    """
    present = columns(path, table)
    if table.layout is not None:
        frame = _scan_text(path, table.layout, {name: types.get(name, pl.String()) for name in present}, nulls or {})
    elif table.format == "ndjson":  # a key may come after the first lines, by which `columns` judges
        return pl.scan_ndjson(path, schema=dict(types))
    else:
        frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    return frame.select(pl.col(name) if name in present else pl.lit(None, types[name]).alias(name) for name in types)


def sample(table: Table, rows: int = SAMPLED_ROWS) -> pl.DataFrame:
    """The first rows of the first and of the last file; columns of a text table as text.

    Raises:
        DataError: a file cannot be read; there are no rows.
    """
    ends = [table.paths[0], *table.paths[1:][-1:]]
    found = pl.concat([_head(path, table, rows // len(ends)) for path in ends], how="diagonal_relaxed")
    if found.is_empty():
        raise DataError(f"{' and '.join(map(str, ends))}: no rows below the names of the columns; deliver it again, or leave it out")
    return found


def _matches(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and file.name[0] not in "._" and _suffix(file) in SUFFIXES)
    if path.exists():
        return [path]
    matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not matches:
        raise DataError(f"{pattern} does not exist; give a file, a folder or a glob of {FORMATS}")
    return matches


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _format(path: Path) -> Literal["csv", "parquet", "ndjson"]:
    """By the name's ending; where that says nothing, by the first bytes."""
    try:
        with textfile.opened(path) as file:
            head = file.readline(SNIFFED_BYTES)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}); deliver it again") from None
    if not head:
        raise DataError(f"{path} is empty; deliver it again")
    if head.startswith(b"PAR1"):
        return "parquet"
    if b"\0" in head:
        raise DataError(f"{path} is no table that amtl can read: {FORMATS}")
    if head.lstrip().startswith(b"["):
        raise DataError(f"{path} is one JSON list; amtl reads NDJSON, an object a line: convert it, e.g. with jq -c '.[]'")
    return SUFFIXES.get(_suffix(path)) or ("ndjson" if head.lstrip().startswith(b"{") else "csv")


def _odd_one(formats: Mapping[Path, str]) -> Path:
    first = next(iter(formats.values()))
    return next(path for path, kind in formats.items() if kind != first)


def _schema(path: Path, table: Table) -> pl.Schema:
    try:
        if table.format == "ndjson":
            return pl.scan_ndjson(path, infer_schema_length=SAMPLED_ROWS).collect_schema()
        return pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(complaint(path, table.format, error)) from None


def _scan_text(path: Path, layout: Layout, schema: dict[str, pl.DataType], nulls: Mapping[str, str]) -> pl.LazyFrame:
    words = {name: word for name, word in nulls.items() if name in schema}
    frame = pl.scan_csv(path, has_header=layout.header, separator=layout.delimiter, schema=schema, null_values=words or None, glob=False)
    return frame.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)))


def _head(path: Path, table: Table, rows: int) -> pl.DataFrame:
    try:
        if table.layout is not None:
            return read(path, table, dict.fromkeys(columns(path, table), pl.String())).head(rows).collect(engine="streaming")
        if table.format == "ndjson":
            return pl.scan_ndjson(path, infer_schema_length=rows, n_rows=rows).collect()
        return pl.scan_parquet(path, glob=False, hive_partitioning=False).head(rows).collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(complaint(path, table.format, error)) from None


def _sniffed(path: Path, delimiter: str | None, header: bool | None) -> Layout:
    if delimiter is None:
        delimiter = "\t" if _suffix(path) == ".tsv" else _told_delimiter(path)
    return Layout(delimiter=delimiter, header=_has_header(path, delimiter) if header is None else header)


def _told_delimiter(path: Path) -> str:
    """The delimiter that cuts the first lines into the same number of values, the most of them."""
    widths = {}
    for delimiter in DELIMITERS:
        lengths = {len(record) for record in islice(records(path, delimiter), SNIFFED_LINES) if record}
        if len(lengths) == 1 and lengths != {1}:
            widths[delimiter] = lengths.pop()
    if not widths:
        raise DataError(f"{path}: what stands between two values cannot be told from the first lines; give --delimiter ','")
    return max(widths, key=lambda one: widths[one])


def _has_header(path: Path, delimiter: str) -> bool:
    """Whether the first line names columns: different words, none of which is a number."""
    first = next(records(path, delimiter), [])
    return len(set(first)) == len(first) and not any(_is_number(word) for word in first)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def records(path: Path, delimiter: str) -> Iterator[list[str]]:
    """Values line by line; for the first lines only, in pure Python."""
    try:
        with textfile.opened(path) as file:
            yield from csv.reader((line.decode("utf-8-sig") for line in file), delimiter=delimiter)
    except (UnicodeDecodeError, OSError, EOFError, csv.Error) as error:
        raise DataError(complaint(path, "csv", error)) from None


def complaint(path: Path, kind: str, error: Exception) -> str:
    """Why a file cannot be read: the line that is at fault, where it can be found, and what to do. Slow."""
    broken = None if kind == "parquet" else textfile.fault(path)
    if broken and "UTF-8" in broken:
        return f"{broken}; convert the file first, e.g. iconv -f latin1 -t utf-8 {path.name} > utf8-{path.name}"
    if broken:
        return f"{broken}; deliver it again"
    return (_not_json(path) if kind == "ndjson" else None) or f"{path} cannot be read as {kind} ({_first_line(error)}); deliver it again"


def _not_json(path: Path) -> str | None:
    """Names the first line that is no JSON object; None if all are."""
    with textfile.opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                if line.strip() and not isinstance(json.loads(line), dict):
                    return f"{path} line {number} is no JSON object; one event a line is an object in braces"
            except ValueError as error:
                return f"{path} line {number} is no JSON ({error}); mend or remove the line"
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
