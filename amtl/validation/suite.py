"""The user's own expectations: `expectations.yaml`, read and checked as far as it can be without Great Expectations.

An entry is one of Great Expectations' column expectations by its own name, with its own arguments. Entries stand under the
name of the data set that they are for (`events.name` in params.yaml), so that a swap of data sets leaves the file as it is:

    sample:
      - expect_column_values_to_match_regex: {column: item_id, regex: "^i[0-9]+$", mostly: 0.99}
        severity: warning                      # or critical, the default: the day is refused
        note: ids are given by the catalogue   # appears in the message and the documents
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from amtl.errors import ParamsError
from amtl.files import digest_of
from amtl.params import EventsParams
from amtl.validation.checks import Severity

COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Entry:
    """An expectation of the user's.

    Attributes:
        place: file and number of the entry, for messages.
        expectation: Great Expectations' name of it, such as "expect_column_values_to_be_in_set".
        arguments: as Great Expectations takes them.
        severity: `critical` refuses the day, `warning` is reported.
        note: why it is expected; may be empty.
    """

    place: str
    expectation: str
    arguments: dict[str, Any]
    severity: Severity = "critical"
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        named = [self.arguments.get(argument) for argument in COLUMN_ARGUMENTS]
        flat = [name for value in named for name in (value if isinstance(value, list) else [value])]
        return tuple(str(name) for name in flat if name is not None)

    def __str__(self) -> str:
        return f"{self.place} ({self.expectation})"


@dataclass(frozen=True)
class Suite:
    """The entries of a data set, in their order."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def read(cls, path: Path, events: EventsParams) -> Suite:
        """Read what the file expects of this data set; a file that is missing, or does not name it, expects nothing.

        Raises:
            ParamsError: it does not hold lists of entries as above. (What Great Expectations alone can tell, `expectations.verify` tells.)
        """
        if not path.exists():
            return cls()
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise ParamsError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
        raw = {} if raw is None else raw
        if not isinstance(raw, dict) or not all(isinstance(listed, list | None) for listed in raw.values()):
            raise ParamsError(f"{path} must hold a list of entries under the name of its data set, here {events.name} (events.name)")
        listed = raw.get(events.name) or []
        return cls(tuple(_entry(f"{path} entry {number} of {events.name}", value) for number, value in enumerate(listed, start=1)))

    @property
    def digest(self) -> str:
        """Digest of what is expected; comments and the order of keys are not part of it."""
        return digest_of([[entry.expectation, _plain(entry.arguments), entry.severity, entry.note] for entry in self.entries])


def _entry(place: str, value: Any) -> Entry:
    names = [key for key in value if str(key).startswith("expect_")] if isinstance(value, dict) else []
    if len(names) != 1:
        raise ParamsError(f"{place} must name one expectation: `expect_...: {{column: NAME, ...}}`")
    if not _is_plain(value):
        raise ParamsError(f"{place} holds something else than texts of whole characters, numbers, dates and lists of them")
    name, arguments = str(names[0]), value[names[0]]
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ParamsError(f"{place} ({name}) needs its arguments as {{column: NAME, ...}}")
    unknown = [str(key) for key in value if key not in {name, "severity", "note"}]
    if unknown:
        raise ParamsError(f"{place} ({name}): {unknown[0]} is not a known key; beside the expectation stand severity and note")
    severity, note = value.get("severity", "critical"), value.get("note", "")
    if severity not in SEVERITIES:
        raise ParamsError(f"{place} ({name}): severity is {' or '.join(SEVERITIES)} (got {severity!r})")
    if not isinstance(note, str):
        raise ParamsError(f"{place} ({name}): note is a text; put it in quotes (got {note!r})")
    return Entry(place, name, arguments, severity, " ".join(note.split()))


def _is_plain(value: Any) -> bool:
    """Whether a YAML value can be written as JSON; YAML has sets, and reads JSON's two escapes of one character as two halves."""
    try:
        return bool(json.dumps(_plain(value), ensure_ascii=False).encode())
    except (TypeError, UnicodeEncodeError):
        return False


def _plain(value: Any) -> Any:
    """A YAML value as a JSON value: dates and moments become text."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
