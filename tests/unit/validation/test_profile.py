"""The profile's figures against figures counted by hand."""

from datetime import UTC, datetime

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import DataError
from amtl.validation import figures
from amtl.validation.profile import DAY, SCHEMA, profile, sample


def lines_of(root, **changes):
    """The profile of the one partition, by column."""
    (part,) = ev.partitions(root)
    found = profile(part, days.events(**changes)).lines
    assert found.schema == SCHEMA
    return {line["column"]: line for line in found.iter_rows(named=True)}


def with_columns(tmp_path, rows=4, **columns):
    series = {name: pl.Series(values) if isinstance(values, list) else values for name, values in columns.items()}
    days.write(tmp_path, 0, days.frame(rows).with_columns(**series))
    return lines_of(tmp_path)


def test_a_number(tmp_path):
    line = with_columns(tmp_path, 6, price=[None, float("nan"), float("inf"), -1.0, 101.0, 50.0])["price"]
    expected = {"rows": 6, "nulls": 2, "null_share": 2 / 6, "nan": 1, "infinite": 1, "out_of_range": 2, "lowest": -1.0, "highest": 101.0}
    assert {name: line[name] for name in expected} == expected
    assert (line["role"], line["status"], line["type"]) == ("number", "optional", "Float64")


def test_a_label(tmp_path):
    line = with_columns(tmp_path, 5, click=[0, 1, 1, 2, None])["click"]
    assert (line["odd"], line["nulls"], line["label_rate"]) == (1, 1, 2 / 3)


def test_few_labels_say_little_about_their_rate_and_many_say_much(tmp_path):
    few = with_columns(tmp_path, 4, click=[0, 0, 0, 0])["click"]
    assert (few["label_rate"], few["label_rate_low"]) == (0.0, 0.0)
    assert few["label_rate_high"] == pytest.approx(9 / 13)
    many = with_columns(tmp_path, 1000, click=[0, 1] * 500)["click"]
    assert many["label_rate_high"] - 0.5 == 0.5 - many["label_rate_low"] == pytest.approx(3 * (0.25 / 1000) ** 0.5, rel=0.01)


def test_a_label_of_floats_and_of_nan(tmp_path):
    line = with_columns(tmp_path, 4, click=[0.0, 1.0, 0.5, float("nan")])["click"]
    assert (line["odd"], line["nulls"]) == (1, 1)


def test_an_id_that_exceeds_64_bits(tmp_path):
    line = with_columns(tmp_path, 3, user=pl.Series([1, 2**63, None], dtype=pl.UInt64))["user"]
    assert (line["unreadable"], line["nulls"], line["lowest"], line["highest"]) == (1, 1, 1.0, 1.0)


def test_lists(tmp_path):
    line = with_columns(tmp_path, 5, tags=[["a", "b"], [], None, [None], ["a", None]])["tags"]
    assert (line["rows"], line["nulls"], line["unreadable"]) == (5, 3, 0)


def test_a_time_in_any_zone_is_epoch_seconds(tmp_path):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    line = with_columns(tmp_path, 2, at=pl.Series([moment, None]).dt.convert_time_zone("Asia/Tokyo"))["at"]
    assert (line["lowest"], line["highest"], line["nulls"]) == (moment.timestamp(), moment.timestamp(), 1)


def test_words_that_name_no_part(tmp_path):
    days.write(tmp_path, 0, days.frame(4).with_columns(part=pl.Series(["train", "test", "tset", None])))
    line = lines_of(tmp_path, split={"kind": "column", "column": "part"})["part"]
    assert (line["odd"], line["nulls"]) == (1, 1)


def test_missing_ill_typed_and_extra_columns_are_told_by_file(tmp_path):
    days.write(tmp_path, 0, days.frame(4).drop("item"), "a.parquet")
    days.write(tmp_path, 0, days.frame(3).with_columns(user=pl.lit("x"), extra=1), "b.parquet")
    lines = lines_of(tmp_path)
    assert (lines["item"]["missing"], lines["item"]["rows"], lines["item"]["misfit"]) == (1, 3, 0)
    assert (lines["user"]["misfit"], lines["user"]["rows"], lines["user"]["type"]) == (1, 4, "Int64, String")
    assert (lines["extra"]["status"], lines["extra"]["type"]) == ("extra", "Int32")
    assert lines[DAY]["rows"] == 7


def test_an_empty_day_has_no_shares(tmp_path):
    days.write(tmp_path, 0, days.frame(3).clear())
    lines = lines_of(tmp_path)
    assert lines[DAY]["rows"] == 0
    assert {line["null_share"] for line in lines.values()} == {None}
    assert lines["click"]["label_rate"] is None


