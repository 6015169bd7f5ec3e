"""What a partition looks like, as a small table: polars reads every row once, one line a column comes out.

The table says what is there and judges nothing; `checks` says what is too much. A line's status is what the column is to events:
"required", "optional" or "never null" (label, time, split column), "extra" (not declared), or "day": the partition itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from amtl.data.columns import LISTS, Column, columns, fits, is_epoch
from amtl.data.events import Partition, collect, originals, schema
from amtl.data.soundness import offences
from amtl.params import EventsParams
from amtl.validation import values
from amtl.validation.figures import Figures, Types, figures

SCHEMA = pl.Schema(
    {
        "day": pl.String(),
        "column": pl.String(),
        "role": pl.String(),
        "status": pl.String(),
        "type": pl.String(),
        "zone": pl.String(),
        "zones": pl.Int64(),
        "missing": pl.Int64(),
        "hint": pl.String(),
        "misfit": pl.Int64(),
        "rows": pl.Int64(),
        "quarantined": pl.Int64(),
        "quarantined_share": pl.Float64(),
        "reasons": pl.String(),
        "duplicate_share": pl.Float64(),
        "nulls": pl.Int64(),
        "null_share": pl.Float64(),
        "all_null": pl.Int64(),
        "nan": pl.Int64(),
        "infinite": pl.Int64(),
        "unreadable": pl.Int64(),
        "out_of_range": pl.Int64(),
        "odd": pl.Int64(),
        "off_day": pl.Int64(),
        "damaged": pl.Int64(),
        "mojibake": pl.Int64(),
        "mojibake_share": pl.Float64(),
        "lowest": pl.Float64(),
        "highest": pl.Float64(),
        "distinct": pl.Int64(),
        "occurrences": pl.Int64(),
        "label_rate": pl.Float64(),
        "label_rate_low": pl.Float64(),
        "label_rate_high": pl.Float64(),
        "one_label": pl.Int64(),
        "preceding": pl.Int64(),
        "usual": pl.Float64(),
        "volume_jump": pl.Float64(),
        "label_rate_jump": pl.Float64(),
        "new_share": pl.Float64(),
        "new_values_jump": pl.Float64(),
        "before": pl.String(),
        "retyped": pl.Int64(),
        "rezoned": pl.Int64(),
        "gone": pl.Int64(),
        "added": pl.Int64(),
    }
)
DAY = "(day)"
STRETCHES = 20
"""Parts of a day that a sample of its rows is taken from: fewer are read faster, more see more of the day."""
STANDARD_ERRORS = 3.0
COUNTED = ("nulls", "nan", "infinite", "unreadable", "out_of_range", "odd", "off_day", "damaged", "mojibake")
ALIKE = 0.6
"""Ratio of `difflib` from which two names are taken for one that was rewritten."""


@dataclass(frozen=True)
class Profile:
    """A profiled partition.

    Attributes:
        lines: one line for the day, one a declared column, one an extra column (`SCHEMA`).
        samples: of the values of id columns (`amtl.validation.values`), and of extra columns that may be a missing one renamed.
    """

    lines: pl.DataFrame
    samples: Mapping[str, pl.DataFrame]


def profile(part: Partition, events: EventsParams) -> Profile:
    """Profile a partition.

    Of the figures, `missing` and `misfit` count files that lack the column or hold it in a type that does not fit; all others are
    over the other files. `hint` names an undeclared column that a missing one may have been renamed to; `zone` names the
    kinds of time (zones, "no zone", "epoch seconds"). `quarantined` are rows that are not sound, for the `reasons` named; null where a
    needed column is missing, since then there is no row to use at all. `nulls` include NaN and, for lists, empty ones;
    `unreadable` are ids that exceed 64 bits; `odd` labels that are neither 0 nor 1, or words that name no part of the split;
    `off_day` times too far off the day; `damaged` and `mojibake` texts with signs of broken decoding; `label_rate_low` and `_high`
    bound the rate that so many labels can come from; `one_label` labels, if all are the same, else 0; `distinct` is approximate above
    4,095; times are in epoch seconds.
    From `preceding` on, figures compare the day with others and are filled in by `history`.

    Raises:
        DataError: a file cannot be read.
    """
    types = {file: schema(file) for file in part.files}
    rows = {file: int(collect(pl.scan_parquet(file, glob=False, hive_partitioning=False).select(pl.len())).item()) for file in part.files}
    declared = columns(events)
    names = {name for found in types.values() for name in found}
    extra = sorted(names - {column.name for column in declared})
    further = _may_be_renamed(declared, extra, types)
    found = figures(part, types, sum(rows.values()), events, further)
    lines: list[dict[str, Any]] = [{"column": DAY, "status": "day", "rows": found.rows, **_whole_rows(types, events, found)}]
    lines += [_line(column, types, rows, found) | {"hint": _like(column, extra, types)} for column in declared]
    lines += [{"column": name, "status": "extra", "type": _types(name, types)} for name in extra]
    return Profile(pl.DataFrame([{"day": part.day, **line} for line in lines], schema=SCHEMA), found.samples)


def sample(part: Partition, rows: int) -> pl.DataFrame:
    """At most `rows` raw rows of all columns, in stretches spread evenly over the day; the same ones every time.

    Raises:
        DataError: a file cannot be read.
    """
    columns_of = originals({file: schema(file) for file in part.files})
    frames = [pl.scan_parquet(file, glob=False, hive_partitioning=False).select(columns_of[file]) for file in part.files]
    frame = pl.concat(frames, how="diagonal_relaxed")
    total = int(collect(frame.select(pl.len()), part).item())
    if total <= rows:
        return collect(frame, part)
    stretches = min(STRETCHES, rows)
    size = rows // stretches
    starts = [(total - size) * number // max(stretches - 1, 1) for number in range(stretches)]
    return pl.concat([collect(frame.slice(start, size), part) for start in starts])


def _whole_rows(types: Types, events: EventsParams, found: Figures) -> dict[str, Any]:
    """How many rows are not sound and why, and how many repeat others; nothing if a needed column is missing somewhere."""
    needed = [column for column in columns(events) if not column.optional]
    usable = all(column.name in file and fits(column.role, file[column.name]) for file in types.values() for column in needed)
    if not usable or not found.rows:
        return {}
    counts = {offence.reason: found.counts[offence.column, offence.kind] for offence in offences(events)}
    listed = sorted(((reason, count) for reason, count in counts.items() if count), key=lambda item: -item[1])
    number, timed = found.counts["", "quarantined"], events.time is None or found.lowest[events.time] is not None
    return {
        "quarantined": number,
        "quarantined_share": number / found.rows,
        "reasons": ", ".join(f"{reason} in {count:,}" for reason, count in listed),
        "duplicate_share": found.duplicate_share if timed else None,
    }


def _line(column: Column, types: Types, rows: Mapping[Any, int], found: Figures) -> dict[str, Any]:
    """One column's line of the profile."""
    fitting = [file for file, held in types.items() if column.name in held and fits(column.role, held[column.name])]
    counted = sum(rows[file] for file in fitting)
    of = {what: found.counts.get((column.name, what), 0) for what in (*COUNTED, "ones")}
    of["nulls"] -= found.rows - counted
    zones = sorted({_zone(types[file][column.name]) for file in fitting} - {""}) if column.role == "time" else []
    return {
        "column": column.name,
        "role": column.role,
        "status": "never null" if column.role in {"label", "time", "split"} else "optional" if column.optional else "required",
        "type": _types(column.name, types),
        "zone": ", ".join(zones),
        "zones": len(zones),
        "missing": sum(column.name not in held for held in types.values()),
        "misfit": sum(column.name in held for held in types.values()) - len(fitting),
        "rows": counted,
        "null_share": of["nulls"] / counted if counted else None,
        "all_null": int(of["nulls"] == counted) if counted else None,
        "mojibake_share": of["mojibake"] / counted if counted else None,
        "lowest": found.lowest.get(column.name),
        "highest": found.highest.get(column.name),
        "distinct": values.distinct(found.samples[column.name]) if column.name in found.samples else None,
        "occurrences": found.occurrences.get(column.name),
        **(_labels(of["ones"], counted - of["nulls"] - of["odd"]) if column.role == "label" else {}),
        **{what: of[what] for what in COUNTED},
    }


