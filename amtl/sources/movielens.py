"""Known data sets in their official layout, brought in as day partitions with a fitting `events` section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from amtl.errors import DataError
from amtl.sources.source import DAY, Source, declared

GENRES = ["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"]
GENRES += ["Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"]
LIKED_FROM = 4
SECONDS_A_DAY = 86_400

MOVIELENS_100K: dict[str, Any] = {
    "name": "movielens-100k",
    "label": "liked",
    "time": "timestamp",
    "split": {"kind": "time", "test": 0.1, "validation": 0.1},
    "fields": [
        {"name": "user_id", "type": "integer"},
        {"name": "item_id", "type": "integer"},
        {"name": "gender"},
        {"name": "occupation"},
        {"name": "zip_code"},
        {"name": "release_year", "type": "integer", "optional": True},
        {"name": "genres", "kind": "ids"},
        {"name": "age", "kind": "number", "range": [0, 120]},
    ],
}


def read_100k(path: Path, import_day: str) -> Source:
    """MovieLens-100K: a rating of 4 or 5 is a like, a day is a UTC day of the rating's time.

    Args:
        path: folder with the official `u.data`, `u.user` and `u.item`.
        import_day: not used; every rating has its time.

    Raises:
        DataError: a file is missing or does not have the official layout.
    """
    ratings = _ratings(path / "u.data")
    users = _users(path / "u.user")
    items = _items(path / "u.item")
    events = ratings.join(users, on="user_id", how="left", maintain_order="left").join(
        items, on="item_id", how="left", maintain_order="left"
    )
    for column, name in (("gender", "u.user"), ("genres", "u.item")):
        lost = events[column].null_count()
        if lost:
            raise DataError(f"{path / name} does not describe what {lost:,} ratings refer to; use a whole copy of MovieLens-100K")
    inputs = tuple(path / name for name in ("u.data", "u.user", "u.item"))
    return Source(MOVIELENS_100K, events.select(*declared(MOVIELENS_100K), DAY).lazy(), inputs)


def _ratings(path: Path) -> pl.DataFrame:
    """One row a rating, oldest first: user_id, item_id, liked, timestamp, day."""
    raw = _table(path, "\t", ("user_id", "item_id", "rating", "epoch")).cast(pl.Int64, strict=False)
    odd = raw.filter(pl.any_horizontal(pl.all().is_null()) | ~pl.col("rating").is_between(1, 5))
    if len(odd) or raw.is_empty():
        raise DataError(
            f"{path} is not the official u.data: {len(odd):,} of {len(raw):,} lines are no `user item rating(1-5) time`; download it again"
        )
    return raw.sort("epoch", "user_id", "item_id").select(
        "user_id",
        "item_id",
        (pl.col("rating") >= LIKED_FROM).cast(pl.Int8).alias("liked"),
        pl.from_epoch("epoch").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("timestamp"),
        pl.from_epoch(pl.col("epoch") // SECONDS_A_DAY, time_unit="d").cast(pl.String).alias("day"),
    )


def _users(path: Path) -> pl.DataFrame:
    """One row a user: user_id, age, gender, occupation, zip_code."""
    raw = _table(path, "|", ("user_id", "age", "gender", "occupation", "zip_code"))
    users = raw.with_columns(pl.col("user_id").cast(pl.Int64, strict=False), pl.col("age").cast(pl.Int64, strict=False))
    return _checked(users, "user_id", path)


def _items(path: Path) -> pl.DataFrame:
    """One row an item: item_id, release_year (null if not given), genres (never empty)."""
    raw = _table(path, "|", ("item_id", "title", "released", "video", "url", *GENRES))
    genres = pl.concat_list([pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES]).list.drop_nulls()
    items = raw.select(
        pl.col("item_id").cast(pl.Int64, strict=False),
        pl.col("released").str.tail(4).cast(pl.Int64, strict=False).alias("release_year"),
        genres.alias("genres"),
    )
    return _checked(items, "item_id", path)


def _checked(frame: pl.DataFrame, key: str, path: Path) -> pl.DataFrame:
    required = [name for name in frame.columns if name != "release_year"]
    odd = frame.filter(pl.any_horizontal(pl.col(required).is_null()) | pl.col(key).is_duplicated())
    if len(odd):
        raise DataError(
            f"{path} is not the official {path.name}: {len(odd):,} of {len(frame):,} lines are odd or double; download it again"
        )
    return frame


def _table(path: Path, separator: str, names: Sequence[str]) -> pl.DataFrame:
    """Lines of a file (latin-1) as text columns."""
    try:
        lines = path.read_bytes().decode("latin-1").splitlines()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); give the folder of MovieLens-100K that holds u.data, u.user and u.item"
        ) from None
    rows = [line.split(separator) for line in lines if line]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise DataError(f"{path} line {number} has {len(row)} fields, not {len(names)}; download MovieLens-100K again")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
