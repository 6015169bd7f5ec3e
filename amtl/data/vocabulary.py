"""Value to embedding row, append-only: a value keeps its row over every growth; row 0 of a field is the unknown value.

With a cap on a field's rows the rarest values share the unknown row (`amtl.data.growth`); two values never share another.

Row numbers are local to a field in the file and in `Vocabulary.frame`; the model's one table stacks the fields in table
order (`EventsParams.embedded`), so table row = `offsets[field]` + local row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from amtl.data.growth import FIGURES, REASONS, grow_field
from amtl.data.value_index import ValueIndex
from amtl.errors import ArtifactError
from amtl.files import publish
from amtl.params import EventsParams

SCHEMA = pl.Schema({"field": pl.String(), "value": pl.String(), "row": pl.Int64(), "count": pl.Int64(), "frequency": pl.Float64()})
LEFT_OUT_SCHEMA = pl.Schema({"field": pl.String(), "value": pl.String(), "count": pl.Int64(), "reason": pl.String()})
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
        known = self._by_field[field]
        plain = values.cast(pl.String) if isinstance(values.dtype, pl.Categorical | pl.Enum) else values
        if plain.dtype.is_float():  # as pandas gives integers beside missing ones; what is not whole is no known value
            plain = plain.set(plain != plain.round(), None).cast(pl.Int64, strict=False)
        return known.rows[known.index.find(plain.cast(POLARS_TYPES[self.types[field]], strict=False))]

    @cached_property
    def _by_field(self) -> dict[str, _Known]:
        parts = {str(key[0]): part for key, part in self.frame.partition_by("field", as_dict=True).items()}
        return {field: _known(parts[field], POLARS_TYPES[kind]) for field, kind in self.types.items()}


@dataclass(frozen=True)
class _Known:
    """The known values of a field, and the table row of each; the last one is the field's unknown row, which `NOWHERE` leads to."""

    index: ValueIndex
    rows: np.ndarray


def _known(part: pl.DataFrame, kind: pl.DataType) -> _Known:
    values, unknown = part.filter(pl.col("value").is_not_null()), part.filter(pl.col("value").is_null())
    return _Known(ValueIndex(values["value"].cast(kind)), np.append(values["row"].to_numpy(), unknown["row"].item()))


@dataclass(frozen=True)
class Vocabulary:
    """The values of every embedded field.

    Attributes:
        frame: columns field, value (as text; null for the unknown row), row (0 = unknown, then 1, 2, ...), count
            (training occurrences; of the unknown row: nulls and values that have no row of their own), frequency (the count,
            or the decayed count where params.yaml: count.half_life asks for it). Sorted by field, row.
        types: field name to "integer" or "string", in table order.
    """

    frame: pl.DataFrame
    types: dict[str, str]

    @classmethod
    def empty(cls, events: EventsParams) -> Vocabulary:
        """Only the unknown rows."""
        return cls(_with_unknown(pl.DataFrame(schema=SCHEMA), [field.name for field in events.embedded]), _types(events))

    def grow(self, counts: pl.DataFrame, min_count: int = 1, max_rows: Mapping[str, int] | None = None) -> Vocabulary:
        """The vocabulary after counting; see `grow_by`.

        Args:
            counts: columns field, value (text, null allowed), count, and frequency if it is not the count.
            min_count: occurrences that a new value needs to get a row.
            max_rows: field to the most values that may have a row.
        """
        if "frequency" not in counts.columns:
            counts = counts.with_columns(frequency=pl.col("count").cast(pl.Float64))
        totals = (
            (name, counts.filter(pl.col("field") == name).select(pl.col("value").cast(POLARS_TYPES[kind]), *FIGURES))
            for name, kind in self.types.items()
        )
        return self.grow_by(totals, min_count, max_rows).vocabulary

    def grow_by(self, totals: Iterable[tuple[str, pl.DataFrame]], min_count: int = 1, max_rows: Mapping[str, int] | None = None) -> Growth:
        """Give rows to what was counted.

        Args:
            totals: each field and all its training occurrences: columns value (Int64 or String, null allowed), count, frequency.
            min_count: occurrences that a new value needs to get a row; a value that has one keeps it.
            max_rows: field to the most values that may have a row.

        Returns:
            A vocabulary in which every value that had a row has the same (see `amtl.data.growth` for caps), and whose figures
            are the given ones (0 where absent).
        """
        known = {str(key[0]): rows for key, rows in self.frame.filter(pl.col("row") > 0).partition_by("field", as_dict=True).items()}
        rows, left_out, fields = {}, {}, {}
        for name, counted in totals:
            held = known.get(name, self.frame.clear()).select(pl.col("value").cast(POLARS_TYPES[self.types[name]]), "row")
            grown = grow_field(held, counted, min_count, (max_rows or {}).get(name))
            rows[name], left_out[name] = _as_text(name, grown.rows, SCHEMA), _as_text(name, grown.left_out, LEFT_OUT_SCHEMA)
            reasons = dict(grown.left_out.group_by("reason").len().iter_rows())
            fields[name] = {
                "values": len(grown.rows) - 1,
                "new": grown.new,
                "dropped": grown.dropped,
                "left_out": {reason: reasons.get(reason, 0) for reason in REASONS},
            }
        frames = [pl.concat([part[name] for name in sorted(part)]) for part in (rows, left_out)]
        return Growth(Vocabulary(frames[0], self.types), frames[1], fields)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Rows of each field, the unknown row included, in table order."""
        last = dict(self.frame.group_by("field").agg(pl.col("row").max()).iter_rows())
        return {field: last[field] + 1 for field in self.types}

    @cached_property
    def offsets(self) -> dict[str, int]:
        """First table row of each field."""
        starts = accumulate(self.sizes.values(), initial=0)
        return dict(zip(self.types, starts, strict=False))

    @property
    def rows(self) -> int:
        """Rows of the whole table, V."""
        return sum(self.sizes.values())

    @cached_property
    def counts_V(self) -> np.ndarray:
        """Training occurrences of each table row, int64 [V]."""
        return self._in_table_order["count"].to_numpy()

    @cached_property
    def frequencies_V(self) -> np.ndarray:
        """What training has seen of each table row lately, float64 [V]: the count, decayed if params.yaml asks for it."""
        return self._in_table_order["frequency"].to_numpy()

    def exposures_V(self, unknown_rate: float, rows: int) -> np.ndarray:
        """How often training shows each table row, float64 [V]: its frequency, and for unknown rows the values hidden on purpose.

        Where frequencies are decayed, what is hidden counts by the same mean decay as the field's values.

        Args:
            unknown_rate: share of values that training replaces by their field's unknown row.
            rows: training rows.
        """
        shown_V = self.frequencies_V.copy()
        for first, size in zip(self.offsets.values(), self.sizes.values(), strict=True):
            count, frequency = (float(figure_V[first : first + size].sum()) for figure_V in (self.counts_V, self.frequencies_V))
            shown_V[first] += round(unknown_rate * max(rows, count) * (frequency / count if count else 1.0))
        return shown_V

    @cached_property
    def fields_V(self) -> np.ndarray:
        """Index of each table row's field in table order, int64 [V]."""
        return np.repeat(np.arange(len(self.sizes)), list(self.sizes.values()))

    @cached_property
    def _in_table_order(self) -> pl.DataFrame:
        parts = {str(key[0]): rows for key, rows in self.frame.partition_by("field", as_dict=True).items()}
        return pl.concat([parts[field] for field in self.types])

    def table_rows(self) -> pl.DataFrame:
        """The frame in table order with a column `table_row` (0 ... V - 1)."""
        first = pl.col("field").replace_strict(self.offsets, return_dtype=pl.Int64)
        return self._in_table_order.select((first + pl.col("row")).alias("table_row"), pl.all())

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
        frame, written = read_frame(path)
        types = _types(events)
        frame = frame.filter(pl.col("field").is_in([name for name, kind in types.items() if written.get(name, kind) == kind]))
        unknown = frame.filter(pl.col("row") == 0).select("field", *FIGURES)
        return cls(_with_unknown(frame.filter(pl.col("row") > 0), list(types), unknown), types)


