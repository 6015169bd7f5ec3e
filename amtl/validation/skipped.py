"""Days that are left out on the record: which content of which day, why, since when.

The record is `skipped_days.yaml` at the workspace's root, committed like parameters. A skip holds for the content that it was
given for: a day that was mended, or delivered again, has another digest and is judged like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from amtl.data.events import Partition
from amtl.errors import ParamsError
from amtl.files import publish_text

HEADER = """\
# Days that are left out although they lie in data/events: `amtl skip-day DAY --why TEXT` adds one, `--undo` takes it back.
# A skip holds for the content that it was given for (digest): a day that is mended or delivered again is judged again.
"""


@dataclass(frozen=True)
class SkippedDay:
    """A day that is left out.

    Attributes:
        day: such as "2026-01-31".
        digest: of the content that is left out (`Partition.digest`).
        why: the reason, in words.
        when: the moment of the decision, ISO 8601 in UTC.
    """

    day: str
    digest: str
    why: str
    when: str

    def covers(self, part: Partition) -> bool:
        """Whether the partition still has the content that was skipped."""
        return (self.day, self.digest) == (part.day, part.digest)


@dataclass(frozen=True)
class SkippedDays:
    """The record, in order of day; one entry a day."""

    entries: tuple[SkippedDay, ...] = ()

    @classmethod
    def read(cls, path: Path) -> SkippedDays:
        """Read the record; a file that is missing records nothing.

        Raises:
            ParamsError: the file cannot be read, or an entry is not as `write` makes it.
        """
        if not path.exists():
            return cls()
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
            raise ParamsError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
        listed = raw.get("days") if isinstance(raw, dict) else None
        if not isinstance(listed, list) or set(raw) != {"days"}:
            raise ParamsError(f"{path} must hold one list, `days`; write `days: []` where none is skipped")
        entries = [_entry(path, number, value) for number, value in enumerate(listed, start=1)]
        days = [entry.day for entry in entries]
        twice = sorted({day for day in days if days.count(day) > 1})
        if twice:
            raise ParamsError(f"{path} lists {twice[0]} twice; keep one entry")
        return cls(tuple(sorted(entries, key=lambda entry: entry.day)))

    def write(self, path: Path) -> None:
        """Create or replace the record."""
        publish_text(
            path, HEADER + yaml.safe_dump({"days": [asdict(entry) for entry in self.entries]}, sort_keys=False, allow_unicode=True)
        )

    def of(self, part: Partition) -> SkippedDay | None:
        """The entry that leaves this partition out; None if it is to be used."""
        return next((entry for entry in self.entries if entry.covers(part)), None)

    def used(self, parts: Sequence[Partition]) -> list[Partition]:
        """The partitions that are not left out."""
        return [part for part in parts if self.of(part) is None]

    def within(self, parts: Sequence[Partition]) -> list[SkippedDay]:
        """The entries that leave one of these partitions out; entries of days that are gone or were mended do not."""
        return [entry for entry in self.entries if any(entry.covers(part) for part in parts)]

    def skip(self, part: Partition, why: str, now: datetime) -> SkippedDays:
        """The record with this partition left out.

        Args:
            part: the day; an entry for an earlier content of it is replaced.
            why: the reason; must not be empty.
            now: the moment of the decision, with a time zone.

        Raises:
            ParamsError: there is no reason.
        """
        reason = " ".join(why.split())
        if not reason:
            raise ParamsError(f"skipping {part.day} needs a reason that others will understand later; add --why TEXT")
        entry = SkippedDay(part.day, part.digest, reason, now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        others = [other for other in self.entries if other.day != part.day]
        return SkippedDays(tuple(sorted([*others, entry], key=lambda one: one.day)))

    def take_back(self, day: str) -> SkippedDays:
        """The record without this day.

        Raises:
            ParamsError: the day is not in it.
        """
        if day not in {entry.day for entry in self.entries}:
            listed = ", ".join(entry.day for entry in self.entries) or "none"
            raise ParamsError(f"{day} is not skipped, so there is nothing to undo; skipped days: {listed}")
        return SkippedDays(tuple(entry for entry in self.entries if entry.day != day))


def _entry(path: Path, number: int, value: Any) -> SkippedDay:
    """A checked entry; YAML reads unquoted days and moments as dates, which are as good."""
    names = [field.name for field in fields(SkippedDay)]
    if not isinstance(value, dict) or set(value) != set(names):
        raise ParamsError(f"{path} entry {number} must have exactly {', '.join(names)}; let `amtl skip-day` write it")
    entry = SkippedDay(**{name: str(value[name] or "").strip() for name in names})
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", entry.day) or not re.fullmatch(r"[0-9a-f]{64}", entry.digest) or not entry.why:
        raise ParamsError(f"{path} entry {number} needs a day YYYY-MM-DD, a digest of 64 hex digits and a reason; use `amtl skip-day`")
    return entry
