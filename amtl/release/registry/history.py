"""The ledger of champions: who was it, from when until when, and why. Pure; `promotion` keeps the entries in MLflow.

An entry is written before the alias moves and marked done afterwards. A crash in between leaves an entry that is not
done: it counts if the alias points where it says, and is ignored, then overwritten, if not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from amtl.errors import RegistryError

PREFIX = "amtl.ledger."


@dataclass(frozen=True)
class Entry:
    """One move of the champion alias.

    Attributes:
        index: place in the ledger, from 1.
        version: the version that became champion.
        replaced: the champion before, None for the first.
        action: a promotion, or a rollback to an earlier champion.
        at: time of the move, UTC, ISO 8601.
        by: who or what moved it.
        reason: why, one sentence.
        done: the alias was seen to have moved.
    """

    index: int
    version: int
    replaced: int | None
    action: Literal["promote", "rollback"]
    at: str
    by: str
    reason: str
    done: bool = False

    @property
    def key(self) -> str:
        """Name of the tag that holds this entry."""
        return f"{PREFIX}{self.index:06d}"

    def text(self) -> str:
        """Content of the tag that holds this entry."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Tenure:
    """A time as champion. `since` is empty when the alias was moved outside amtl; `until` is None while it lasts."""

    version: int
    since: str
    until: str | None
    by: str
    reason: str
    action: str


def parse(tags: Mapping[str, str], champion: int | None) -> list[Entry]:
    """The moves that happened, oldest first, from the tags of the registered model and the present champion.

    Raises:
        RegistryError: an entry is damaged.
    """
    entries = [_entry(key, tags[key]) for key in sorted(tags) if key.startswith(PREFIX)]
    if entries and not entries[-1].done and entries[-1].version != champion:
        entries.pop()
    return entries


def following(entries: Sequence[Entry], move: Entry) -> Entry:
    """`move` with the next free index."""
    return replace(move, index=entries[-1].index + 1 if entries else 1)


def tenures(entries: Sequence[Entry], champion: int | None) -> list[Tenure]:
    """Who was champion from when until when, oldest first; a move made outside amtl shows as one without a time."""
    ends: list[str | None] = [entry.at for entry in entries[1:]]
    rows = [
        Tenure(entry.version, entry.at, until, entry.by, entry.reason, entry.action)
        for entry, until in zip(entries, [*ends, None], strict=False)
    ]
    if champion == (rows[-1].version if rows else None):
        return rows
    if rows:
        rows[-1] = replace(rows[-1], until="")
    if champion is not None:
        rows.append(Tenure(champion, "", None, "unknown", "the alias was moved outside amtl", "outside"))
    return rows


def before(entries: Sequence[Entry], champion: int | None) -> int | None:
    """The version that a rollback from `champion` goes to, None if there is none.

    Promotions stack up and a rollback takes the top off, so a second rollback goes further back, not forth again.
    """
    stack: list[int] = []
    for entry in entries:
        if entry.action == "rollback" and entry.version in stack:
            del stack[_last(stack, entry.version) + 1 :]
        else:
            stack.append(entry.version)
    if champion in stack:
        del stack[_last(stack, champion) :]
    return stack[-1] if stack else None


def _last(stack: list[int], version: int | None) -> int:
    return max(place for place, held in enumerate(stack) if held == version)


def _entry(key: str, text: str) -> Entry:
    try:
        return Entry(**json.loads(text))
    except (TypeError, ValueError):
        raise RegistryError(f"the ledger entry {key} is damaged: {text[:80]!r}; correct or delete that tag in MLflow") from None
