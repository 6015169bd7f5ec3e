"""Counting: what a run counts anew, what it uses again, and what it reports."""

import shutil
from dataclasses import replace

import days
import polars as pl
import pytest

from amtl.counting.counts import count
from amtl.counting.partials import Moments
from amtl.data import events as ev
from amtl.data.split import select
from amtl.errors import DataError
from amtl.params import CountParams

EVENTS = days.events()


def run(tmp_path, events=EVENTS, base=None, **params):
    return count(ev.partitions(tmp_path / "events"), events, CountParams(**params), base, tmp_path / "cache")


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


@pytest.mark.parametrize(("split", "counted"), [({"kind": "random"}, 5), ({"validation_by": "random"}, 5), ({"validation_by": "time"}, 0)])
def test_where_rows_are_dealt_by_hash_a_polars_that_hashes_otherwise_counts_anew(tmp_path, monkeypatch, split, counted):
    events = days.events(split=days.SPLIT | split)
    days.days(tmp_path / "events", 5)
    run(tmp_path, events)
    monkeypatch.setattr("amtl.counting.partials.hash_probe", lambda events: "dealt anew")
    assert len(run(tmp_path, events).report["counted"]) == counted


@pytest.mark.parametrize("room", ["counts", "blocks"])
def test_a_flipped_byte_in_any_kept_file_changes_no_count(tmp_path, room):
    days.days(tmp_path / "events", 9, rows=30)
    events = days.events(split=days.SPLIT | {"kind": "random"})
    first = run(tmp_path, events)
    shutil.rmtree(tmp_path / "cache" / ("blocks" if room == "counts" else "none"), ignore_errors=True)
    for path in sorted((tmp_path / "cache" / room).rglob("*.*")):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    again = run(tmp_path, events)
    assert len(again.report["counted"]) == (9 if room == "counts" else 0)
    assert again.vocabulary.frame.equals(first.vocabulary.frame)
    assert again.scaling == first.scaling
    assert run(tmp_path, events).report["counted"] == []


@pytest.mark.parametrize("damage", ["cut", "replaced", "removed"])
def test_a_damaged_count_is_made_again(tmp_path, damage):
    days.days(tmp_path / "events", 4)
    first = run(tmp_path)
    for path in (tmp_path / "cache" / "counts").rglob("manifest.json" if damage == "cut" else "000.parquet"):
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-20])
        elif damage == "replaced":
            pl.DataFrame({"a": [1]}).write_parquet(path)
        else:
            path.unlink()
    again = run(tmp_path)
    assert len(again.report["counted"]) >= 2
    assert again.vocabulary.frame.equals(first.vocabulary.frame)


def test_the_parents_values_keep_their_rows_and_the_report_tells_the_new_ones(tmp_path):
    days.days(tmp_path / "events", 4)
    parent = run(tmp_path).vocabulary
    newcomers = days.frame(600, 4).with_columns(item=pl.lit("item new"))
    days.write(tmp_path / "events", 4, newcomers)
    child = run(tmp_path, base=parent)
    rows = {(field, value): row for field, value, row, *_ in child.vocabulary.frame.iter_rows()}
    assert all(rows[field, value] == row for field, value, row, *_ in parent.frame.iter_rows())
    nothing = {"min_count": 0, "max_rows": 0}
    assert child.report["fields"]["item"] == {"values": parent.sizes["item"], "new": 1, "dropped": 0, "left_out": nothing}
    assert child.report["fields"]["tags"] == {"values": 5, "new": 0, "dropped": 0, "left_out": nothing}


def test_rare_values_get_no_row_and_are_listed(tmp_path):
    days.days(tmp_path / "events", 4)
    everything, found = run(tmp_path), run(tmp_path, min_count=5)
    assert found.vocabulary.frame.filter(pl.col("row") > 0)["count"].min() >= 5
    rare = everything.vocabulary.frame.filter((pl.col("row") > 0) & (pl.col("count") < 5))
    assert (
        found.left_out.select("field", "value", "count")
        .sort("field", "value")
        .equals(rare.select("field", "value", "count").sort("field", "value"))
    )
    assert set(found.left_out["reason"]) == {"min_count"}
    assert {name: entry["left_out"]["min_count"] for name, entry in found.report["fields"].items()} == {
        name: len(rare.filter(pl.col("field") == name)) for name in ("user", "item", "tags")
    }


def test_values_over_the_cap_share_the_unknown_row_and_are_listed(tmp_path):
    days.days(tmp_path / "events", 4)
    everything = run(tmp_path).vocabulary.frame.filter(pl.col("field") == "user")
    found = run(tmp_path, max_rows={"user": 7})
    users = found.vocabulary.frame.filter(pl.col("field") == "user")
    assert users.head(8)["value"].to_list() == everything.head(8)["value"].to_list()
    assert len(users) == 8
    assert users["count"].sum() == everything["count"].sum()
    assert sorted(found.left_out["value"]) == sorted(everything[8:]["value"])
    assert set(found.left_out["reason"]) == {"max_rows"}
    assert found.report["fields"]["user"]["left_out"] == {"min_count": 0, "max_rows": len(everything) - 8}
    assert found.report["fields"]["item"]["left_out"]["max_rows"] == 0


@pytest.mark.parametrize("split", [{"kind": "random"}, {"kind": "time", "validation_by": "time"}, {"kind": "time"}], ids=str)
def test_unsound_rows_are_not_counted_and_sound_days_are_not_looked_at_again(tmp_path, split):
    events = days.events(split=days.SPLIT | split)
    days.days(tmp_path / "events", 6)
    known = [replace(part, sound=True) for part in ev.partitions(tmp_path / "events")]
    clean = count(known, events, CountParams(), None, tmp_path / "known")
    for number in (0, 2):
        damage = {"item": pl.lit("\ufffd")} if number else {"click": pl.lit(7.5)}
        days.write(tmp_path / "events", number, days.frame(5, number, seed=3).with_columns(**damage), "more.parquet")
    found = run(tmp_path, events)
    assert found.vocabulary.frame.equals(clean.vocabulary.frame)
    assert found.report["rows"] == clean.report["rows"]
    assert found.scaling.mean == pytest.approx(clean.scaling.mean)
    assert found.scaling.std == pytest.approx(clean.scaling.std)


def test_another_day_reads_few_files_and_a_mended_day_changes_only_its_blocks(tmp_path):
    def blocks():
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "blocks").iterdir()}

    events = days.events(split=days.SPLIT | {"kind": "random"})
    days.days(tmp_path / "events", 22, rows=20)
    run(tmp_path, events)
    before = blocks()
    days.write(tmp_path / "events", 22, days.frame(20, 22))
    run(tmp_path, events)
    assert len(blocks().keys() - before.keys()) <= 2
    assert before.items() <= blocks().items()
    before = blocks()
    days.write(tmp_path / "events", 0, days.frame(20, 0, seed=5))
    run(tmp_path, events)
    assert 1 <= len(blocks().keys() - before.keys()) <= 2


def test_blocks_of_one_half_life_are_not_used_for_another(tmp_path):
    parts = days.days(tmp_path / "events", 12, rows=20)
    run(tmp_path, half_life=2.0)
    fresh = count(parts, EVENTS, CountParams(half_life=5.0), None, tmp_path / "fresh")
    assert run(tmp_path, half_life=5.0).vocabulary.frame.equals(fresh.vocabulary.frame)


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
