"""The sample is one world: the same for a seed byte for byte, continued day by day, and learnable up to its ceiling."""

import days
import numpy as np
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.sources.sample import EVENTS, Settings, add_day, make_day, write_sample

DECLARED = EventsParams.model_validate(EVENTS)


def digests(root):
    return [part.digest for part in ev.partitions(root)]


def test_a_seed_is_the_same_bytes_and_another_seed_another_world(tmp_path):
    reports = [write_sample(tmp_path / name, 2, 300, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert reports[0] == reports[1]
    assert not set(digests(tmp_path / "a")) & set(digests(tmp_path / "c"))


def test_the_next_day_is_the_day_that_a_longer_sample_has(tmp_path):
    write_sample(tmp_path / "grown", 3, 300, seed=4, first_day="2026-02-27")
    report = add_day(tmp_path / "grown")
    longer = write_sample(tmp_path / "whole", 4, 300, seed=4, first_day="2026-02-27")
    assert digests(tmp_path / "grown") == digests(tmp_path / "whole")
    assert report.days == ("2026-03-02",)
    assert (report.rows, report.ceiling_auc) == (300, longer.ceiling_auc)


def test_events_fit_their_declaration_and_look_like_the_real_thing(tmp_path):
    report = write_sample(tmp_path, 3, 2000)
    parts = ev.partitions(tmp_path)
    assert [part.day for part in parts] == list(report.days) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    frame = ev.collect(ev.scan(parts, DECLARED))
    assert len(frame) == report.rows == 6000
    assert report.bytes == sum(file.stat().st_size for part in parts for file in part.files)
    assert frame["click"].mean() == pytest.approx(report.label_rate) == pytest.approx(0.3, abs=0.04)
    assert frame["timestamp"].is_sorted()
    assert frame["timestamp"].dt.hour().cast(pl.Int64).equals(frame["hour"])
    assert frame["tags"].list.len().is_between(1, 4).all()
    assert 0 < frame["price"].null_count() < 300
    assert 0 < frame["device"].null_count() < 150
    counts = frame["item_id"].value_counts()["count"]
    assert (counts < 5).mean() > 0.4
    assert counts.max() > 10 * counts.mean()
    first, last = (ev.collect(ev.scan([part], DECLARED)) for part in (parts[0], parts[2]))
    assert last["user_id"].max() > first["user_id"].max()


def test_an_item_keeps_its_attributes(tmp_path):
    write_sample(tmp_path, 3, 1000)
    frame = ev.collect(ev.scan(ev.partitions(tmp_path), DECLARED))
    assert frame.group_by("item_id").agg(pl.col("category", "tags").n_unique().name.suffix("s")).select(
        pl.col("categorys", "tagss").max()
    ).row(0) == (1, 1)
    assert frame.group_by("user_id").agg(pl.col("segment").n_unique())["segment"].max() == 1


def test_the_ceiling_is_the_auc_of_the_true_probabilities(tmp_path):
    report = write_sample(tmp_path, 10, 1000, seed=3)
    frame, probabilities = make_day(Settings(3, 1000, "2026-01-01", shuffle_labels=False), 9)
    assert frame.equals(pl.read_parquet(ev.partitions(tmp_path)[-1].files[0]))
    clicks = frame["click"].to_numpy() == 1
    ahead = probabilities[clicks][:, None] - probabilities[~clicks][None]
    assert report.ceiling_auc == pytest.approx(np.mean((ahead > 0) + 0.5 * (ahead == 0)))
    assert 0.8 < report.ceiling_auc < 0.95


def test_shuffled_labels_keep_the_rate_and_know_nothing(tmp_path):
    plain, shuffled = write_sample(tmp_path / "a", 10, 1000), write_sample(tmp_path / "b", 10, 1000, shuffle_labels=True)
    assert shuffled.label_rate == plain.label_rate
    assert shuffled.ceiling_auc == pytest.approx(0.5, abs=0.02)
    one, other = (ev.collect(ev.scan(ev.partitions(tmp_path / name), DECLARED)) for name in "ab")
    assert one.drop("click").equals(other.drop("click"))


def test_no_day_follows_days_that_are_no_sample(tmp_path):
    days.days(tmp_path, 1)
    with pytest.raises(DataError, match="was not written by `amtl sample`"):
        add_day(tmp_path)
    assert len(ev.partitions(tmp_path)) == 1


@pytest.mark.parametrize("wrong", [{"days": 0}, {"rows_per_day": 5}, {"first_day": "tomorrow"}, {"first_day": "9999-12-31"}])
def test_impossible_samples_are_refused_and_leave_what_was_there(tmp_path, wrong):
    days.days(tmp_path / "events", 1)
    before = digests(tmp_path / "events")
    with pytest.raises(DataError, match="sample"):
        write_sample(tmp_path / "events", **wrong)
    assert digests(tmp_path / "events") == before
