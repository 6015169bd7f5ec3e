"""Raw events: day partitions on disk, and the one scan function.

A partition is a folder `date=YYYY-MM-DD` of Parquet files. `scan` is the only way in: it yields the declared columns of the
sound rows, in the declared types (`amtl.data.columns`); columns that are not declared are left out. Which rows are sound is said
by one expression (`amtl.data.soundness`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Literal

import polars as pl

from amtl.data.columns import column_of, columns, fits, is_epoch, misfit, value
from amtl.data.soundness import declared, sound, soundness, typed
from amtl.errors import DataError
from amtl.files import digest_of, sha256
from amtl.params import EventsParams, FieldParams

__all__ = [
    "Partition",
    "chunks",
    "collect",
    "columns",
    "is_day",
    "originals",
    "partitions",
    "reading",
    "scan",
    "schema",
    "sound",
    "soundness",
]

ANY_DAY = "1970-01-01"
"""Stands for the day where no rule asks for it, so that files of all days are read alike."""
WRITE_AGAIN = "a file is damaged; write the day again"


@dataclass(frozen=True)
class Partition:
    """One day of events.

    Attributes:
        day: such as "2026-01-31".
        path: the folder.
        digest: hex SHA-256 over the sorted files' names and contents.
        files: the Parquet files, sorted by name.
        sound: whether every row is known to be sound under today's declaration, so that `scan` need not look again.
    """

    day: str
    path: Path
    digest: str
    files: tuple[Path, ...]
    sound: bool = False


def partitions(root: Path) -> list[Partition]:
    """The day partitions below `root`, oldest first. Names that start with `.` or `_` are left out.

    Raises:
        DataError: there is none; a name is no day; a day holds no Parquet file, or something else; a file cannot be read.
    """
    try:
        entries = sorted(entry for entry in root.iterdir() if entry.name[0] not in "._")
        found = [_partition(entry) for entry in entries]
    except FileNotFoundError:
        raise DataError(f"{root} does not exist; make events with `amtl sample` or bring yours with `amtl ingest`") from None
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror}; check its permissions") from None
    if not found:
        raise DataError(f"{root} holds no day of events (date=YYYY-MM-DD); make some with `amtl sample` or `amtl ingest`")
    return found


def is_day(text: str) -> bool:
    """Whether a text names a day of the calendar, YYYY-MM-DD."""
    try:
        return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False


def schema(file: Path) -> dict[str, pl.DataType]:
    """Column types of a Parquet file, but for columns whose names begin with a parenthesis: such names are our own.

    Raises:
        DataError: the file is missing, cut short or no Parquet.
    """
    try:
        found = pl.scan_parquet(file, glob=False, hive_partitioning=False).collect_schema()
        return {name: dtype for name, dtype in found.items() if not name.startswith("(")}
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{file} cannot be read as Parquet ({_first_line(error)}); write it again or remove it") from None


def originals(types: Mapping[Path, Mapping[str, pl.DataType]]) -> dict[Path, list[pl.Expr]]:
    """For each file, all its columns as they lie in it, so that the files can be concatenated: where types differ, as text."""
    names = {name for held in types.values() for name in held}
    mixed = {name for name in names if len({str(held[name]) for held in types.values() if name in held} - {str(pl.Null())}) > 1}
    return {
        file: [_as_text(name, dtype) if name in mixed else pl.col(name) for name, dtype in held.items()] for file, held in types.items()
    }


def scan(parts: Sequence[Partition], events: EventsParams, beside: Sequence[FieldParams] = ()) -> pl.LazyFrame:
    """The declared columns of the sound rows, in the declared types, in order of day, file and row.

    Optional columns that a file lacks are null; NaN becomes null; label (Int8, 0 or 1) and time are never null.

    Args:
        parts: where the events lie.
        events: the declared schema.
        beside: fields that are not declared but wanted, null where a file lacks them or holds them in another type. They
            have no say in which rows are sound.

    Raises:
        DataError: there is no partition; a file cannot be read; a column is missing or of a type that does not fit.
    """
    files = [(file, part) for part in parts for file in part.files]
    if not files:
        raise DataError("there are no events to read")
    judged_by_day = events.time is not None and events.hours_off_day is not None
    kinds = [(tuple(schema(file).items()), None if part.sound else part.day if judged_by_day else ANY_DAY) for file, part in files]
    runs = [
        (dict(types), day, [file for _, (file, _) in run]) for (types, day), run in groupby(zip(kinds, files, strict=True), lambda x: x[0])
    ]
    frame = pl.concat([_read(names, events, types, day).select(*declared(events), *_as_found(beside, types)) for types, day, names in runs])
    if events.time and len({is_epoch(types[events.time]) for types, _, _ in runs if not isinstance(types[events.time], pl.Null)}) > 1:
        raise DataError(f"column {events.time} holds dates in some files and epoch seconds in others; write all of them alike")
    return frame


def _read(files: Sequence[Path], events: EventsParams, types: dict[str, pl.DataType], day: str | None) -> pl.LazyFrame:
    """The sound rows, typed, of files that all have the column types `types` and are of one day, or (None) known to be sound."""
    for column in columns(events):
        problem = misfit(column, types.get(column.name))
        if problem:
            raise DataError(f"{files[0]}: {problem}")
    raw = pl.scan_parquet(list(files), glob=False, hive_partitioning=False)
    rows = typed(raw, events, types, day)
    return rows if day is None else rows.filter(sound(events))


def _as_found(fields: Sequence[FieldParams], types: dict[str, pl.DataType]) -> list[pl.Expr]:
    """Fields that no one checked, as far as a file of these types holds them."""
    kinds = [(column, types.get(column.name, pl.Null())) for column in map(column_of, fields)]
    return [value(column, dtype if fits(column.role, dtype) else None) for column, dtype in kinds]


def collect(frame: pl.LazyFrame, part: Partition | None = None, engine: Literal["streaming", "in-memory"] = "streaming") -> pl.DataFrame:
    """Collect events.

    Args:
        part: where they all lie, for the message.
        engine: "in-memory" is quicker where nothing but the reading of columns is asked for.

    Raises:
        DataError: a file is damaged or vanished.
    """
    with reading(part):
        return frame.collect(engine=engine)


def chunks(frame: pl.LazyFrame, rows: int, part: Partition | None = None) -> Iterator[pl.DataFrame]:
    """The frame in pieces of about `rows` rows, in order; memory does not grow with the frame.

    Polars ends without an error where it gives up on a damaged file here, so `figures` counts what comes out, for every new day.

    Args:
        part: where the events all lie, for the message.

    Raises:
        DataError: a file is damaged or vanished.
    """
    with reading(part):
        yield from frame.collect_batches(chunk_size=rows, engine="streaming")


@contextmanager
def reading(part: Partition | None = None) -> Iterator[None]:
    """Where events are read: what goes wrong is a `DataError`, also where polars gives up on a damaged file (a panic)."""
    where, remedy = (part.path, WRITE_AGAIN) if part else ("the events", "run the stage validate, which names the day")
    try:
        yield
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{where} cannot be read ({_first_line(error)}); {remedy}") from None


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as text; bytes as hex digits, but within lists and structures, of which polars cannot make text, as null."""
    plain = pl.col(name)
    if isinstance(dtype, pl.Binary):
        return plain.bin.encode("hex")
    if dtype.is_nested() and "Binary" in str(dtype):
        return pl.lit(None, pl.String).alias(name)
    in_json = dtype.is_nested() or isinstance(dtype, pl.Duration)
    return pl.struct(plain).struct.json_encode().alias(name) if in_json else plain.cast(pl.String)


def _partition(entry: Path) -> Partition:
    day = entry.name.removeprefix("date=")
    if not entry.is_dir() or day == entry.name or not is_day(day):
        raise DataError(f"{entry} is no day of events; a day is a folder date=YYYY-MM-DD; rename or remove it")
    files = tuple(sorted(file for file in entry.iterdir() if file.name[0] not in "._"))
    strange = [file.name for file in files if file.suffix != ".parquet" or not file.is_file()]
    if strange:
        raise DataError(f"{entry} holds {', '.join(strange[:3])}, which is no Parquet file; remove it or convert it to .parquet")
    if not files:
        raise DataError(f"{entry} holds no Parquet file; deliver the day again or remove the folder")
    return Partition(day, entry, digest_of([[file.name, sha256(file)] for file in files]), files)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