class Growth(NamedTuple):
    """What `Vocabulary.grow_by` yields.

    Attributes:
        vocabulary: the grown one.
        left_out: columns field, value (text), count, reason ("min_count" or "max_rows"): the values that share the unknown row.
        fields: field to {"values": with a row, "new": that got one, "dropped": that lost theirs, "left_out": {reason: values}}.
    """

    vocabulary: Vocabulary
    left_out: pl.DataFrame
    fields: dict[str, dict[str, Any]]


def read_frame(path: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """The frame of a vocabulary file as it is, and the type of each field's values (empty for a file that was written without).

    In a file from before frequencies were kept, the frequency is the count.

    Raises:
        ArtifactError: the file is missing or is no vocabulary.
    """
    try:
        frame, types = pl.read_parquet(path, glob=False), types_in(path)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"{path} cannot be read as a vocabulary: {error}") from None
    if "frequency" not in frame.columns and frame.schema.get("count") == pl.Int64:
        frame = frame.with_columns(frequency=pl.col("count").cast(pl.Float64))
    if frame.schema != SCHEMA:
        raise ArtifactError(f"{path} is no vocabulary: its columns are {frame.columns}")
    return frame, types


def types_in(path: Path) -> dict[str, str]:
    """The type of each field's values, as a vocabulary file says it; empty for a file that was written without."""
    types: dict[str, str] = dict(json.loads(pl.read_parquet_metadata(path).get(METADATA, "{}")))
    return types


def _types(events: EventsParams) -> dict[str, str]:
    return {field.name: field.type for field in events.embedded}


def _as_text(field: str, rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    text = rows.with_columns(pl.lit(field).alias("field"), pl.col("value").cast(pl.String))
    return text.select(pl.col(name).cast(kind) for name, kind in schema.items())


def _with_unknown(rows: pl.DataFrame, fields: list[str], figures: pl.DataFrame | None = None) -> pl.DataFrame:
    unknown = pl.DataFrame({"field": fields}, schema={"field": pl.String}).with_columns(
        pl.lit(None, pl.String).alias("value"), pl.lit(0, pl.Int64).alias("row")
    )
    known = figures if figures is not None else pl.DataFrame(schema={name: SCHEMA[name] for name in ("field", *FIGURES)})
    unknown = unknown.join(known, on="field", how="left").with_columns(pl.col(FIGURES).fill_null(0))
    return pl.concat([unknown.select(list(SCHEMA)), rows]).sort("field", "row")
