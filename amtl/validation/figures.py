"""The one pass over a partition's rows: counts, extremes, and samples of values, in memory that does not grow with rows.

Polars streams what each row adds to the figures; the pieces are added up here, since a sample of values (`amtl.validation.values`)
grows piece by piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from amtl.data.columns import LISTS, TEXTS, Column, columns, value
from amtl.data.events import WRITE_AGAIN, Partition, chunks
from amtl.data.soundness import LOST, SECOND, any_matches, midnight, offences, sound, typed
from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.validation import values

CHUNK = 2**18
READ = "(read)"
HASHED_ROWS = 2**18
"""About how many rows' hashes are looked at to see how many rows repeat an earlier one."""
MULTIPLIER = 0x9E3779B97F4A7C15
MOJIBAKE = r"[\x{C2}\x{C3}][\x{80}-\x{BF}]|\x{E2}\x{20AC}"
"""UTF-8 that was read as Latin-1 or Windows-1252: what becomes of accented letters, and of typographic quotes and dashes."""

Types = Mapping[Path, Mapping[str, pl.DataType]]


@dataclass
class Figures:
    """What a pass found.

    Attributes:
        rows: of the partition.
        counts: rows of which something holds, by (column, what): "nulls", "nan", "ones", "mojibake", or a kind of offence;
            ("", "quarantined"): rows that are not sound.
        lowest: least finite value, by column; None if there is none.
        highest: greatest finite value, by column.
        samples: of the values of id columns, as `amtl.validation.values` makes them.
        occurrences: of all values, by id column.
        duplicate_share: of rows that repeat an earlier one in every declared column. Of a large partition a sample is looked at
            that goes by the row's hash, so that repeats fall into it together. None without rows.
    """

    rows: int
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    lowest: dict[str, float | None] = field(default_factory=dict)
    highest: dict[str, float | None] = field(default_factory=dict)
    samples: dict[str, pl.DataFrame] = field(default_factory=dict)
    occurrences: dict[str, int] = field(default_factory=dict)
    duplicate_share: float | None = None


@dataclass(frozen=True)
class _PerRow:
    """What each row says of a column: Boolean (to be counted), Float64 (lowest and highest), hash or list of hashes (sampled)."""

    column: str
    what: str
    expression: pl.Expr


