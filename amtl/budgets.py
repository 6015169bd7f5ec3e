"""A budget as users write it, a share of the dense table or bytes, in bytes."""

from __future__ import annotations

import math
import re
from typing import Any

AUTO = "auto"
"""The budget that asks for the smallest table that loses nothing."""
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_budget(budget: float | int | str, dense_bytes: int) -> int:
    """The budget in bytes of a table whose dense fp32 form has `dense_bytes` bytes.

    Raises:
        ValueError: the text is no share (0 < share <= 1, "40%") and no byte figure (1 or more, "40MB").
    """
    hint = 'a share of the dense table (0.4, "40%") or bytes (40000000, "40MB", "40MiB")'
    if isinstance(budget, bool):
        raise ValueError(f"{short(budget)} is not {hint}")
    if isinstance(budget, str):
        match = re.fullmatch(r"\s*((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(%|[KMG]?i?B)?\s*", budget, re.IGNORECASE | re.ASCII)
        value = float(match[1]) if match else math.inf
        unit = (match[2] or "").upper() if match else ""
        if not match or value > (100 if unit == "%" else 1e18):
            raise ValueError(f"{short(budget)} is not {hint}")
        if unit == "%":
            return parse_budget(value / 100, dense_bytes)
        if unit:
            return parse_budget(int(value * UNITS[unit]), dense_bytes)
        budget = int(match[1]) if match[1].isdecimal() else value
    if isinstance(budget, float) and 0 < budget <= 1:
        return int(budget * dense_bytes)
    if isinstance(budget, float) and budget.is_integer():
        budget = int(budget)
    if isinstance(budget, int) and budget >= 1:
        return budget
    raise ValueError(f"{short(budget)} is not {hint}")


def short(value: Any) -> str:
    """A value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
