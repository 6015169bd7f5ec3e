"""Days of events, and ways to damage them: what the table of bad days (tests/bad_days.py) is made of.

A damage writes a spoilt day, given its folder and the rows of a good one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import days
import polars as pl

ROWS = 400
NUMBER = pl.int_range(pl.len())
"""The number of a row."""

Damage = Callable[[Path, pl.DataFrame], None]


def day_of(number: int) -> date:
    """The date of a day, 0 for the first."""
    return date(2026, 1, 1) + timedelta(days=number)


def good(day: int) -> pl.DataFrame:
    """Rows that nothing can be said against."""
    part = pl.when(NUMBER % 10 == 0).then(pl.lit("test")).when(NUMBER % 10 == 1).then(pl.lit("validation")).otherwise(pl.lit("train"))
    return days.frame(ROWS, day).with_columns(
        item=pl.format("item {}", NUMBER % 12),
        tags=pl.concat_list(pl.format("tag {}", NUMBER % 5)),
        price=(NUMBER % 90).cast(pl.Float64) + 0.5,
        click=NUMBER % 2,
        codes=pl.concat_list(NUMBER % 7),
        part=part,
    )


def frame(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Damage:
    """One file of changed rows."""
    return files(lambda rows: [change(rows)])


def files(cut: Callable[[pl.DataFrame], list[pl.DataFrame]]) -> Damage:
    """Several files of changed rows."""

    def damage(folder: Path, rows: pl.DataFrame) -> None:
        for number, part in enumerate(cut(rows)):
            part.write_parquet(folder / f"{number:03d}.parquet")

    return damage


def columns(**changed: pl.Expr) -> Damage:
    """Columns of other values."""
    return frame(lambda rows: rows.with_columns(**changed))


def first(number: int, **values: object) -> Damage:
    """Another value of each column named, in the first rows."""
    return columns(**{name: pl.when(number > NUMBER).then(pl.lit(value)).otherwise(name) for name, value in values.items()})


def cast(**types: pl.DataType | type[pl.DataType]) -> Damage:
    """Columns of other types."""
    return frame(lambda rows: rows.cast(types))


def content(change: Callable[[bytes], bytes]) -> Damage:
    """A file of other bytes."""

    def damage(folder: Path, rows: pl.DataFrame) -> None:
        path = folder / "events.parquet"
        rows.write_parquet(path, compression="zstd")
        path.write_bytes(change(path.read_bytes()))

    return damage


def second_half(**changed: pl.Expr) -> Damage:
    """Two files, the second with changed columns."""
    return files(lambda rows: [rows[: ROWS // 2], rows[ROWS // 2 :].with_columns(**changed)])


def page_overwritten(whole: bytes) -> bytes:
    """Bytes of the first column's data replaced; the footer is as it was."""
    return whole[:40] + bytes(40) + whole[80:]


def undeclared_page_overwritten(folder: Path, rows: pl.DataFrame) -> None:
    """A damaged column that is read for a row of the quarantine only."""
    path = folder / "events.parquet"
    spoilt = rows.with_columns(click=pl.when(NUMBER < 2).then(2).otherwise("click"))
    spoilt.select(pl.lit("x").alias("colour").repeat_by(5), pl.all()).write_parquet(path, compression="zstd", statistics=False)
    path.write_bytes(page_overwritten(path.read_bytes()))


def names_like_ours(folder: Path, rows: pl.DataFrame) -> None:
    """Undeclared columns by names that reports, quarantine and Parquet readers use, and two labels of 2, so that rows are quarantined."""
    names = ["file", "row", "row (raw)", "reason", "date", "", "(row)", "(day)", "(second)", "(lost) user"]
    first(2, click=2)(folder, rows.with_columns(NUMBER.alias(name) for name in names))


def types_apart(folder: Path, rows: pl.DataFrame) -> None:
    """An undeclared column of bytes in one file, of large integers in another."""
    spoilt = rows.with_columns(click=pl.when(NUMBER < 2).then(2).otherwise("click"))
    spoilt[:200].with_columns(colour=pl.lit(b"\xff")).write_parquet(folder / "a.parquet")
    spoilt[200:].with_columns(colour=pl.lit([2**70], pl.List(pl.Int128))).write_parquet(folder / "b.parquet")


def invalid_utf8(folder: Path, rows: pl.DataFrame) -> None:
    """Latin-1 bytes in a column that says it is text."""
    import pyarrow
    import pyarrow.parquet

    table = rows.to_arrow()
    words = pyarrow.array([b"caf\xe9"] * len(rows), pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(table.set_column(table.column_names.index("item"), "item", words), folder / "events.parquet")


def no_row_groups(folder: Path, rows: pl.DataFrame) -> None:
    import pyarrow.parquet

    pyarrow.parquet.ParquetWriter(folder / "events.parquet", rows.to_arrow().schema).close()


def hidden_beside(folder: Path, rows: pl.DataFrame) -> None:
    rows.write_parquet(folder / "events.parquet")
    (folder / "._events.parquet").write_bytes(b"written by a file manager")
    (folder / "_SUCCESS").touch()


def in_zone(zone: str | None) -> pl.Expr:
    at = pl.col("at")
    return at.dt.convert_time_zone(zone) if zone else at.dt.replace_time_zone(None)
