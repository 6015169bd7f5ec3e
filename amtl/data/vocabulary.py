"""Value to embedding row, append-only: a value keeps its row over every growth; row 0 of a field is the unknown value.

Row numbers are local to a field in the file and in `Vocabulary.frame`; the model's one table stacks the fields in table
order (`EventsParams.embedded`), so table row = `offsets[field]` + local row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from amtl.errors import ArtifactError
from amtl.files import publish
from amtl.params import EventsParams

SCHEMA = pl.Schema({"field": pl.String(), "value": pl.String(), "row": pl.Int64(), "count": pl.Int64()})
METADATA = "amtl.types"
POLARS_TYPES = {"integer": pl.Int64(), "string": pl.String()}


@dataclass(frozen=True)
class RowLookup:
    """From raw values to rows of one table.

    Attributes:
        frame: columns field, value (as text; null for the field's unknown row), row (of the table).
        types: field name to "integer" or "string".
    """

    frame: pl.DataFrame
    types: dict[str, str]

    def rows(self, field: str, values: pl.Series) -> np.ndarray:
        """Table rows of raw values, int64 of the same length; null and unknown values get the field's unknown row."""
        typed, unknown = self._by_field[field]
        plain = values.cast(pl.String) if isinstance(values.dtype, pl.Categorical | pl.Enum) else values
        if plain.dtype.is_float():  # as pandas gives integers beside missing ones; what is not whole is no known value
            plain = plain.set(plain != plain.round(), None).cast(pl.Int64, strict=False)
        wanted = plain.cast(typed.schema["value"], strict=False).alias("value").to_frame()
        return wanted.join(typed, on="value", how="left", maintain_order="left")["row"].fill_null(unknown).to_numpy()

    @cached_property
    def _by_field(self) -> dict[str, tuple[pl.DataFrame, int]]:
        parts = {str(key[0]): part for key, part in self.frame.partition_by("field", as_dict=True).items()}
        return {
            field: (
                parts[field].filter(pl.col("value").is_not_null()).select(pl.col("value").cast(POLARS_TYPES[kind]), "row"),
                parts[field].filter(pl.col("value").is_null())["row"].item(),
            )
            for field, kind in self.types.items()
        }


@dataclass(frozen=True)
class Vocabulary:
    """The values of every embedded field.

    Attributes:
        frame: columns field, value (as text; null for the unknown row), row (0 = unknown, then 1, 2, ...), count
            (training occurrences; of the unknown row: nulls and values too rare for a row). Sorted by field, row.
        types: field name to "integer" or "string", in table order.
    """

    frame: pl.DataFrame
    types: dict[str, str]

    @classmethod
    def empty(cls, events: EventsParams) -> Vocabulary:
        """Only the unknown rows."""
        return cls(_with_unknown(pl.DataFrame(schema=SCHEMA), [field.name for field in events.embedded]), _types(events))

    def grow(self, counts: pl.DataFrame, min_count: int = 1) -> Vocabulary:
        """The vocabulary after counting.

        Args:
            counts: columns field, value (text, null allowed), count: all training occurrences. Values of at least
                `min_count` that have no row yet are appended, the most frequent first, ties by value.
            min_count: occurrences that a new value needs to get a row; a value that has one keeps it.

        Returns:
            A vocabulary in which every old value has its old row, and counts are the given ones (0 where absent).
        """
        known = self.frame.filter(pl.col("row") > 0).select("field", "value", "row")
        counts = counts.filter(pl.col("field").is_in(list(self.types)))
        merged = known.join(counts, on=["field", "value"], how="full", coalesce=True).with_columns(pl.col("count").fill_null(0))
        has_row = pl.col("value").is_not_null() & (pl.col("row").is_not_null() | (pl.col("count") >= min_count))
        new = merged.filter(has_row & pl.col("row").is_null()).sort(["field", "count", "value"], descending=[False, True, False])
        last = self.frame.group_by("field").agg(pl.col("row").max().alias("last"))
        new = new.join(last, on="field", maintain_order="left").with_columns(
            (pl.col("last") + pl.int_range(1, pl.len() + 1).over("field")).alias("row")
        )
        unknown = merged.filter(~has_row).group_by("field").agg(pl.col("count").sum())
        rows = pl.concat([merged.filter(has_row & pl.col("row").is_not_null()), new.drop("last")])
        rows = _with_unknown(rows.select(list(SCHEMA)).cast(SCHEMA), list(self.types), unknown)
        return Vocabulary(rows, self.types)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Rows of each field, the unknown row included, in table order."""
        by_field = dict(self.frame.group_by("field").len().iter_rows())
        return {field: by_field[field] for field in self.types}

    @cached_property
    def offsets(self) -> dict[str, int]:
        """First table row of each field."""
        starts = np.concatenate([[0], np.cumsum(list(self.sizes.values()))[:-1]])
        return {field: int(start) for field, start in zip(self.types, starts, strict=True)}

    @property
    def rows(self) -> int:
        """Rows of the whole table, V."""
        return len(self.frame)

    @cached_property
    def counts_V(self) -> np.ndarray:
        """Training occurrences of each table row, int64 [V]."""
        return self._in_table_order["count"].to_numpy()

    def exposures_V(self, unknown_rate: float, rows: int) -> np.ndarray:
        """How often training shows each table row, int64 [V]: its count, and for unknown rows the values hidden on purpose.

        Args:
            unknown_rate: share of values that training replaces by their field's unknown row.
            rows: training rows.
        """
        shown_V = self.counts_V.copy()
        for first, size in zip(self.offsets.values(), self.sizes.values(), strict=True):
            shown_V[first] += round(unknown_rate * max(rows, int(self.counts_V[first : first + size].sum())))
        return shown_V

    @cached_property
    def fields_V(self) -> np.ndarray:
        """Index of each table row's field in table order, int64 [V]."""
        return np.repeat(np.arange(len(self.sizes)), list(self.sizes.values()))

    @cached_property
    def _in_table_order(self) -> pl.DataFrame:
        order = pl.DataFrame({"field": list(self.types), "position": range(len(self.types))})
        return self.frame.join(order, on="field").sort(["position", "row"])

    def table_rows(self) -> pl.DataFrame:
        """The frame in table order with a column `table_row` (0 ... V - 1)."""
        return self._in_table_order.drop("position").with_row_index("table_row").cast({"table_row": pl.Int64})

    @cached_property
    def lookup(self) -> RowLookup:
        """From raw values to table rows."""
        return RowLookup(self.table_rows().select("field", "value", pl.col("table_row").alias("row")), self.types)

    def write(self, path: Path) -> None:
        """Write the frame as Parquet, which also says what type the values of each field have."""
        publish(path, lambda temporary: self.frame.write_parquet(temporary, metadata={METADATA: json.dumps(self.types)}))

    @classmethod
    def read(cls, path: Path, events: EventsParams) -> Vocabulary:
        """Read a vocabulary file; fields that `events` no longer declares are left out, new ones get their unknown row.

        A field whose values were of another type is a new one: text that was "a" or "007" is no integer.

        Raises:
            ArtifactError: the file is missing or is no vocabulary.
        """
        try:
            frame, written = pl.read_parquet(path, glob=False), types_in(path)
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise ArtifactError(f"{path} cannot be read as a vocabulary: {error}") from None
        if frame.schema != SCHEMA:
            raise ArtifactError(f"{path} is no vocabulary: its columns are {frame.columns}")
        types = _types(events)
        frame = frame.filter(pl.col("field").is_in([name for name, kind in types.items() if written.get(name, kind) == kind]))
        unknown = frame.filter(pl.col("row") == 0).select("field", "count")
        return cls(_with_unknown(frame.filter(pl.col("row") > 0), list(types), unknown), types)


def types_in(path: Path) -> dict[str, str]:
    """The type of each field's values, as a vocabulary file says it; empty for a file that was written without."""
    types: dict[str, str] = dict(json.loads(pl.read_parquet_metadata(path).get(METADATA, "{}")))
    return types


def _types(events: EventsParams) -> dict[str, str]:
    return {field.name: field.type for field in events.embedded}


def _with_unknown(rows: pl.DataFrame, fields: list[str], counts: pl.DataFrame | None = None) -> pl.DataFrame:
    unknown = pl.DataFrame({"field": fields}, schema={"field": pl.String}).with_columns(
        pl.lit(None, pl.String).alias("value"), pl.lit(0, pl.Int64).alias("row")
    )
    if counts is None:
        unknown = unknown.with_columns(pl.lit(0, pl.Int64).alias("count"))
    else:
        unknown = unknown.join(counts, on="field", how="left").with_columns(pl.col("count").fill_null(0).cast(pl.Int64))
    return pl.concat([unknown.select(list(SCHEMA)), rows]).sort("field", "row")