def test_a_day_without_any_readable_column_still_has_its_rows(tmp_path):
    days.write(tmp_path, 0, pl.DataFrame({"other": [1, 2, 3]}))
    lines = lines_of(tmp_path)
    assert lines[DAY]["rows"] == 3
    assert lines["user"]["missing"] == 1


def test_columns_with_odd_names_are_kept_apart(tmp_path):
    fields = [{"name": "a"}, {"name": "a/nulls", "optional": True}, {"name": "rows", "kind": "number"}]
    days.write(tmp_path, 0, pl.DataFrame({"a": ["x", "y"], "a/nulls": [None, "z"], "rows": [1, 2], "click": [0, 1]}))
    lines = lines_of(tmp_path, fields=fields, time=None, split={"kind": "random"})
    assert [lines[name]["nulls"] for name in ("a", "a/nulls", "rows")] == [0, 1, 0]


def test_a_damaged_file_is_refused(tmp_path):
    path = days.write(tmp_path, 0, days.frame(3))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        lines_of(tmp_path)


def test_texts_with_signs_of_broken_decoding(tmp_path):
    tags = [["ok"], ["a", "caf\ufffd"], ["cafÃ©", "â€œ"], None]
    lines = with_columns(tmp_path, tags=tags, item=["São Paulo", "\x00", "é", "a\tb"])
    assert [(lines[name]["damaged"], lines[name]["mojibake"]) for name in ("tags", "item")] == [(1, 1), (1, 0)]


@pytest.mark.parametrize("read", [0, 39])
def test_a_file_whose_reading_ends_early_without_an_error_is_refused(tmp_path, monkeypatch, read):
    """As polars does with some damaged pages."""
    days.write(tmp_path, 0, days.frame(40))
    monkeypatch.setattr(figures, "chunks", lambda frame, rows, part: iter([frame.collect().head(read)]))
    with pytest.raises(DataError, match=rf"cannot be read to its end \({read} of 40 rows\)"):
        lines_of(tmp_path)


def test_rows_that_repeat_earlier_ones_in_all_declared_columns(tmp_path):
    frame = days.frame(40)
    twice = pl.concat([frame, frame.head(10)]).with_columns(other=pl.int_range(50))
    days.write(tmp_path, 0, twice.head(30), "a.parquet")
    days.write(tmp_path, 0, twice.tail(20), "b.parquet")
    assert lines_of(tmp_path)[DAY]["duplicate_share"] == pytest.approx(10 / 50)


def test_repeats_in_a_large_day_are_estimated_from_hashes_that_fall_together(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "HASHED_ROWS", 2000)
    frame = days.frame(20_000).with_columns(user=pl.int_range(20_000))
    days.write(tmp_path, 0, pl.concat([frame, frame.head(5000)]))
    assert lines_of(tmp_path)[DAY]["duplicate_share"] == pytest.approx(0.2, abs=0.05)


def test_figures_are_the_same_however_the_day_is_cut_into_pieces(tmp_path, monkeypatch):
    days.write(tmp_path, 0, days.frame(500).with_columns(click=pl.when(pl.col("user") == 1).then(2).otherwise("click")))
    whole = lines_of(tmp_path)
    monkeypatch.setattr(figures, "CHUNK", 37)
    assert lines_of(tmp_path) == whole


def test_different_values_and_occurrences_are_those_of_the_values_that_are_there(tmp_path):
    lines = with_columns(tmp_path, item=["a", "b", "a", None], tags=[["x", "y"], ["x"], [], None])
    assert [(lines[name]["distinct"], lines[name]["occurrences"]) for name in ("item", "tags")] == [(2, 3), (2, 3)]


@pytest.mark.parametrize(("rows", "expected"), [(100, 100), (60, 60), (7, 7), (1, 1)])
def test_a_sample_is_spread_over_the_day_and_always_the_same(tmp_path, rows, expected):
    numbered = days.frame(100).with_columns(user=pl.int_range(100), extra=pl.lit("x"))
    days.write(tmp_path, 0, numbered.head(70), "a.parquet")
    days.write(tmp_path, 0, numbered.tail(30).drop("item"), "b.parquet")
    (part,) = ev.partitions(tmp_path)
    found = sample(part, rows)
    assert set(found.columns) == set(numbered.columns)
    assert len(set(found["user"])) == len(found) == expected
    assert found["user"].min() == 0
    assert rows == 1 or found["user"].max() == 99
    assert sample(part, rows).equals(found)
