"""A skip holds for the content that it was given for, and the record survives being written and read."""

from datetime import UTC, datetime

import days
import pytest

from amtl.data.events import partitions
from amtl.errors import ParamsError
from amtl.validation.skipped import SkippedDays

NOW = datetime(2026, 2, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def parts(tmp_path):
    return days.days(tmp_path / "events", 3, rows=5)


def test_a_skipped_day_is_left_out_and_taken_back(parts):
    record = SkippedDays().skip(parts[1], "  clicks were\n counted twice ", NOW)
    assert record.used(parts) == [parts[0], parts[2]]
    assert [(entry.day, entry.why, entry.when) for entry in record.within(parts)] == [
        ("2026-01-02", "clicks were counted twice", "2026-02-01T12:30:00Z")
    ]
    assert record.take_back("2026-01-02").used(parts) == parts


def test_a_mended_day_is_used_again(parts, tmp_path):
    record = SkippedDays().skip(parts[1], "broken", NOW)
    days.write(tmp_path / "events", 1, days.frame(5, 1, seed=9))
    mended = partitions(tmp_path / "events")
    assert record.used(mended) == mended
    assert record.within(mended) == []
    again = record.skip(mended[1], "still broken", NOW)
    assert [entry.why for entry in again.entries] == ["still broken"]


def test_the_record_is_the_same_after_writing_and_reading(parts, tmp_path):
    path = tmp_path / "skipped_days.yaml"
    assert SkippedDays.read(path) == SkippedDays()
    record = SkippedDays().skip(parts[2], 'said "no: – <b>', NOW).skip(parts[0], "- 'x'", NOW)
    record.write(path)
    assert SkippedDays.read(path) == record
    assert [entry.day for entry in record.entries] == ["2026-01-01", "2026-01-03"]
    record.take_back("2026-01-01").take_back("2026-01-03").write(path)
    assert path.read_text().startswith("# Days that are left out")
    assert SkippedDays.read(path) == SkippedDays()


def test_a_reason_is_needed_and_only_a_skipped_day_can_be_undone(parts):
    with pytest.raises(ParamsError, match="2026-01-01 needs a reason"):
        SkippedDays().skip(parts[0], " \n", NOW)
    with pytest.raises(ParamsError, match=r"2026-01-02 is not skipped.*skipped days: 2026-01-01"):
        SkippedDays().skip(parts[0], "x", NOW).take_back("2026-01-02")


ENTRY = "{day: 2026-01-01, digest: '" + "a" * 64 + "', why: x, when: 2026-02-01T12:30:00Z}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("days: [", "YAML"),
        ("", "one list, `days`"),
        ("[]", "one list, `days`"),
        ("days: []\nother: 1", "one list, `days`"),
        ("days: [{day: 2026-01-01}]", "entry 1 must have exactly day, digest, why, when"),
        (f"days: [{ENTRY.replace('why: x', 'why:  ')}]", "entry 1 needs"),
        (f"days: [{ENTRY.replace('aaaa', 'z')}]", "entry 1 needs"),
        (f"days: [{ENTRY.replace('2026-01-01', 'monday')}]", "entry 1 needs"),
        (f"days: [{ENTRY}, {ENTRY}]", "2026-01-01 twice"),
    ],
)
def test_a_damaged_record_is_refused_by_name(tmp_path, text, said):
    path = tmp_path / "skipped_days.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=said) as raised:
        SkippedDays.read(path)
    assert str(path) in str(raised.value)


def test_unquoted_days_and_moments_are_read(tmp_path):
    path = tmp_path / "skipped_days.yaml"
    path.write_text(f"days: [{ENTRY}]")
    assert SkippedDays.read(path).entries[0].day == "2026-01-01"
