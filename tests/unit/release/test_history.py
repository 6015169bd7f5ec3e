from __future__ import annotations

import pytest

from amtl.errors import RegistryError
from amtl.release.registry.history import Entry, before, following, parse, tenures


def moves(*steps: tuple[str, int]) -> list[Entry]:
    """A ledger of (action, version) steps, one a second."""
    entries: list[Entry] = []
    for second, (action, version) in enumerate(steps):
        replaced = entries[-1].version if entries else None
        move = Entry(0, version, replaced, action, f"at {second}", "test", f"step {second}", done=True)  # type: ignore[arg-type]
        entries.append(following(entries, move))
    return entries


def test_three_promotions_back_twice_forward_once() -> None:
    steps = [("promote", 1), ("promote", 2), ("promote", 3)]
    assert before(moves(*steps), 3) == 2
    steps.append(("rollback", 2))
    assert before(moves(*steps), 2) == 1
    steps.append(("rollback", 1))
    assert before(moves(*steps), 1) is None
    steps.append(("promote", 3))
    assert before(moves(*steps), 3) == 1
    assert [(tenure.version, tenure.since, tenure.until) for tenure in tenures(moves(*steps), 3)] == [
        (1, "at 0", "at 1"),
        (2, "at 1", "at 2"),
        (3, "at 2", "at 3"),
        (2, "at 3", "at 4"),
        (1, "at 4", "at 5"),
        (3, "at 5", None),
    ]


def test_a_rollback_far_back_skips_what_lies_between() -> None:
    entries = moves(("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 1))
    assert before(entries, 1) is None


def test_a_version_that_came_twice_has_its_last_predecessor() -> None:
    assert before(moves(("promote", 1), ("promote", 2), ("promote", 1)), 1) == 2


def test_an_alias_moved_outside_shows_and_can_be_rolled_back() -> None:
    entries = moves(("promote", 1), ("promote", 2))
    assert [(tenure.version, tenure.until, tenure.action) for tenure in tenures(entries, 7)] == [
        (1, "at 1", "promote"),
        (2, "", "promote"),
        (7, None, "outside"),
    ]
    assert before(entries, 7) == 2
    assert [tenure.until for tenure in tenures(entries, None)] == ["at 1", ""]
    assert tenures([], None) == []


def test_entries_come_back_in_order_and_a_move_that_did_not_happen_is_ignored() -> None:
    entries = moves(*[("promote", number) for number in range(1, 12)])
    dead = Entry(12, 99, 11, "promote", "at 12", "test", "killed")
    tags = {entry.key: entry.text() for entry in [*entries, dead]} | {"other": "tag"}
    assert parse(tags, 11) == entries
    assert parse(tags, 99) == [*entries, dead]
    assert following(parse(tags, 11), dead).index == 12


def test_a_damaged_entry_is_named() -> None:
    for text in ("no json", "[]", '{"index": 1}'):
        with pytest.raises(RegistryError, match=r"amtl\.ledger\.000001"):
            parse({"amtl.ledger.000001": text}, None)
