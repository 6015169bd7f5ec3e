"""Promotion and rollback: the alias `champion` moves by compare, note, set, read back, confirm."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from amtl.errors import RegistryError
from amtl.release.registry import history
from amtl.release.registry.artifacts import fetch
from amtl.release.registry.store import CHALLENGER, CHAMPION, Version, aliases, aliases_of, champion, connected, get, now, or_none, tag

ROLLED_BACK = "amtl.rolled_back_at"
RETIRED = "amtl.retired_at"


def promote(name: str, number: int, expected: int | None, by: str, reason: str, automatic: bool = False) -> Version:
    """Make a version the champion, if the champion still is `expected` (None: there is none).

    Promoting the present champion changes nothing. Otherwise the ledger gets an entry, and the version loses the alias
    `challenger` if it has it; the old champion stays registered.

    Raises:
        RegistryError: no such version; another champion than expected; or, when `automatic`, a version that was rolled back from.
    """
    version = get(name, number)
    if automatic and ROLLED_BACK in version.tags:
        when = version.tags[ROLLED_BACK]
        raise RegistryError(f"version {number} of {name} was rolled back from at {when}; only `amtl promote {number}` brings it back")
    return _move(name, number, expected, history.Entry(0, number, expected, "promote", now(), by, reason))


def rollback(name: str, by: str, reason: str, to: int | None = None) -> Version:
    """Make the champion before this one (or the version `to`) the champion, once it has been fetched, loaded and asked.

    The version rolled back from is tagged, so that no automatic promotion brings it back.

    Raises:
        RegistryError: there is no champion, or none before it, or the target is gone; the alias has not moved.
        ArtifactError: the target is damaged; the alias has not moved.
    """
    present = champion(name)
    if present is None:
        raise RegistryError(f"{name} has no champion to roll back from; `amtl promote VERSION` makes one")
    target = to if to is not None else history.before(_entries(name), present.number)
    if target is None or target == present.number:
        raise RegistryError(f"version {present.number} of {name} has no champion before it; name another version to roll back to")
    smoke_test(name, target)
    tag(name, present.number, {ROLLED_BACK: now(), "amtl.rolled_back_reason": reason})
    return _move(name, target, present.number, history.Entry(0, target, present.number, "rollback", now(), by, reason))


def smoke_test(name: str, number: int) -> None:
    """Fetch a version's bundle, load it and predict one event of unknown values.

    Raises:
        RegistryError: there is no such version, or its answer is no probability.
        ArtifactError: its bundle is missing or damaged.
    """
    from amtl.packing.bundle import load

    with tempfile.TemporaryDirectory(prefix="amtl-") as folder:
        predictor = load(fetch(name, number, "bundle", Path(folder) / "bundle"))
        answer = predictor.predict(_unknown_event(predictor.manifest["events"]["fields"]))
    if len(answer) != 1 or not 0 <= float(answer[0]) <= 1:
        raise RegistryError(f"version {number} of {name} answers {answer!r} to an event of unknown values; that is no probability")


def ledger(name: str) -> list[history.Tenure]:
    """Who was champion, from when until when, by whom and why, the oldest first."""
    present = champion(name)
    return history.tenures(_entries(name), present.number if present else None)


def _move(name: str, number: int, expected: int | None, entry: history.Entry) -> Version:
    """Move the alias. After a crash the same call confirms what was done, or does it anew."""
    entries = _entries(name)
    with connected() as client:
        present = aliases(client, name).get(CHAMPION)
        if present != number:
            _require(name, present, expected)
            entry = history.following(entries, entry)
            _settle(name, entries)
            client.set_registered_model_tag(name, entry.key, entry.text())
            client.set_registered_model_alias(name, CHAMPION, str(number))
            entries = [*entries, entry]
        after = aliases(client, name)
        _require(name, after.get(CHAMPION), number)
        if after.get(CHALLENGER) == number:
            client.delete_registered_model_alias(name, CHALLENGER)
    _settle(name, entries)
    return get(name, number)


def _require(name: str, present: int | None, expected: int | None) -> None:
    if present != expected:
        found = f"version {present}" if present is not None else "no version"
        wanted = f"version {expected}" if expected is not None else "none"
        raise RegistryError(f"the champion of {name} is {found}, not {wanted} as expected: someone moved it; judge again (`amtl retrain`)")


def _settle(name: str, entries: Sequence[history.Entry]) -> None:
    """Tag the two versions of the last move and mark it as done, if that has not been so yet."""
    if not entries or entries[-1].done:
        return
    entry = entries[-1]
    replaced = "none" if entry.replaced is None else str(entry.replaced)
    why = {"amtl.promoted_at": entry.at, "amtl.promoted_by": entry.by, "amtl.replaced": replaced, "amtl.reason": entry.reason}
    tag(name, entry.version, why)
    with connected() as client:
        if RETIRED in get(name, entry.version).tags:
            client.delete_model_version_tag(name, str(entry.version), RETIRED)
        if entry.replaced is not None and or_none(lambda: client.get_model_version(name, replaced)):
            tag(name, entry.replaced, {RETIRED: entry.at})
        client.set_registered_model_tag(name, entry.key, replace(entry, done=True).text())


def _entries(name: str) -> list[history.Entry]:
    with connected() as client:
        model = or_none(lambda: client.get_registered_model(name))
        return history.parse(model.tags, aliases_of(model).get(CHAMPION)) if model else []


def _unknown_event(fields: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    empty: dict[str, Any] = {"id": None, "ids": [], "number": 0.0}
    return {entry["name"]: [empty[entry.get("kind", "id")]] for entry in fields}
