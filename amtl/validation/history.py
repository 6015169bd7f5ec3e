"""A day beside the days before it: what is usual is the median of the preceding accepted days, so one odd day does not move it.

`compare` fills in the figures of the profile from `preceding` on; `checks` says which jumps are too large. With fewer than `LEAST`
days before it, a day's volume, label rate and share of new values are not judged; types are, from the second day on. A verdict is
kept with the day's content: when an older day is replaced later, the days after it are not judged again.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import polars as pl

from amtl.validation import values
from amtl.validation.profile import DAY, SCHEMA, STANDARD_ERRORS, Profile, hint

LEAST = 3
"""Preceding days that it takes to say what is usual."""
FEW = 30
"""Rows below which a factor between the rows of days, or a share of new values, is chance."""
SHARED = 0.5
"""Share of an undeclared column's values from which it is taken for a missing column under another name."""

Line = dict[str, Any]


class Past(Protocol):
    """An accepted day."""

    @property
    def lines(self) -> pl.DataFrame:
        """Its profile."""
        ...

    @property
    def samples(self) -> Mapping[str, pl.DataFrame]:
        """Samples of its values."""
        ...


def compare(profile: Profile, preceding: Sequence[Past]) -> Profile:
    """The profile with its figures beside those of the preceding days, the newest last; unchanged without any."""
    if not preceding:
        return profile
    before = [{line["column"]: line for line in past.lines.iter_rows(named=True)} for past in preceding]
    lines = [_compared(line, profile, preceding, before) for line in profile.lines.iter_rows(named=True)]
    gone = [
        {"day": lines[0]["day"], "column": name, "status": "extra", "type": "", "before": old["type"], "gone": 1}
        for name, old in before[-1].items()
        if old["status"] == "extra" and not _no_more(old) and name not in {line["column"] for line in lines}
    ]
    return Profile(pl.DataFrame([*lines, *gone], schema=SCHEMA), profile.samples)


def _compared(line: Line, profile: Profile, preceding: Sequence[Past], before: Sequence[Mapping[str, Line]]) -> Line:
    name = line["column"]
    old = [day[name] for day in before if name in day and not _no_more(day[name])]
    newest = before[-1].get(name)
    found = line | {"preceding": len(preceding)} | _types(line, None if newest is None or _no_more(newest) else newest)
    if name == DAY:
        return found | _volume(line, old)
    if line["role"] == "label":
        return found | _label_rate(line, old)
    if line["missing"]:
        return found | _renamed(name, profile, preceding)
    return found | (_new_values(name, line, profile.samples[name], preceding, old) if line["occurrences"] else {})


def _no_more(line: Line) -> bool:
    """Whether a line only says that an undeclared column is gone."""
    return line["status"] == "extra" and bool(line["gone"])


def _types(line: Line, old: Line | None) -> Line:
    """Whether the column is new, gone, of another type, or of another kind of time than on the day before."""
    if old is None:
        return {"added": int(line["status"] == "extra")}
    types, zones = {old["type"], line["type"]} - {"", "Null"}, {old["zone"], line["zone"]} - {"", None}
    time = line["role"] == "time"
    return {
        "before": old["zone"] if time else old["type"],
        "retyped": int(len(types) > 1 and not time and not line["misfit"]),
        "rezoned": int(len(zones) > 1 and line["zones"] == 1),
        "gone": int(bool(old["type"]) and not line["type"] and line["status"] == "optional"),
    }


def _volume(line: Line, old: Sequence[Line]) -> Line:
    if len(old) < LEAST or not line["rows"]:
        return {}
    usual = statistics.median(day["rows"] for day in old)
    if not usual or max(line["rows"], usual) < FEW:
        return {}
    return {"usual": usual, "volume_jump": max(line["rows"] / usual, usual / line["rows"])}


def _label_rate(line: Line, old: Sequence[Line]) -> Line:
    """The factor between the odds of a label of 1, as far as it is beyond sampling error on either side.

    Odds, not rates: the factor is the same for labels of 0, and where labels of 1 are rare it is the rates'.
    """
    known = [day for day in old if day["label_rate"] is not None]
    if len(known) < LEAST or line["label_rate"] is None:
        return {}
    low, usual, high = (statistics.median(day[name] for day in known) for name in ("label_rate_low", "label_rate", "label_rate_high"))
    up, down = _odds(line["label_rate_low"]) / _odds(high), _odds(low) / _odds(line["label_rate_high"])
    return {"usual": usual, "label_rate_jump": max(up, down, 1.0)}


def _odds(rate: float) -> float:
    bounded = min(max(rate, 1e-9), 1 - 1e-9)
    return bounded / (1 - bounded)


def _new_values(name: str, line: Line, sample: pl.DataFrame, preceding: Sequence[Past], old: Sequence[Line]) -> Line:
    earlier = [past.samples[name] for past in preceding if name in past.samples and len(past.samples[name])]
    if not earlier:
        return {}
    new = values.new_share(sample, line["occurrences"], earlier)
    known = [day["new_share"] for day in old if day["new_share"] is not None]
    if len(old) < LEAST or not known or line["occurrences"] < FEW:
        return {"new_share": new.share}
    usual = statistics.median(known)
    return {"new_share": new.share, "usual": usual, "new_values_jump": max(new.share - STANDARD_ERRORS * new.error - usual, 0.0)}


def _renamed(name: str, profile: Profile, preceding: Sequence[Past]) -> Line:
    """A hint at the undeclared column that has the values which the missing one used to have."""
    last = next((past.samples[name] for past in reversed(preceding) if len(past.samples.get(name, ()))), None)
    declared = set(profile.lines.filter(pl.col("role").is_not_null())["column"])
    candidates = {other: sample for other, sample in profile.samples.items() if other not in declared and len(sample)}
    if last is None or not candidates:
        return {}
    alike = {other: values.shared(sample, last) for other, sample in candidates.items()}
    best = max(alike, key=lambda other: alike[other])
    return {"hint": hint(best)} if alike[best] >= SHARED else {}