def figures(part: Partition, types: Types, rows: int, events: EventsParams, further: Sequence[Column] = ()) -> Figures:
    """Read a partition once.

    Args:
        part: the partition.
        types: column types of each file; a column that does not fit its role counts as null.
        rows: of all files.
        events: the declared schema.
        further: undeclared id columns whose values are sampled as well.

    Raises:
        DataError: a file cannot be read, or not to its end.
    """
    asked = [*_totals(events), *(told for column in columns(events) for told in _per_row(column, events, part.day))]
    asked += [_PerRow(column.name, "hash", _hash(column)) for column in further]
    frame = pl.concat([_answers(file, types[file], events, part.day, asked, further) for file in part.files])
    sums, repeats = [], []
    found = Figures(rows, samples={told.column: values.empty() for told in asked if told.what == "hash"})
    every = max(-(-rows // HASHED_ROWS), 1)
    for piece in chunks(frame, CHUNK, part):
        sums.append(_sums(piece))
        _grow(found, piece, asked)
        repeats.append(piece["row"].filter(piece["row"] % every == 0))
    totals = pl.concat(sums) if sums else None
    _refuse_lost_rows(part, 0 if totals is None else int(totals[READ].sum()), rows)
    _settle(found, totals, asked)
    hashes = pl.concat(repeats) if repeats else pl.Series(dtype=pl.UInt64)
    found.duplicate_share = 1 - hashes.n_unique() / len(hashes) if len(hashes) else None
    return found


def _refuse_lost_rows(part: Partition, read: int, rows: int) -> None:
    """Raise if rows are missing: where polars gives up on a damaged file, it ends the stream of pieces without an error."""
    if read != rows:
        raise DataError(f"{part.path} cannot be read to its end ({read:,} of {rows:,} rows); {WRITE_AGAIN}")


def _answers(
    file: Path, types: Mapping[str, pl.DataType], events: EventsParams, day: str, asked: Sequence[_PerRow], further: Sequence[Column]
) -> pl.LazyFrame:
    """What is asked of each row of a file, by its position, and the row's hash."""
    raw = pl.scan_parquet(file, glob=False, hive_partitioning=False)
    others = [value(column, types.get(column.name)).alias(column.name) for column in further]
    answers = [told.expression.alias(str(position)) for position, told in enumerate(asked)]
    return typed(raw, events, types, day).with_columns(others).select(*answers, _row_hash(events).alias("row"))


def _totals(events: EventsParams) -> list[_PerRow]:
    return [_PerRow("", "quarantined", ~sound(events))]


def _per_row(column: Column, events: EventsParams, day: str) -> list[_PerRow]:
    """What is asked about a column; what makes no sense for its role is left out."""
    plain, name = pl.col(column.name), column.name
    told = [_PerRow(name, "nulls", _missing(column))]
    told += [_PerRow(name, one.kind, one.found) for one in offences(events) if one.column == name and one.kind != "nulls"]
    if column.role in {"number", "label"}:
        told.append(_PerRow(name, "extent", pl.when(plain.is_finite()).then(plain)))
    if column.role == "number":
        told.append(_PerRow(name, "nan", plain.is_nan().fill_null(False)))
    if column.role == "label":
        told.append(_PerRow(name, "ones", (plain == 1).fill_null(False)))
    if column.role == "time":
        told.append(_PerRow(name, "extent", pl.col(SECOND) + midnight(day)))
    if column.role == "integer":
        told.append(_PerRow(name, "extent", plain.cast(pl.Float64)))
    if column.role in TEXTS:
        told.append(_PerRow(name, "mojibake", any_matches(column, MOJIBAKE)))
    if column.role in {*TEXTS, *LISTS, "integer"}:
        told.append(_PerRow(name, "hash", _hash(column)))
    return told


def _missing(column: Column) -> pl.Expr:
    """Whether there is no value; one that exceeds 64 bits is there."""
    plain = pl.col(column.name)
    if column.role in {"number", "label"}:
        return plain.is_null() | plain.is_nan().fill_null(False)
    missing = plain.is_null() | (plain.list.drop_nulls().list.len() == 0) if column.role in LISTS else plain.is_null()
    return missing & ~pl.col(LOST.format(column.name)) if column.role in {"integer", "integers"} else missing


def _hash(column: Column) -> pl.Expr:
    """The hash of each value, null where there is none."""
    plain = pl.col(column.name)
    if column.role in LISTS:
        return plain.list.drop_nulls().list.eval(pl.element().hash())
    return pl.when(plain.is_not_null()).then(plain.hash())


def _row_hash(events: EventsParams) -> pl.Expr:
    """One hash of all declared columns."""
    mixed = pl.lit(0, pl.UInt64)
    for column in columns(events):
        hashed = pl.col(SECOND if column.role == "time" else column.name).hash()
        mixed = (mixed * pl.lit(MULTIPLIER, pl.UInt64)) ^ hashed
    return mixed


def _sums(piece: pl.DataFrame) -> pl.DataFrame:
    """Rows, counts and extremes of a piece, in one row."""
    floats = pl.col(pl.Float64)
    return piece.select(
        pl.len().cast(pl.Int64).alias(READ),
        pl.col(pl.Boolean).sum(),
        floats.min().name.suffix("/lowest"),
        floats.max().name.suffix("/highest"),
    )


def _grow(found: Figures, piece: pl.DataFrame, asked: Sequence[_PerRow]) -> None:
    for position, told in enumerate(asked):
        if told.what == "hash":
            hashes = piece[str(position)]
            if hashes.dtype == pl.List:
                hashes = hashes.explode(empty_as_null=True, keep_nulls=True)
            found.occurrences[told.column] = found.occurrences.get(told.column, 0) + hashes.count()
            found.samples[told.column] = values.grown(found.samples[told.column], hashes)


def _settle(found: Figures, sums: pl.DataFrame | None, asked: Sequence[_PerRow]) -> None:
    """Add the pieces' counts and extremes up."""
    for position, told in enumerate(asked):
        if told.what == "extent":
            found.lowest[told.column] = None if sums is None else sums[f"{position}/lowest"].min()  # type: ignore[assignment]
            found.highest[told.column] = None if sums is None else sums[f"{position}/highest"].max()  # type: ignore[assignment]
        elif told.what != "hash":
            found.counts[told.column, told.what] = 0 if sums is None else int(sums[str(position)].sum())
