"""What `amtl status` says of the data."""

import polars as pl

from amtl.data.events import partitions
from flows import data, status


def day(root, number, columns):
    folder = root / f"date=2026-01-0{number}"
    folder.mkdir(parents=True)
    pl.DataFrame({name: [1, 2, 3] for name in columns}).write_parquet(folder / "events.parquet")
    return folder / "events.parquet"


def test_days_of_other_columns_are_counted_like_all_and_a_damaged_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "pinned", lambda root: "0123456789abcdef")
    monkeypatch.setattr(data, "is_clean", lambda root: True)
    day(tmp_path, 1, ["user", "item"])
    renamed = day(tmp_path, 2, ["user_id", "item"])
    said = status._data(tmp_path, partitions(tmp_path))
    assert said == "2 days (2026-01-01 to 2026-01-02), 6 events, pinned as 0123456789ab"
    renamed.write_bytes(renamed.read_bytes()[:100])
    assert "cannot be read" in status._data(tmp_path, partitions(tmp_path))
