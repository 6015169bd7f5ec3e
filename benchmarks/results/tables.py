"""How figures are written: Markdown tables, means with their spread over seeds, shares, differences."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

NOT_RUN = "not run"
NOT_ASKED = "-"
NO_TABLE = "no table so small"
NOISE = 0.001
"""Difference of AUC below which one seed says nothing."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float], digits: int = 4) -> str:
    """The mean, and from two values on the sample standard deviation."""
    if not values:
        return NOT_RUN
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def mean(values: Sequence[float]) -> float:
    """The mean; NaN of nothing, which is equal to and greater than no number."""
    return statistics.fmean(values) if values else float("nan")


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of AUCs, from the sample standard deviation; of fewer than two values, whose error is unknown, `NOISE`."""
    return float(statistics.stdev(values) / len(values) ** 0.5) if len(values) > 1 else NOISE


def signed(value: float) -> str:
    """A difference with its sign, four digits; no sign where it rounds to zero."""
    text = f"{value:+.4f}"
    return "0.0000" if text[1:] == "0.0000" else text


def percent(share: float, digits: int = 2) -> str:
    """A share in per cent."""
    return f"{100 * share:.{digits}f}%"


def kilobytes(count: float) -> str:
    """Bytes in thousands."""
    return f"{count / 1000:,.1f} kB"


def listed(words: Sequence[str]) -> str:
    """Words with commas, the last one after "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"