def _zone(dtype: pl.DataType) -> str:
    """The kind of time that a type holds; empty for a column of only nulls, which is of any kind."""
    if isinstance(dtype, pl.Null):
        return ""
    if is_epoch(dtype):
        return "epoch seconds"
    return (dtype.time_zone if isinstance(dtype, pl.Datetime) else None) or "no zone"


def _may_be_renamed(declared: Sequence[Column], extra: Sequence[str], types: Types) -> list[Column]:
    """Undeclared columns that may be a missing id column under another name: their values will tell."""
    roles = {column.role for column in declared if column.role in {"integer", "string", *LISTS} and _absent(column, types)}
    fitting = {name: role for role in sorted(roles) for name in extra if _fits_everywhere(role, name, types)}
    return [Column(name, role) for name, role in fitting.items()]


def hint(name: str) -> str:
    """What is said of a missing column if an undeclared one looks like it."""
    return f" (was it renamed to {name}?)"


def _like(column: Column, extra: Sequence[str], types: Types) -> str:
    """A hint at the undeclared column of a fitting type whose name is most like a missing one's; empty if there is none."""
    if not _absent(column, types):
        return ""
    fitting = {name.lower(): name for name in extra if _fits_everywhere(column.role, name, types)}
    near = difflib.get_close_matches(column.name.lower(), fitting, n=1, cutoff=ALIKE)
    return hint(fitting[near[0]]) if near else ""


def _absent(column: Column, types: Types) -> bool:
    return any(column.name not in held for held in types.values())


def _fits_everywhere(role: Any, name: str, types: Types) -> bool:
    return all(fits(role, held[name]) for held in types.values() if name in held)


def _labels(ones: int, rows: int) -> dict[str, float]:
    """The share of ones, and its interval of three standard errors (Wilson 1927): a day of few rows says little about its rate."""
    if not rows:
        return {}
    rate, squared = ones / rows, STANDARD_ERRORS**2
    centre = (ones + squared / 2) / (rows + squared)
    width = STANDARD_ERRORS / (rows + squared) * (rate * (1 - rate) * rows + squared / 4) ** 0.5
    interval = {"label_rate_low": max(centre - width, 0.0), "label_rate_high": min(centre + width, 1.0)}
    return {"label_rate": rate, **interval, "one_label": rows if ones in {0, rows} else 0}


def _types(name: str, types: Types) -> str:
    return ", ".join(dict.fromkeys(str(held[name]) for held in types.values() if name in held))
