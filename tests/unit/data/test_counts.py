"""Counting: what a run counts anew, what it uses again, and what it reports."""

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.data.counts import Moments, count
from amtl.data.split import select
from amtl.errors import DataError
from amtl.params import CountParams

EVENTS = days.events()


def run(tmp_path, events=EVENTS, base=None, min_count=1):
    return count(ev.partitions(tmp_path / "events"), events, CountParams(min_count=min_count), base, tmp_path / "cache")


def names(*numbers):
    return [f"2026-01-{number:02d}" for number in numbers]


def test_a_new_day_costs_one_day(tmp_path):
    days.days(tmp_path / "events", 5)
    first = run(tmp_path)
    assert (first.report["counted"], first.report["reused"]) == (names(1, 2, 3, 4, 5), [])
    days.write(tmp_path / "events", 5, days.frame(60, 5))
    second = run(tmp_path, base=first.vocabulary)
    assert (second.report["counted"], second.report["reused"]) == (names(6), names(1, 2, 3, 4, 5))
    third = run(tmp_path, base=second.vocabulary)
    assert third.report["counted"] == []
    assert third.vocabulary.frame.equals(second.vocabulary.frame)


def test_only_the_day_that_the_end_of_training_cuts_is_counted_in_part(tmp_path):
    days.days(tmp_path / "events", 5)
    assert run(tmp_path).report["boundary"] == []
    days.write(tmp_path / "events", 5, days.frame(30, 5))
    found = run(tmp_path)
    assert found.report["boundary"] == names(4)
    assert found.report["rows"] == {"train": 198, "validation": 66, "test": 66}
    assert sum(found.vocabulary.frame.filter(pl.col("field") == "user")["count"]) == 198


def test_training_reaches_up_to_test_where_validation_goes_by_hash(tmp_path):
    days.days(tmp_path / "events", 5)
    events = days.events(split=days.SPLIT | {"validation_by": "random"})
    found = run(tmp_path, events)
    assert found.bounds.validation_from is None
    assert found.report["rows"]["test"] == 60
    assert 140 < found.report["rows"]["train"] < 220
    train = select(ev.scan(ev.partitions(tmp_path / "events"), events), events, found.bounds, "train").collect()
    assert len(train) == found.report["rows"]["train"]
    assert train["at"].max().day == 4


def test_changed_content_is_counted_again(tmp_path):
    days.days(tmp_path / "events", 5)
    run(tmp_path)
    days.write(tmp_path / "events", 1, days.frame(60, 1, seed=9))
    assert run(tmp_path).report["counted"] == names(2)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"name": "other"}, 0),
        ({"fields": days.FIELDS[::-1]}, 0),
        ({"split": days.SPLIT | {"test": 0.3, "seed": 7}}, 0),
        ({"fields": days.FIELDS[:3]}, 5),
        ({"fields": [days.FIELDS[0], days.FIELDS[2], {"name": "price", "kind": "number", "optional": True}]}, 5),
        ({"split": days.SPLIT | {"kind": "random"}}, 5),
    ],
)
def test_settings_that_change_no_count_use_the_counts_again(tmp_path, changes, counted):
    days.days(tmp_path / "events", 5)
    run(tmp_path)
    assert len(run(tmp_path, days.events(**changes)).report["counted"]) == counted


def test_a_damaged_count_is_made_again(tmp_path):
    days.days(tmp_path / "events", 4)
    first = run(tmp_path)
    paths = sorted((tmp_path / "cache" / "counts").iterdir())
    for path in paths[::2]:
        path.write_bytes(path.read_bytes()[:-20])
    for path in paths[1::2]:
        pl.DataFrame({"a": [1]}).write_parquet(path)
    again = run(tmp_path)
    assert len(again.report["counted"]) == 4
    assert again.vocabulary.frame.equals(first.vocabulary.frame)


def test_the_parents_values_keep_their_rows_and_the_report_tells_the_new_ones(tmp_path):
    days.days(tmp_path / "events", 4)
    parent = run(tmp_path).vocabulary
    newcomers = days.frame(600, 4).with_columns(item=pl.lit("item new"))
    days.write(tmp_path / "events", 4, newcomers)
    child = run(tmp_path, base=parent)
    rows = {(field, value): row for field, value, row, *_ in child.vocabulary.frame.iter_rows()}
    assert all(rows[field, value] == row for field, value, row, *_ in parent.frame.iter_rows())
    assert child.report["fields"]["item"] == {"values": parent.sizes["item"], "new": 1}
    assert child.report["fields"]["tags"] == {"values": 5, "new": 0}


def test_rare_values_get_no_row(tmp_path):
    days.days(tmp_path / "events", 4)
    frequent = run(tmp_path, min_count=5).vocabulary.frame.filter(pl.col("row") > 0)
    assert frequent["count"].min() >= 5


def test_a_split_that_leaves_a_part_empty_is_refused(tmp_path):
    words = pl.Series(["train", "test"] * 30)
    days.write(tmp_path / "events", 0, days.frame(60).with_columns(part=words))
    with pytest.raises(DataError, match="validation 0 rows"):
        run(tmp_path, days.events(split={"kind": "column", "column": "part"}, time=None))


def test_moments_merge_exactly_far_from_zero():
    left, right = [1e9 + 1, 1e9 + 2], [1e9 + 3, 1e9 + 4, 1e9 + 8]

    def of(values):
        mean = sum(values) / len(values)
        return Moments(len(values), mean, sum((value - mean) ** 2 for value in values))

    merged, whole = of(left).merged(of(right)), of(left + right)
    assert merged.count == 5
    assert merged.mean == pytest.approx(whole.mean, rel=1e-15)
    assert merged.squares == pytest.approx(whole.squares, rel=1e-9)
    assert Moments().merged(whole) == whole == whole.merged(Moments())
