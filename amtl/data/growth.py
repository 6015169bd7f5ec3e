"""Which values of a field have a row, and which: append-only, up to a cap.

Without a cap, or while a field keeps within it, rows are only ever appended. Over the cap the rarest values have no row. A value that has a
row keeps exactly that row for as long as it has one; a value that falls out leaves its row free, and newcomers take
the free rows, the lowest first, so that rows stay 1, 2, ... without a gap. Only a cap that was lowered moves values: those behind
its end go to the free rows before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

FIGURES = ("count", "frequency")
REASONS = ("min_count", "max_rows")


@dataclass(frozen=True)
class FieldGrowth:
    """A field after counting.

    Attributes:
        rows: columns value (null: the unknown row), row, count, frequency; sorted by row, from 0 without a gap.
        left_out: columns value, count, reason ("min_count" or "max_rows"): the values that share the unknown row.
        new: values that have got a row. dropped: values that have lost theirs.
    """

    rows: pl.DataFrame
    left_out: pl.DataFrame
    new: int
    dropped: int


def grow_field(known: pl.DataFrame, totals: pl.DataFrame, min_count: int, cap: int | None) -> FieldGrowth:
    """Give rows to the values of a field.

    Args:
        known: columns value, row (from 1), sorted by row: the values that have one.
        totals: columns value (the same type; null allowed), count, frequency: all training occurrences.
        min_count: occurrences that a new value needs to get a row.
        cap: most values with a row; of more, those of the highest frequency have one, among equals those that have one
            already, then the lowest value. None: no cap.

    Returns:
        New values get rows the most frequent first, ties by value.
    """
    totals = totals.select("value", *FIGURES)
    seen = totals.filter(pl.col("value").is_not_null())
    held = known.join(seen, on="value", how="left", maintain_order="left").with_columns(pl.col(FIGURES).fill_null(0))
    fresh = seen.join(known, on="value", how="anti")
    enough, rare = fresh.filter(pl.col("count") >= min_count), fresh.filter(pl.col("count") < min_count)
    if cap is None or len(held) + len(enough) <= cap:
        placed, over, dropped = _appended(held, enough), rare.clear(), 0
    else:
        held, enough, over = _cut(held, enough, cap)
        placed, dropped = _placed(held, enough, cap), len(known) - len(held)
    unknown = pl.concat([totals.filter(pl.col("value").is_null()), rare, over])
    row_0 = unknown.select(pl.lit(None, seen.schema["value"]).alias("value"), pl.lit(0, pl.Int64).alias("row"), pl.col(FIGURES).sum())
    left_out = [part.select("value", "count", pl.lit(reason).alias("reason")) for part, reason in zip((rare, over), REASONS, strict=True)]
    return FieldGrowth(pl.concat([row_0, placed]), pl.concat(left_out), len(enough), dropped)


def _appended(held: pl.DataFrame, newcomers: pl.DataFrame) -> pl.DataFrame:
    """The newcomers behind all others."""
    last = int(held["row"][-1]) if len(held) else 0
    rows = pl.int_range(last + 1, last + 1 + len(newcomers), dtype=pl.Int64, eager=True)
    return pl.concat([held, _in_order(newcomers).with_columns(rows.alias("row")).select(held.columns)])


def _cut(held: pl.DataFrame, newcomers: pl.DataFrame, cap: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The `cap` most frequent values, those that have a row (sorted by it) and those that have none; and all others."""
    candidates = pl.concat([held, newcomers], how="diagonal")
    lowest = candidates["frequency"].top_k(cap).min()
    above = candidates.filter(pl.col("frequency") > lowest)
    tied = candidates.filter(pl.col("frequency") == lowest).sort(pl.col("row").is_null(), "value")
    kept = pl.concat([above, tied.head(cap - len(above))])
    over = pl.concat([tied.slice(cap - len(above)), candidates.filter(pl.col("frequency") < lowest)])
    without = pl.col("row").is_null()
    return kept.filter(~without).sort("row"), kept.filter(without).select(newcomers.columns), over.select(newcomers.columns)


def _placed(held: pl.DataFrame, newcomers: pl.DataFrame, cap: int) -> pl.DataFrame:
    """All of them on rows 1 ... cap: who has one of these keeps it, the others take the free ones."""
    staying = held.filter(pl.col("row") <= cap)
    moving = pl.concat([held.filter(pl.col("row") > cap).select(newcomers.columns), _in_order(newcomers)])
    taken = np.zeros(cap + 1, dtype=bool)
    taken[0], taken[staying["row"].to_numpy()] = True, True
    free = pl.Series("row", np.flatnonzero(~taken), dtype=pl.Int64)
    return pl.concat([staying, moving.with_columns(free).select(staying.columns)]).sort("row")


def _in_order(newcomers: pl.DataFrame) -> pl.DataFrame:
    """The most frequent first, ties by value."""
    return newcomers.sort("frequency", "value", descending=[True, False])
