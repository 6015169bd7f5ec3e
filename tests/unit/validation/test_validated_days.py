"""What validation makes of days that come one after another: quarantine, history, kept and forgotten verdicts."""

import json
import os
import time

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import ValidationError
from amtl.params import ValidateParams
from amtl.validation import expectations, verdicts
from amtl.validation.checks import Finding, breaks
from amtl.validation.skipped import SkippedDays
from amtl.validation.suite import Suite
from amtl.validation.validate import validate

ROWS = 300


@pytest.fixture(autouse=True)
def judged(monkeypatch):
    """Days that reach the checks, run by run; the checks are evaluated without Great Expectations."""
    runs = []

    def judge(profiles, samples, checks, suite, events, documents):
        runs.append(sorted(set(profiles["day"])))
        broken = [(check, line) for line in profiles.iter_rows(named=True) for check in checks if breaks(check, line)]
        return [Finding(line["day"], line["column"], check.severity, check.figure) for check, line in broken]

    monkeypatch.setattr(expectations, "judge", judge)
    return runs


def run(root, **limits):
    params = ValidateParams(**{"label_rate": (0.05, 0.95)} | limits)
    return validate(ev.partitions(root / "events"), SkippedDays(), Suite(), days.events(), params, root / "cache", root / "build")


def write(root, day, rows=ROWS, bad=0, seed=0):
    """A day whose first `bad` rows have labels of 2."""
    frame = days.frame(rows, day, seed).with_columns(price=pl.lit(1.0), tags=pl.lit(["a"]))
    days.write(root / "events", day, frame.with_columns(click=pl.when(pl.int_range(pl.len()) < bad).then(2).otherwise("click")))


def name(day):
    return f"2026-01-{day + 1:02d}"


def quarantine(root, day):
    return pl.read_parquet(root / "build" / "quarantine" / f"date={name(day)}.parquet")


def test_rows_are_accepted_or_in_quarantine_also_of_days_judged_before(tmp_path):
    for day, bad in enumerate((0, 2, 3)):
        write(tmp_path, day, bad=bad)
    for _ in range(2):
        report = run(tmp_path)
        assert report["rows"] == {name(0): ROWS, name(1): ROWS - 2, name(2): ROWS - 3}
        assert report["quarantined"] == {name(day): {"click is neither 0 nor 1": day + 1} for day in (1, 2)}
        assert [(len(quarantine(tmp_path, day)), day + 1) for day in (1, 2)] == [(2, 2), (3, 3)]
        entries = json.loads((tmp_path / "build" / "accepted.json").read_text())["partitions"]
        assert [entry["rows"] + entry["quarantined"] for entry in entries] == [ROWS] * 3
        assert len(ev.collect(ev.scan(ev.partitions(tmp_path / "events"), days.events()))) == 3 * ROWS - 5
    assert report["validated"] == []


def test_a_refused_day_has_a_quarantine_and_the_days_beside_it_are_not_judged_again(tmp_path, judged):
    for day in range(3):
        write(tmp_path, day, bad=100 if day == 1 else 0)
    for _ in range(2):
        with pytest.raises(ValidationError, match=r"2026-01-02.*rows that are not sound in .*quarantine"):
            run(tmp_path)
        assert len(quarantine(tmp_path, 1)) == 100
        assert not (tmp_path / "build" / "accepted.json").exists()
    assert judged == [[name(0), name(1), name(2)], [name(1)]]
    write(tmp_path, 1)
    assert run(tmp_path)["quarantined"] == {}
    assert not (tmp_path / "build" / "quarantine").exists()


def test_a_day_is_compared_with_accepted_days_kept_or_new(tmp_path):
    for day in range(3):
        write(tmp_path, day)
    run(tmp_path)
    write(tmp_path, 3, rows=ROWS // 10)
    write(tmp_path, 4, rows=ROWS // 12)
    with pytest.raises(ValidationError, match=r"2 reasons: .*2026-01-04: volume_jump; .*2026-01-05: volume_jump"):
        run(tmp_path)
    write(tmp_path, 3)
    write(tmp_path, 4)
    assert run(tmp_path)["validated"] == [name(3), name(4)]
    profile = pl.read_parquet(tmp_path / "build" / "profile.parquet").filter(pl.col("column") == "item")
    assert profile["new_share"].to_list() == [None, 0.0, 0.0, 0.0, 0.0], "samples of days kept before are read"


def test_a_replaced_older_day_does_not_judge_later_ones_again(tmp_path):
    for day in range(5):
        write(tmp_path, day)
    run(tmp_path)
    write(tmp_path, 1, seed=1)
    assert run(tmp_path)["validated"] == [name(1)]


def test_only_so_many_days_before_are_looked_at(tmp_path):
    for day in range(4):
        write(tmp_path, day)
    run(tmp_path, history=2)
    profile = pl.read_parquet(tmp_path / "build" / "profile.parquet").filter(pl.col("column") == "(day)")
    assert profile["preceding"].to_list() == [None, 1, 2, 2]
    looked_at = [json.loads(path.read_text())["preceding"] for path in (tmp_path / "cache" / "validate").glob("*/findings.json")]
    assert sorted(looked_at) == [[], [name(0)], [name(0), name(1)], [name(1), name(2)]]


def test_verdicts_that_no_day_uses_go_when_they_are_old(tmp_path):
    for day in range(2):
        write(tmp_path, day)
    run(tmp_path)
    kept, old = tmp_path / "cache" / "validate", time.time() - (verdicts.KEPT_DAYS + 1) * 86_400
    for folder in kept.iterdir():
        os.utime(folder, (old, old))
    write(tmp_path, 1, seed=1)
    run(tmp_path)
    assert len(list(kept.iterdir())) == 2, "the one of the day that is still the same, and the new one"
    write(tmp_path, 1, seed=2)
    run(tmp_path)
    assert len(list(kept.iterdir())) == 3, "the replaced one is not old yet"
