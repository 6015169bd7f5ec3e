"""The edges of the rule that says which rows count, each row by hand; `tests/properties` holds the rest."""

from datetime import UTC, datetime, timedelta

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.data.soundness import soundness

START = datetime(2026, 1, 1, tzinfo=UTC)
CHARACTERS = [chr(number) for number in (*range(0x200), 0xFFFC, 0xFFFD, 0xFFFE)]


def sound_rows(tmp_path, events=None, **columns):
    """Which of the rows with these values the scan lets through; all else about them is sound."""
    rows = len(next(iter(columns.values())))
    frame = pl.DataFrame({"user": range(rows), "item": "item", "tags": [["tag"]] * rows, "price": 1.0, "click": 0, "at": START} | columns)
    days.write(tmp_path, 0, frame)
    return ev.collect(ev.scan(ev.partitions(tmp_path), events or days.events()))["user"].to_list()


@pytest.mark.parametrize("column", ["item", "tags"])
def test_control_characters_but_tab_and_line_ends_and_the_replacement_character_are_damage(tmp_path, column):
    texts = [f"a{character}b" for character in CHARACTERS]
    kept = sound_rows(tmp_path, **{column: [[text] for text in texts] if column == "tags" else texts})
    damage = {*range(0x20), *range(0x7F, 0xA0), 0xFFFD} - {0x09, 0x0A, 0x0D}
    assert [CHARACTERS[row] for row in kept] == [character for character in CHARACTERS if ord(character) not in damage]


def test_a_range_includes_its_ends(tmp_path):
    assert sound_rows(tmp_path, price=[-1e-9, 0.0, 100.0, 100.0000001, float("nan"), float("-inf")]) == [1, 2, 4]


@pytest.mark.parametrize(("hours", "kept"), [(24, [2, 3, 4, 5]), (1.5, [3, 4]), (0, [3]), (None, [0, 1, 2, 3, 4, 5, 6])])
def test_hours_off_the_day_are_counted_from_both_its_ends_the_last_moment_not_included(tmp_path, hours, kept):
    times = [-10_000, -24 - 1e-6, -24, 0, 24, 48 - 1e-6, 48]
    moments = [START + timedelta(hours=time) for time in times]
    assert sound_rows(tmp_path, days.events(hours_off_day=hours), at=moments) == kept


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"hours_off_day": 12}, False),
        ({"hours_off_day": None}, False),
        ({"fields": [days.FIELDS[0], {"name": "price", "kind": "number", "range": [0, 99]}]}, False),
        ({"fields": [{"name": "user"}, *days.FIELDS[1:]]}, False),
        ({"label": "item 2"}, False),
        ({"fields": days.FIELDS[::-1], "name": "other", "compare_days": False}, True),
    ],
)
def test_what_decides_which_rows_count_is_told_apart(changes, same):
    """It is in the key of everything that is kept about sound rows."""
    assert (soundness(days.events(**changes)) == soundness(days.events())) == same
