"""Partitions and the one scan."""

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import DataError
from amtl.params import FieldParams

EVENTS = days.events()


def scanned(root, **changes):
    return ev.collect(ev.scan(ev.partitions(root), days.events(**changes)))


def test_partitions_are_sorted_by_day_and_known_by_their_content(tmp_path):
    days.write(tmp_path, 1, days.frame(3, 1))
    days.write(tmp_path, 0, days.frame(3, 0))
    days.write(tmp_path, 0, days.frame(2, 0, seed=1), "late.parquet")
    first, second = ev.partitions(tmp_path)
    assert [first.day, second.day] == ["2026-01-01", "2026-01-02"]
    assert [file.name for file in first.files] == ["events.parquet", "late.parquet"]
    days.write(tmp_path, 0, days.frame(2, 0, seed=2), "late.parquet")
    again = ev.partitions(tmp_path)
    assert again[0].digest != first.digest
    assert again[1].digest == second.digest


def test_a_renamed_file_is_other_content_and_a_touched_one_is_not(tmp_path):
    path = days.write(tmp_path, 0, days.frame(3))
    before = ev.partitions(tmp_path)[0].digest
    path.touch()
    assert ev.partitions(tmp_path)[0].digest == before
    path.rename(path.with_name("other.parquet"))
    assert ev.partitions(tmp_path)[0].digest != before


def test_hidden_names_are_left_out(tmp_path):
    days.write(tmp_path, 0, days.frame(3))
    (tmp_path / ".swap.tmp").mkdir()
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "date=2026-01-01" / ".part").touch()
    (part,) = ev.partitions(tmp_path)
    assert len(part.files) == 1


@pytest.mark.parametrize("name", ["2026-01-01", "date=2026-13-01", "date=20260101", "date=2026-02-30", "notes.txt", "date=2026-01-01x"])
def test_a_name_that_is_no_day_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="date=YYYY-MM-DD"):
        ev.partitions(tmp_path)


def test_no_folder_no_day_no_file_and_a_strange_file_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        ev.partitions(tmp_path / "none")
    with pytest.raises(DataError, match="no day of events"):
        ev.partitions(tmp_path)
    day = tmp_path / "date=2026-01-01"
    day.mkdir()
    with pytest.raises(DataError, match="no Parquet file"):
        ev.partitions(tmp_path)
    (day / "events.csv").touch()
    with pytest.raises(DataError, match=r"events\.csv"):
        ev.partitions(tmp_path)


def test_a_path_with_wildcards_is_a_path(tmp_path):
    root = tmp_path / "events [a]* ?"
    days.write(root, 0, days.frame(4))
    assert len(scanned(root)) == 4


def test_only_declared_columns_in_declared_order_come_out(tmp_path):
    days.write(tmp_path, 0, days.frame(4).with_columns(extra=1).select(pl.all().reverse()))
    assert scanned(tmp_path).columns == ["user", "item", "tags", "price", "click", "at"]


def test_rows_come_in_the_order_of_day_file_and_row(tmp_path):
    frames = [days.frame(5, day) for day in range(3)]
    for day in (2, 0, 1):
        days.write(tmp_path, day, frames[day])
    assert scanned(tmp_path)["at"].to_list() == [moment for frame in frames for moment in frame["at"]]


def test_types_of_one_meaning_are_read_alike(tmp_path):
    plain = days.frame(6).with_columns(price=pl.Series([1.0, 2, 3, 4, 5, 6]))
    odd = plain.with_columns(
        pl.col("user").cast(pl.UInt16),
        pl.col("item").cast(pl.Categorical),
        pl.col("price").cast(pl.Decimal(8, 2)),
        pl.col("click").cast(pl.Boolean),
        pl.col("at").dt.convert_time_zone("Asia/Tokyo").cast(pl.Datetime("ns", "Asia/Tokyo")),
    )
    days.write(tmp_path, 0, plain)
    days.write(tmp_path, 1, odd)
    frame = scanned(tmp_path)
    assert frame.head(6).equals(frame.tail(6))
    assert dict(frame.schema) == {
        "user": pl.Int64,
        "item": pl.String,
        "tags": pl.List(pl.String),
        "price": pl.Float64,
        "click": pl.Int8,
        "at": pl.Datetime("us", "UTC"),
    }


def test_arrays_are_lists_and_floats_may_be_labels(tmp_path):
    days.write(tmp_path, 0, days.frame(2).with_columns(tags=pl.Series([["a", "b"], ["c", None]], dtype=pl.Array(pl.String, 2)), click=1.0))
    frame = scanned(tmp_path)
    assert frame["tags"].to_list() == [["a", "b"], ["c", None]]
    assert frame["click"].to_list() == [1, 1]


def test_nan_is_null(tmp_path):
    days.write(tmp_path, 0, days.frame(3).with_columns(price=pl.Series([float("nan"), None, 1.0])))
    assert scanned(tmp_path)["price"].to_list() == [None, None, 1.0]


