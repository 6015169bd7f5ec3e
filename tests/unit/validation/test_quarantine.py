"""The quarantine holds the rows that are left out, where they lay, why, and as they were."""

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import DataError
from amtl.validation import quarantine


def written(tmp_path, *frames):
    for number, frame in enumerate(frames):
        days.write(tmp_path / "events", 0, frame, f"{number}.parquet")
    (part,) = ev.partitions(tmp_path / "events")
    path = tmp_path / "quarantine" / "date=2026-01-01.parquet"
    quarantine.write(part, days.events(), path)
    return path


def test_offending_rows_with_file_row_reasons_and_raw_columns(tmp_path):
    frame = days.frame(5).with_columns(price=pl.Series([1.0, 2, -5, 4, 5]), click=pl.Series([0, 1, 2, 1, 0]), extra=pl.lit("x"))
    late = days.frame(2, seed=1).with_columns(price=pl.lit(1.0), click=pl.Series([None, 1], dtype=pl.Int64))
    path = written(tmp_path, frame, late)
    found = pl.read_parquet(path)
    assert found.columns == ["file", "row", "reason", *frame.columns]
    assert found.select("file", "row", "reason").rows() == [
        ("0.parquet", 2, "price is out of range (0 to 100); click is neither 0 nor 1"),
        ("1.parquet", 0, "click is null"),
    ]
    assert found.select(frame.columns).row(0) == frame.row(2)
    assert found["extra"].to_list() == ["x", None]
    assert quarantine.by_reason(path) == {"click is null": 1, "price is out of range (0 to 100); click is neither 0 nor 1": 1}
    assert [row["row"] for row in quarantine.examples(path, 1)] == [2]


def test_columns_of_the_same_names_and_of_differing_types_are_kept(tmp_path):
    frame = days.frame(2).with_columns(click=pl.lit(3), row=pl.lit(7), more=pl.Series([[1], [2]]))
    other = days.frame(2).with_columns(click=pl.lit(3.5), row=pl.lit("seven"), more=pl.lit("z"))
    found = pl.read_parquet(written(tmp_path, frame, other))
    assert found["row"].to_list() == [0, 1, 0, 1]
    assert found["row (raw)"].to_list() == ["7", "7", "seven", "seven"]
    assert found["click"].to_list() == ["3", "3", "3.5", "3.5"]
    assert len(found["more"].drop_nulls()) == 4


def test_ids_that_exceed_64_bits_are_kept_as_they_were(tmp_path):
    found = pl.read_parquet(written(tmp_path, days.frame(2).with_columns(user=pl.Series([2**63, 1], dtype=pl.UInt64), price=pl.lit(1.0))))
    assert (found["user"].to_list(), found["reason"].to_list()) == ([2**63], ["user exceeds 64 bits"])


def test_a_damaged_file_leaves_no_quarantine(tmp_path):
    path = days.write(tmp_path / "events", 0, days.frame(2000))
    content = path.read_bytes()
    (part,) = ev.partitions(tmp_path / "events")
    path.write_bytes(content[:4] + bytes(2000) + content[2004:])
    with pytest.raises(DataError, match="cannot be read"):
        quarantine.write(part, days.events(), tmp_path / "quarantine.parquet")
    assert not (tmp_path / "quarantine.parquet").exists()
