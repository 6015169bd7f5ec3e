"""MovieLens-100K in its official layout, made up here line by line."""

from datetime import UTC, datetime

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.sources.movielens import GENRES, MOVIELENS_100K, read_100k
from amtl.sources.writing import write_days

USERS = ["1|24|M|technician|85711", "2|53|F|other|94043"]
RATINGS = ["1\t10\t4\t86399", "2\t10\t3\t86400", "1\t20\t5\t86400", "2\t20\t1\t200000"]


def item(number, title, released, *genres):
    flags = ["1" if genre in genres else "0" for genre in GENRES]
    return "|".join([str(number), title, released, "", f"http://example.org/{number}", *flags])


ITEMS = [item(10, "Café Stories (1995)", "01-Jan-1995", "Comedy", "Drama"), item(20, "unknown", "", "unknown")]


@pytest.fixture
def source(tmp_path):
    """A function that writes the three files, with some of them replaced."""

    def write(**files):
        folder = tmp_path / "ml-100k"
        folder.mkdir()
        for name, lines in ({"data": RATINGS, "user": USERS, "item": ITEMS} | files).items():
            if lines is not None:
                (folder / f"u.{name}").write_text("\n".join(lines) + "\n", encoding="latin-1")
        return folder

    return write


def test_ratings_become_likes_by_day(source, tmp_path):
    write_days(read_100k(source(), "2026-01-01"), tmp_path / "events")
    events = EventsParams.model_validate(MOVIELENS_100K)
    parts = ev.partitions(tmp_path / "events")
    assert [part.day for part in parts] == ["1970-01-01", "1970-01-02", "1970-01-03"]
    rows = ev.collect(ev.scan(parts, events)).to_dicts()
    assert [(row["user_id"], row["item_id"], row["liked"]) for row in rows] == [(1, 10, 1), (1, 20, 1), (2, 10, 0), (2, 20, 0)]
    assert rows[0] == {
        "user_id": 1,
        "item_id": 10,
        "gender": "M",
        "occupation": "technician",
        "zip_code": "85711",
        "release_year": 1995,
        "genres": ["Drama", "Comedy"][::-1],
        "age": 24.0,
        "liked": 1,
        "timestamp": datetime(1970, 1, 1, 23, 59, 59, tzinfo=UTC),
    }
    assert (rows[1]["release_year"], rows[1]["genres"]) == (None, ["unknown"])


def test_the_rating_itself_is_nowhere(source, tmp_path):
    write_days(read_100k(source(), "2026-01-01"), tmp_path / "events")
    assert not {"rating", "day", "title"} & set(pl.read_parquet_schema(ev.partitions(tmp_path / "events")[0].files[0]))


def test_what_was_there_is_replaced_whole(source, tmp_path):
    days.days(tmp_path / "events", 3)
    write_days(read_100k(source(), "2026-01-01"), tmp_path / "events")
    assert [part.day[:4] for part in ev.partitions(tmp_path / "events")] == ["1970"] * 3
    assert {path.name for path in tmp_path.iterdir()} == {"events", "ml-100k"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data": None}, r"u\.data cannot be read"),
        ({"item": None}, r"u\.item cannot be read"),
        ({"data": []}, r"u\.data is not the official"),
        ({"data": ["1,10,4,86399"]}, r"u\.data line 1 has 1 fields, not 4"),
        ({"data": [*RATINGS, "1\t10\tgood\t86399"]}, "1 of 5 lines"),
        ({"data": [*RATINGS, "1\t10\t6\t86399"]}, "1 of 5 lines"),
        ({"user": [*USERS, "2|20|F|other|1"]}, r"u\.user is not the official"),
        ({"user": USERS[:1]}, r"u\.user does not describe what 2 ratings refer to"),
        ({"item": ITEMS[:1]}, r"u\.item does not describe what 2 ratings refer to"),
        ({"item": ["10|Title|x"]}, r"u\.item line 1 has 3 fields, not 24"),
    ],
)
def test_odd_files_are_refused_and_nothing_changes(source, tmp_path, files, message):
    days.days(tmp_path / "events", 1)
    before = ev.partitions(tmp_path / "events")
    with pytest.raises(DataError, match=message):
        write_days(read_100k(source(**files), "2026-01-01"), tmp_path / "events")
    assert ev.partitions(tmp_path / "events") == before
    assert {path.name for path in tmp_path.iterdir()} == {"events", "ml-100k"}
