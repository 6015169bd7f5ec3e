"""A day beside the days before it: which jumps are seen, and which are not."""

from dataclasses import dataclass

import days
import numpy as np
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.params import ValidateParams
from amtl.validation import history
from amtl.validation.checks import breaks, checks
from amtl.validation.profile import DAY, Profile, profile

ROWS = 2000


def usual(day, rows=ROWS, clicks=0.1, arrivals=20):
    """A day of 200 users, some of them new each day, and of ten items."""
    random = np.random.default_rng(day)
    return days.frame(rows, day).with_columns(
        user=pl.Series(random.integers(day * arrivals, day * arrivals + 200, rows)),
        item=pl.Series([f"item {number}" for number in random.integers(0, 10, rows)]),
        click=pl.Series((random.random(rows) < clicks).astype(np.int8)),
        price=pl.lit(5.0),
        tags=pl.lit(["a"]),
    )


@dataclass(frozen=True)
class Days:
    """Profiled days, and the severities of what the newest breaks, by column."""

    seen: list[Profile]

    @property
    def last(self):
        return {line["column"]: line for line in self.seen[-1].lines.iter_rows(named=True)}

    def broken(self, **limits):
        bounds = checks(days.events(), ValidateParams(**limits))
        lines = self.last.values()
        return {(line["column"], check.figure, check.severity) for line in lines for check in bounds if breaks(check, line)}


def judged(tmp_path, *frames, **changes):
    for day, frame in enumerate(frames):
        days.write(tmp_path, day, frame)
    seen = []
    for part in ev.partitions(tmp_path):
        seen.append(history.compare(profile(part, days.events(**changes)), seen[-7:]))
    return Days(seen)


def week(*after, **changes):
    return [*(usual(day, **changes) for day in range(6)), *after]


def test_usual_days_break_nothing(tmp_path):
    found = judged(tmp_path, *week(usual(6, rows=1500, clicks=0.11)))
    assert found.broken() == set()
    assert found.last["user"]["new_share"] == pytest.approx(0.1, abs=0.03)
    assert found.last[DAY]["usual"] == ROWS
    assert found.last[DAY]["preceding"] == 6


@pytest.mark.parametrize(
    ("frame", "severities"),
    [
        (usual(6, rows=ROWS // 10), {"critical", "warning"}),
        (usual(6, rows=ROWS * 10), {"critical", "warning"}),
        (usual(6, rows=ROWS // 4), {"warning"}),
        (usual(6, rows=ROWS // 2), set()),
    ],
)
def test_a_jump_of_the_volume(tmp_path, frame, severities):
    found = judged(tmp_path, *week(frame))
    assert {severity for column, figure, severity in found.broken() if (column, figure) == (DAY, "volume_jump")} == severities
    assert not any(figure == "volume_jump" for _, figure, _ in found.broken(volume_jump=None))


@pytest.mark.parametrize(
    ("clicks", "severities"), [(0.33, {"critical", "warning"}), (0.02, {"critical", "warning"}), (0.22, {"warning"}), (0.12, set())]
)
def test_a_jump_of_the_label_rate(tmp_path, clicks, severities):
    found = judged(tmp_path, *week(usual(6, clicks=clicks)))
    assert {severity for _, figure, severity in found.broken() if figure == "label_rate_jump"} == severities


def test_few_labels_are_no_jump(tmp_path):
    found = judged(tmp_path, *week(usual(6, rows=20).with_columns(click=pl.int_range(20) % 3 == 0)))
    assert found.last["click"]["label_rate_jump"] == 1.0


def test_few_rows_are_no_jump(tmp_path):
    small = [usual(day, rows=20) for day in range(6)]
    alone = usual(6, rows=1).with_columns(user=pl.lit(-1), item=pl.lit("other"))
    found = judged(tmp_path / "few", *small, alone)
    assert not any("jump" in figure for _, figure, _ in found.broken())
    found = judged(tmp_path / "many", *week(alone))
    assert (DAY, "volume_jump", "critical") in found.broken()
    assert ("user", "new_values_jump", "critical") not in found.broken()


def test_the_factor_is_the_same_for_labels_that_are_turned_around(tmp_path):
    found = judged(tmp_path / "a", *week(usual(6, clicks=0.33)))
    turned = [frame.with_columns(1 - pl.col("click")) for frame in week(usual(6, clicks=0.33))]
    other = judged(tmp_path / "b", *turned)
    assert other.last["click"]["label_rate_jump"] == pytest.approx(found.last["click"]["label_rate_jump"])


def test_a_jump_of_new_values(tmp_path):
    other = pl.when(pl.int_range(pl.len()) % 2 == 0).then(-1 - pl.col("user")).otherwise("user")
    rewritten = usual(6).with_columns(item="Item-" + pl.col("item"), user=other)
    broken = judged(tmp_path, *week(rewritten)).broken()
    assert {("item", "new_values_jump", "critical"), ("user", "new_values_jump", "warning")} <= broken
    assert ("user", "new_values_jump", "critical") not in broken


def test_values_that_are_always_new_are_usual(tmp_path):
    found = judged(tmp_path, *week(usual(6, arrivals=1000), arrivals=1000))
    assert found.last["user"]["new_share"] == 1.0
    assert found.broken() == set()


def test_the_first_days_are_not_judged_by_what_is_usual(tmp_path):
    found = judged(tmp_path, usual(0), usual(1), usual(2, rows=ROWS // 10, clicks=0.9).with_columns(item="x" + pl.col("item")))
    assert found.broken() == set()


def test_one_odd_day_does_not_change_what_is_usual(tmp_path):
    found = judged(tmp_path, *week(usual(6, rows=10 * ROWS, clicks=0.5), usual(7)))
    assert found.broken() == set()


def test_another_time_zone_than_the_day_before(tmp_path):
    for number, change in enumerate((lambda at: at.dt.convert_time_zone("Asia/Tokyo"), lambda at: at.dt.replace_time_zone(None))):
        found = judged(tmp_path / str(number), usual(0), usual(1).with_columns(change(pl.col("at"))))
        assert found.broken() == {("at", "rezoned", "critical")}
        assert found.last["at"]["before"] == "UTC"


def test_columns_that_came_went_or_changed_their_type(tmp_path):
    before = usual(0).with_columns(extra=pl.lit("x"), old=1)
    after = usual(1).drop("item").with_columns(pl.col("user").cast(pl.Int32), extra=pl.lit("x"), new=1)
    found = judged(tmp_path, before, after, usual(2).drop("item").with_columns(pl.col("user").cast(pl.Int32), extra=pl.lit("x"), new=1))
    second = Days(found.seen[:2])
    assert second.broken() == {
        ("user", "retyped", "warning"),
        ("item", "gone", "warning"),
        ("old", "gone", "warning"),
        ("new", "added", "warning"),
    }
    assert found.broken() == set(), "told once, on the day it happened"


def test_a_column_under_another_name_is_recognised_by_its_values(tmp_path):
    found = judged(tmp_path, usual(0), usual(1, arrivals=0).rename({"user": "visitor"}).with_columns(serial=pl.int_range(pl.len())))
    assert found.last["user"]["hint"] == " (was it renamed to visitor?)"