def test_an_absent_optional_column_is_null_in_every_row_even_alone(tmp_path):
    days.write(tmp_path, 0, days.frame(3).drop("item"))
    days.write(tmp_path, 1, days.frame(2, 1))
    frame = ev.scan(ev.partitions(tmp_path), EVENTS).select("item").collect()
    assert frame["item"].to_list()[:3] == [None] * 3
    assert len(frame) == 5


def test_a_column_of_type_null_fits_every_declaration(tmp_path):
    days.write(tmp_path, 0, days.frame(2).with_columns(tags=pl.lit(None), user=pl.lit(None)))
    frame = scanned(tmp_path)
    assert frame["user"].dtype == pl.Int64
    assert frame["tags"].null_count() == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("user", pl.lit("7")),
        ("user", pl.lit(7.0)),
        ("item", pl.lit(7)),
        ("tags", pl.lit("a")),
        ("tags", pl.lit([1], pl.List(pl.Int64))),
        ("price", pl.lit("7")),
        ("click", pl.lit("1")),
        ("at", pl.lit("2026-01-01")),
        ("at", pl.lit(1.5)),
    ],
)
def test_a_type_that_does_not_fit_is_refused_with_file_and_column(tmp_path, column, value):
    days.write(tmp_path, 0, days.frame(2))
    path = days.write(tmp_path, 1, days.frame(2).with_columns(value.alias(column)))
    with pytest.raises(DataError, match=f"column {column} has type") as caught:
        scanned(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("column", ["user", "tags", "click", "at"])
def test_an_absent_column_that_is_needed_is_refused(tmp_path, column):
    days.write(tmp_path, 0, days.frame(2).drop(column))
    with pytest.raises(DataError, match=f"column {column} is missing"):
        scanned(tmp_path)


def test_rows_that_are_not_sound_are_left_out_unless_the_day_is_known_to_be_sound(tmp_path):
    days.write(tmp_path, 0, days.frame(4).with_columns(click=pl.Series([0, 1, 2, None]), user=pl.Series([1, 2, 3, 4])))
    (part,) = ev.partitions(tmp_path)
    assert ev.collect(ev.scan([part], EVENTS))["user"].to_list() == [1, 2]
    assert len(ev.collect(ev.scan([replace(part, sound=True)], EVENTS).select("user"))) == 4


def test_days_known_to_be_sound_or_not_judged_by_their_day_are_one_scan(tmp_path):
    parts = [replace(part, sound=True) for part in days.days(tmp_path, 6, rows=3)]
    assert ev.scan(parts, EVENTS).explain().count("Parquet SCAN") == 1
    assert ev.collect(ev.scan(parts, EVENTS)).equals(ev.collect(ev.scan(ev.partitions(tmp_path), EVENTS)))
    assert ev.scan(ev.partitions(tmp_path), days.events(hours_off_day=None)).explain().count("Parquet SCAN") == 1


def test_times_without_a_zone_and_dates_are_utc(tmp_path):
    days.write(tmp_path, 0, days.frame(1).with_columns(at=pl.lit(datetime(2026, 1, 1, 12))))
    days.write(tmp_path, 1, days.frame(1).with_columns(at=pl.lit(date(2026, 1, 2))))
    days.write(tmp_path, 2, days.frame(1).with_columns(at=pl.lit(datetime(2026, 1, 3, 1, tzinfo=ZoneInfo("Asia/Tokyo")))))
    expected = [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, 16, tzinfo=UTC)]
    assert scanned(tmp_path)["at"].to_list() == expected


def test_epoch_seconds_stay_and_do_not_mix_with_dates(tmp_path):
    days.write(tmp_path, 0, days.frame(1).with_columns(at=pl.lit(1_767_300_000, pl.UInt32)))
    assert scanned(tmp_path)["at"].to_list() == [1_767_300_000]
    days.write(tmp_path, 1, days.frame(1))
    with pytest.raises(DataError, match="epoch seconds"):
        scanned(tmp_path)


def test_fields_beside_the_declared_ones_come_along_as_far_as_files_hold_them_and_judge_no_row(tmp_path):
    days.write(
        tmp_path, 0, days.frame(3).with_columns(old=pl.Series([1.0, float("inf"), float("nan")]), word=pl.Series(["a", "\ufffd", None]))
    )
    days.write(tmp_path, 1, days.frame(2, 1).with_columns(old=pl.lit("no number"), word=pl.concat_list("user")))
    days.write(tmp_path, 2, days.frame(1, 2))
    beside = [FieldParams(name="old", kind="number", range=(2, 3)), FieldParams(name="word")]
    found = ev.collect(ev.scan(ev.partitions(tmp_path), EVENTS, beside))
    assert found.columns == [column.name for column in ev.columns(EVENTS)] + ["old", "word"]
    assert found["word"].to_list() == ["a", "\ufffd", None, None, None, None]
    assert found["old"].fill_nan(None).to_list() == [1.0, float("inf"), None, None, None, None]
