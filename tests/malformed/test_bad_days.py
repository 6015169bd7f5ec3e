"""Every bad day of the table (tests/bad_days.py) gets the verdict of its written rule, and the message that goes with it.

Great Expectations takes seconds to start, so one run judges all days that must be refused, and another all others. Each comes after
good days, since a day is judged beside those before it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bad_days import ACCEPTED, EVENTS, EXPECTATIONS, REFUSED, UNEXPECTED, Day
from damage import day_of, good

from amtl.data.events import collect, partitions, scan
from amtl.data.soundness import offences
from amtl.errors import DataError, ValidationError
from amtl.files import read_json
from amtl.params import ValidateParams
from amtl.validation.skipped import SkippedDays
from amtl.validation.suite import Suite
from amtl.validation.validate import validate

DOCS = Path(__file__).parents[2] / "docs"
GOOD_DAYS = 4
PARAMS = ValidateParams(min_rows=10, label_rate=(0.05, 0.95), history=1000)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Judged(NamedTuple):
    """A run: where, what it says of all days, and its error (empty if it passed)."""

    root: Path
    report: dict[str, Any]
    error: str = ""

    def said(self, kind: str, day: int) -> list[str]:
        """Problems or warnings of a day."""
        return [text for text in self.report[kind] if text.startswith(str(day_of(day)))]


def folder_of(root: Path, day: int) -> Path:
    return root / "events" / f"date={day_of(day)}"


def write(root: Path, cases: dict[int, Day], number: int) -> None:
    """Deliver days: those of cases by their number, and good ones."""
    for day in range(number):
        folder_of(root, day).mkdir(parents=True)
        if day in cases:
            cases[day].damage(folder_of(root, day), good(day))
        else:
            good(day).write_parquet(folder_of(root, day) / "events.parquet")


def judge(root: Path, skipped: SkippedDays | None = None) -> dict[str, Any]:
    suite = Suite.read(root / "expectations.yaml", EVENTS)
    return validate(partitions(root / "events"), skipped or SkippedDays(), suite, EVENTS, PARAMS, root / "cache", root / "build")


BAD = dict(enumerate(REFUSED, start=GOOD_DAYS))
OTHER = {GOOD_DAYS + 2 * number: case for number, case in enumerate(ACCEPTED)}
"""Between two of them lies a good day, so that what is said of one is not said because of another."""


@pytest.fixture(scope="module")
def refused(tmp_path_factory) -> Judged:
    root = tmp_path_factory.mktemp("refused")
    write(root, BAD, GOOD_DAYS + len(BAD))
    with pytest.raises(ValidationError) as raised:
        judge(root)
    return Judged(root, read_json(root / "build" / "report.json"), str(raised.value))


@pytest.fixture(scope="module")
def accepted(tmp_path_factory) -> Judged:
    root = tmp_path_factory.mktemp("accepted")
    write(root, OTHER, GOOD_DAYS + 2 * len(OTHER))
    return Judged(root, judge(root))


@pytest.mark.parametrize("day", BAD, ids=map(str, REFUSED))
def test_a_bad_day_is_refused_and_told_why(refused, day):
    problems = refused.said("problems", day)
    assert len(problems) == BAD[day].messages, problems
    assert any(BAD[day].says in problem for problem in problems), problems
    assert not any("\n" in problem for problem in problems)


@pytest.mark.parametrize("day", OTHER, ids=map(str, ACCEPTED))
def test_another_is_accepted_without_the_rows_that_do_not_count(accepted, day):
    case, warnings = OTHER[day], accepted.said("warnings", day)
    assert len(warnings) == (case.messages if case.says else 0), warnings
    assert not case.says or any(case.says in warning for warning in warnings), warnings
    assert sum(accepted.report["quarantined"].get(str(day_of(day)), {}).values()) == case.rows


def test_a_day_of_unexpected_values_is_refused_by_the_entry(tmp_path):
    write(tmp_path, {1: UNEXPECTED}, 3)
    (tmp_path / "expectations.yaml").write_text(EXPECTATIONS, encoding="utf-8")
    with pytest.raises(ValidationError) as raised:
        judge(tmp_path)
    assert str(raised.value).startswith(f"the events are refused: {day_of(1)} {UNEXPECTED.says}")
    assert "expectations.yaml entry 1 of days" in str(raised.value)


def test_the_refusal_names_every_bad_day_and_no_other(refused):
    assert refused.report["refused"] == [str(day_of(day)) for day in BAD]
    assert not (refused.root / "build" / "accepted.json").exists()
    assert re.match(rf"the events are refused for \d+ reasons: \(1\) {day_of(GOOD_DAYS)}", refused.error)
    assert "amtl skip-day" in refused.error
    assert "Traceback" not in refused.error


def test_what_is_accepted_is_read_and_what_is_quarantined_is_not(accepted):
    listed = read_json(accepted.root / "build" / "accepted.json")["partitions"]
    found = collect(scan(partitions(accepted.root / "events"), EVENTS))
    assert len(found) == sum(part["rows"] for part in listed)
    assert sum(part["quarantined"] for part in listed) == sum(case.rows for case in ACCEPTED)
    assert found["click"].unique().sort().to_list() == [0, 1]
    assert found["at"].null_count() == found["part"].null_count() == 0


def test_without_the_bad_days_the_rest_is_accepted_and_a_mended_one_is_judged_again(refused, tmp_path):
    root = shutil.copytree(refused.root, tmp_path / "mended")
    parts = {part.day: part for part in partitions(root / "events")}
    skipped = SkippedDays()
    for day in BAD:
        skipped = skipped.skip(parts[str(day_of(day))], BAD[day].name, NOW)
    assert judge(root, skipped)["validated"] == [], "the good ones are not judged twice"
    assert len(read_json(root / "build" / "accepted.json")["partitions"]) == GOOD_DAYS
    mended = folder_of(root, GOOD_DAYS)
    shutil.rmtree(mended)
    mended.mkdir()
    good(GOOD_DAYS).write_parquet(mended / "events.parquet")
    assert judge(root, skipped)["validated"] == [str(day_of(GOOD_DAYS))], "a skip holds for the content that was skipped"
    assert len(read_json(root / "build" / "accepted.json")["partitions"]) == GOOD_DAYS + 1


@dataclass(frozen=True)
class Folder:
    """A folder of events that has no days to judge: what is in the way, and what is said."""

    name: str
    says: str
    damage: Callable[[Path], object]

    def __str__(self) -> str:
        return self.name


def a_day(root: Path) -> Path:
    return folder_of(root.parent, 0)


def unreadable(root: Path) -> None:
    (a_day(root) / "events.parquet").chmod(0)


FOLDERS = [
    Folder("none", "does not exist; make events with `amtl sample` or bring yours with `amtl ingest`", shutil.rmtree),
    Folder("empty", "holds no day of events", lambda root: shutil.rmtree(a_day(root))),
    Folder("a month of 13", "date=2026-13-01 is no day of events", lambda root: (root / "date=2026-13-01").mkdir()),
    Folder("a date of few digits", "date=2026-1-2 is no day of events", lambda root: (root / "date=2026-1-2").mkdir()),
    Folder("another word", "day=2026-01-02 is no day of events; a day is a folder date=", lambda root: (root / "day=2026-01-02").mkdir()),
    Folder("a file where a day should be", "a day is a folder", lambda root: (root / "date=2026-01-02").touch()),
    Folder("a folder within a day", "holds hour=7, which is no Parquet file", lambda root: (a_day(root) / "hour=7").mkdir()),
    Folder(
        "CSV within a day", "holds a.csv, which is no Parquet file; remove it or convert it", lambda root: (a_day(root) / "a.csv").touch()
    ),
    Folder("a link to nowhere", "holds b.parquet, which is no", lambda root: (a_day(root) / "b.parquet").symlink_to("gone")),
    Folder("a day without files", "holds no Parquet file; deliver the day again", lambda root: (a_day(root) / "events.parquet").unlink()),
    Folder("a file that may not be read", "cannot be read: Permission denied; check its permissions", unreadable),
]


@pytest.mark.parametrize("case", FOLDERS, ids=map(str, FOLDERS))
def test_what_is_no_day_is_named_before_any_day_is_judged(tmp_path, case):
    if case.damage is unreadable and os.geteuid() == 0:
        pytest.skip("root may read everything")
    write(tmp_path, {}, 1)
    case.damage(tmp_path / "events")
    with pytest.raises(DataError, match=re.escape(case.says)):
        judge(tmp_path)
    assert not (tmp_path / "build" / "accepted.json").exists()


def test_every_written_rule_has_a_case_and_every_case_a_written_rule():
    figures = re.findall(r"^\| (.+?) \|", (DOCS / "validation.md").read_text(encoding="utf-8").partition("| figure |")[2], re.MULTILINE)
    schema = re.findall(r"^\| (D\d+) \|", (DOCS / "schema.md").read_text(encoding="utf-8"), re.MULTILINE)
    reasons = [offence.reason for offence in offences(EVENTS)]
    told = {case.rule for case in [*REFUSED, *ACCEPTED, UNEXPECTED]}
    assert told <= {*figures, *schema, *reasons}
    assert {*figures, *reasons} <= told
