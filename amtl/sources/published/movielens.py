"""MovieLens-100K and MovieLens-1M in their official layouts (https://grouplens.org/datasets/movielens/, READMEs therein).

A rating of 4 or 5 is a like; the rating itself is no feature and is not written. A day is a UTC day of the rating's time.
Rows lie in the order of time. Ages of MovieLens-1M are codes of age groups (1, 18, 25, ...), hence a field of ids.
Many days are the ratings of a few users: they are not judged by the days before them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from amtl.errors import DataError
from amtl.sources.published import clock, lines
from amtl.sources.published.layout import EPOCH, FLAG, INTEGER, TEXT, Column, Layout, columns, integer, one_of
from amtl.sources.source import DAY, Source

GENRES = ["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"]
GENRES += ["Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"]
LIKED_FROM = 4

MOVIELENS_100K: dict[str, Any] = {
    "name": "movielens-100k",
    "label": "liked",
    "time": "timestamp",
    "compare_days": False,
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
MOVIELENS_1M: dict[str, Any] = {
    **MOVIELENS_100K,
    "name": "movielens-1m",
    "fields": [
        {"name": "user_id", "type": "integer"},
        {"name": "item_id", "type": "integer"},
        {"name": "gender"},
        {"name": "age", "type": "integer"},
        {"name": "occupation", "type": "integer"},
        {"name": "zip_code"},
        {"name": "release_year", "type": "integer", "optional": True},
        {"name": "genres", "kind": "ids"},
    ],
}

_RATING = (
    *columns(INTEGER, ("user_id", "item_id")),
    Column("rating", integer(1, 5, "a rating from 1 to 5")),
    Column("epoch", EPOCH),
)
_GENDER = Column("gender", one_of("F", "M"))
_DATA = Layout("u.data of MovieLens-100K", "\t", _RATING)
_USER = Layout(
    "u.user of MovieLens-100K",
    "|",
    (*columns(INTEGER, ("user_id", "age")), _GENDER, *columns(TEXT, ("occupation", "zip_code"))),
    latin_1=True,
)
_ITEM = Layout(
    "u.item of MovieLens-100K",
    "|",
    (
        Column("item_id", INTEGER),
        Column("title", TEXT),
        *columns(TEXT, ("released", "video", "url"), optional=True),
        *columns(FLAG, GENRES),
    ),
    latin_1=True,
)
_RATINGS_DAT = Layout("ratings.dat of MovieLens-1M", "::", _RATING)
_USERS_DAT = Layout(
    "users.dat of MovieLens-1M",
    "::",
    (Column("user_id", INTEGER), _GENDER, *columns(INTEGER, ("age", "occupation")), Column("zip_code", TEXT)),
    latin_1=True,
)
_MOVIES_DAT = Layout("movies.dat of MovieLens-1M", "::", (Column("item_id", INTEGER), *columns(TEXT, ("title", "genres"))), latin_1=True)


def read_100k(path: Path, import_day: str) -> Source:
    """MovieLens-100K from the folder `path` with `u.data`, `u.user` and `u.item`; every rating has its time.

    Raises:
        DataError: a file is missing or does not have the official layout.
    """
    files = (path / "u.data", path / "u.user", path / "u.item")
    flags = [pl.when(pl.col(genre) == 1).then(pl.lit(genre)) for genre in GENRES]
    items = lines.table(files[2], _ITEM, "item_id").select(
        "item_id",
        pl.col("released").str.tail(4).cast(pl.Int64, strict=False).alias("release_year"),
        pl.concat_list(flags).list.drop_nulls().alias("genres"),
    )
    return _source(MOVIELENS_100K, files, _DATA, lines.table(files[1], _USER, "user_id"), items)


def read_1m(path: Path, import_day: str) -> Source:
    """MovieLens-1M from the folder `path` with `ratings.dat`, `users.dat` and `movies.dat`; every rating has its time.

    Raises:
        DataError: a file is missing or does not have the official layout.
    """
    files = (path / "ratings.dat", path / "users.dat", path / "movies.dat")
    items = lines.table(files[2], _MOVIES_DAT, "item_id").select(
        "item_id",
        pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int64).alias("release_year"),
        pl.col("genres").str.split("|"),
    )
    return _source(MOVIELENS_1M, files, _RATINGS_DAT, lines.table(files[1], _USERS_DAT, "user_id"), items)


def _source(section: dict[str, Any], files: tuple[Path, Path, Path], layout: Layout, users: pl.DataFrame, items: pl.DataFrame) -> Source:
    """The ratings in order of time, each with what is known of its user and its item."""
    ratings = lines.collect(lines.scan(files[0], layout), files[0]).sort("epoch", "user_id", "item_id")
    _check_described(ratings, users, "user_id", files)
    _check_described(ratings, items, "item_id", files)
    time = clock.utc(pl.col("epoch"))
    events = (
        ratings.with_columns(
            (pl.col("rating") >= LIKED_FROM).cast(pl.Int8).alias("liked"), time.alias("timestamp"), clock.day(time).alias(DAY)
        )
        .join(users, on="user_id", how="left", maintain_order="left")
        .join(items, on="item_id", how="left", maintain_order="left")
    )
    return lines.source(section, events.lazy(), files, len(events))


def _check_described(ratings: pl.DataFrame, described: pl.DataFrame, key: str, files: tuple[Path, Path, Path]) -> None:
    lost = ratings.join(described, on=key, how="anti").sort(lines.LINE)
    if len(lost):
        where = files[1] if key == "user_id" else files[2]
        raise DataError(
            f"{where} has no line for {key} {lost[key][0]} of {files[0].name} line {lost[lines.LINE][0]:,} ({len(lost):,} such ratings); "
            "use the files of one download"
        )
