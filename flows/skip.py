"""Leaving a day out on the record, and taking it in again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from amtl import stages
from amtl.data.events import partitions
from amtl.errors import DataError
from amtl.validation.skipped import SkippedDay, SkippedDays


def skip(root: Path, day: str, why: str) -> SkippedDay:
    """Record that a day is left out, as its content is now; it need not have been judged. The caller holds the workspace's lock.

    Args:
        root: the workspace.
        day: such as "2026-01-31".
        why: the reason; must not be empty.

    Raises:
        DataError: there is no such day.
        ParamsError: there is no reason, or the record cannot be read.
    """
    found = {part.day: part for part in partitions(root / stages.EVENTS)}
    if day not in found:
        raise DataError(
            f"{stages.EVENTS} holds no day {day}, only {len(found)} days from {min(found)} to {max(found)}; give one as YYYY-MM-DD"
        )
    record = SkippedDays.read(root / stages.SKIPPED_DAYS).skip(found[day], why, datetime.now(UTC))
    record.write(root / stages.SKIPPED_DAYS)
    return next(entry for entry in record.entries if entry.day == day)


def take_back(root: Path, day: str) -> None:
    """Take a day in again; the next run judges it. The caller holds the workspace's lock.

    Raises:
        ParamsError: the day is not skipped, or the record cannot be read.
    """
    SkippedDays.read(root / stages.SKIPPED_DAYS).take_back(day).write(root / stages.SKIPPED_DAYS)
