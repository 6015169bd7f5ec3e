"""MovieLens in its official layouts: likes by day with what is known of user and film, and no odd file gets through."""

from datetime import UTC, datetime

import days
import official
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.sources.published import movielens
from amtl.sources.writing import write_days

READ = {"100k": movielens.read_100k, "1m": movielens.read_1m}
FILES = {"100k": official.MOVIELENS_100K, "1m": official.MOVIELENS_1M}


def ingested(tmp_path, release):
    source = READ[release](official.write(tmp_path / "files", FILES[release]), "2026-01-01")
    write_days(source, tmp_path / "events")
    parts = ev.partitions(tmp_path / "events")
    return parts, ev.collect(ev.scan(parts, EventsParams.model_validate(source.section))).to_dicts()


@pytest.mark.parametrize("release", READ)
def test_ratings_become_likes_by_utc_day_in_order_of_time(tmp_path, release):
    parts, rows = ingested(tmp_path, release)
    assert [part.day for part in parts] == ["1970-01-01", "1970-01-02"]
    assert [(row["user_id"], row["item_id"], row["liked"]) for row in rows] == [(2, 20, 0), (1, 10, 1), (1, 20, 1), (2, 10, 0)]
    assert [(row["release_year"], row["genres"][:1]) for row in rows[:2]] == [(None, [rows[0]["genres"][0]]), (1995, ["Comedy"])]
    assert rows[1]["timestamp"] == datetime(1970, 1, 1, 23, 59, 59, tzinfo=UTC)


def test_100k_users_and_items(tmp_path):
    row = ingested(tmp_path, "100k")[1][1]
    assert {name: row[name] for name in ("gender", "occupation", "zip_code", "genres", "age")} == {
        "gender": "M",
        "occupation": "technician",
        "zip_code": "85711",
        "genres": ["Comedy", "Drama"],
        "age": 24.0,
    }


def test_1m_users_and_items(tmp_path):
    row = ingested(tmp_path, "1m")[1][0]
    assert {name: row[name] for name in ("gender", "occupation", "zip_code", "genres", "age")} == {
        "gender": "M",
        "occupation": 16,
        "zip_code": "70072-1234",
        "genres": ["Film-Noir"],
        "age": 56,
    }


@pytest.mark.parametrize("release", READ)
def test_the_rating_itself_is_nowhere(tmp_path, release):
    parts, _ = ingested(tmp_path, release)
    assert not {"rating", "day", "title", "epoch", "line"} & set(pl.read_parquet_schema(parts[0].files[0]))


def test_what_was_there_is_replaced_whole(tmp_path):
    days.days(tmp_path / "events", 3)
    parts, _ = ingested(tmp_path, "100k")
    assert [part.day[:4] for part in parts] == ["1970"] * 2
    assert {path.name for path in tmp_path.iterdir()} == {"events", "files"}


DATA, USERS, ITEMS = official.MOVIELENS_100K.values()


@pytest.mark.parametrize(
    ("release", "changes", "message"),
    [
        ("100k", {"u.data": None}, r"u\.data.*cannot be read.*give u\.data of MovieLens-100K"),
        ("100k", {"u.item": None}, r"u\.item.*cannot be read"),
        ("100k", {"u.data": []}, r"u\.data is empty"),
        ("100k", {"u.data": ["1,10,4,86399"]}, r"u\.data line 1: it has 1 fields, not 4; this is not u\.data of MovieLens-100K: download"),
        ("100k", {"u.data": [*DATA, "1\t10\tgood\t86399"]}, r"u\.data line 5: rating is 'good', not a rating from 1 to 5"),
        ("100k", {"u.data": [*DATA, "1\t10\t6\t86399"]}, r"line 5: rating is '6'"),
        ("100k", {"u.data": [*DATA, "1\t10\t4\t-5"]}, r"line 5: epoch is '-5', not a time"),
        ("100k", {"u.user": [*USERS, "2|20|F|other|1"]}, r"u\.user line 3: user_id 2 has a line already"),
        ("100k", {"u.user": USERS[:1]}, r"u\.user has no line for user_id 2 of u\.data line 2 \(2 such ratings\)"),
        ("100k", {"u.item": ITEMS[:1]}, r"u\.item has no line for item_id 20 of u\.data line 3"),
        ("100k", {"u.item": ["10|Title|x"]}, r"u\.item line 1: it has 3 fields, not 24"),
        ("1m", {"ratings.dat": ["1\t10\t4\t86399"]}, r"ratings\.dat line 1: it has 1 fields, not 4"),
        ("1m", {"ratings.dat": ["1::10::4.5::86399"]}, r"ratings\.dat line 1: rating is '4\.5'"),
        ("1m", {"users.dat": ["1::X::1::10::48067"]}, r"users\.dat line 1: gender is 'X', not F or M"),
        ("1m", {"movies.dat": ["movieId,title,genres"]}, r"movies\.dat line 1: it has 1 fields, not 3"),
        ("1m", {"users.dat": None}, r"users\.dat.*cannot be read"),
    ],
)
def test_odd_files_are_refused_and_nothing_changes(tmp_path, release, changes, message):
    folder = official.write(tmp_path / "files", FILES[release], changes)
    days.days(tmp_path / "events", 1)
    before = ev.partitions(tmp_path / "events")
    with pytest.raises(DataError, match=message):
        write_days(READ[release](folder, "2026-01-01"), tmp_path / "events")
    assert ev.partitions(tmp_path / "events") == before
    assert {path.name for path in tmp_path.iterdir()} == {"events", "files"}
