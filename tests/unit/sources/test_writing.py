"""Day partitions: one day's rows in their order, in row groups and files of bounded size; days added to those that are here."""

import polars as pl
import pyarrow.parquet as pq
import pytest

from amtl.data.events import partitions
from amtl.errors import DataError
from amtl.sources import writing
from amtl.sources.progress import Lines, shown
from amtl.sources.source import Source
from amtl.sources.writing import Added, add_days, write_days

SECTION = {"name": "rows", "label": "click", "fields": [{"name": "user"}]}
DAYS = ["2026-02-02", "2026-02-01", "2026-02-02", "2026-02-03"]


def source(days=DAYS, shift=0, **more):
    """An event a day that is named; the user is the row's number."""
    frame = pl.DataFrame(
        {"click": [0] * len(days), "user": range(shift, shift + len(days)), "day": days}, schema_overrides={"day": pl.String}
    )
    return Source(SECTION, frame.lazy(), (), **more)


def users(folder):
    return {
        part.day: pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in part.files])["user"].to_list()
        for part in partitions(folder)
    }


def test_days_hold_their_rows_in_order_and_no_more_columns(tmp_path):
    assert write_days(source(metadata={"who": "I"}), tmp_path / "events") == Added(("2026-02-01", "2026-02-02", "2026-02-03"))
    assert users(tmp_path / "events") == {"2026-02-01": [1], "2026-02-02": [0, 2], "2026-02-03": [3]}
    file = partitions(tmp_path / "events")[0].files[0]
    assert pl.read_parquet_schema(file).names() == ["click", "user"]
    assert pl.read_parquet_metadata(file)["who"] == "I"


def test_files_and_row_groups_are_bounded_and_their_bytes_depend_on_the_rows_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "ROWS_A_GROUP", 100)
    monkeypatch.setattr(writing, "ROWS_A_FILE", 1000)
    many = source(["2026-02-01"] * 2500)
    write_days(many, tmp_path / "whole")
    pieces = [many.frame.slice(start, 617) for start in range(0, 2500, 617)]
    write_days(Source(SECTION, pl.concat(pieces), ()), tmp_path / "pieces")
    (whole,), (cut,) = partitions(tmp_path / "whole"), partitions(tmp_path / "pieces")
    assert whole.digest == cut.digest
    assert users(tmp_path / "whole")["2026-02-01"] == list(range(2500))
    sizes = [pq.ParquetFile(file).metadata for file in whole.files]
    assert [size.num_rows for size in sizes] == [1000, 1000, 500]
    assert {size.row_group(number).num_rows for size in sizes for number in range(size.num_row_groups)} == {100}
    assert sizes[0].row_group(0).column(1).statistics.max == 99


def test_a_delivery_is_added_and_the_same_again_changes_no_file(tmp_path):
    events = tmp_path / "events"
    write_days(source(), events)
    assert add_days(source(["2026-02-04"]), events) == Added(("2026-02-04",))
    inodes = {file: file.stat().st_ino for part in partitions(events) for file in part.files}
    assert add_days(source(["2026-02-04"]), events) == Added((), ("2026-02-04",))
    assert {file: file.stat().st_ino for part in partitions(events) for file in part.files} == inodes
    assert users(events)["2026-02-02"] == [0, 2]


def test_a_day_with_other_content_is_refused_or_replaced(tmp_path):
    events = tmp_path / "events"
    write_days(source(), events)
    before = partitions(events)
    other = source(["2026-02-03", "2026-02-05"], shift=7)
    with pytest.raises(DataError, match=r"2026-02-03 is here already with other content; .* --replace-days; nothing was changed"):
        add_days(other, events)
    assert partitions(events) == before
    assert add_days(other, events, replace=True) == Added(("2026-02-03", "2026-02-05"))
    assert users(events) == {"2026-02-01": [1], "2026-02-02": [0, 2], "2026-02-03": [7], "2026-02-05": [8]}


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ([], "there are no rows in the data"),
        (["2026-02-01", None], "rows without a time have no day to lie in"),
        (["2026-02-01", "+55840-11-08"], r"rows lie on \+55840-11-08, which is no day of the years 1 to 9999"),
        (["2026-02-01", "-0001-12-31"], "rows lie on -0001-12-31, which is no day"),
    ],
)
def test_no_rows_or_no_day_is_refused(tmp_path, days, message):
    with pytest.raises(DataError, match=message):
        write_days(source(days), tmp_path / "events")
    assert list(tmp_path.iterdir()) == []


def test_a_source_says_where_it_is_at_fault(tmp_path):
    with pytest.raises(DataError, match="line 3"):
        write_days(source(["2026-02-01", None], fault=lambda: "line 3"), tmp_path / "events")


def test_progress_counts_all_rows_and_speaks_now_and_then(capsys, tmp_path):
    with shown("reading", None) as advance:
        write_days(source(), tmp_path / "events", advance)
    assert advance.passed == 4
    moments, said = iter([0.0, 5.0, 12.0, 13.0]), []
    lines = Lines("reading", 200, said.append, lambda: next(moments))
    for rows in (10, 50, 40):
        lines(rows)
    assert said == ["reading: 60 of 200 (30%) rows, 5 rows/s"]
