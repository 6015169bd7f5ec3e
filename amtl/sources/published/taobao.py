"""Taobao's display ads (Alimama, 2018; https://tianchi.aliyun.com/dataset/56): clicks on 26 million impressions of 8 days.

`raw_sample.csv` is joined with what `ad_feature.csv` says of the ad and `user_profile.csv` of the user; some users have no
profile (their values are missing). `nonclk` is the label turned round: it is no feature. Days and hours are those of Beijing,
so that the days are the official ones (20170506 to 20170513): a row may so lie up to 8 hours before its partition's day in UTC.
Missing values are empty, or NULL (brands).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from amtl.sources.published import clock, lines
from amtl.sources.published.layout import EPOCH, FLAG, INTEGER, NUMBER, TEXT, Column, Layout, columns
from amtl.sources.source import DAY, Source

_FILES = ("raw_sample.csv", "ad_feature.csv", "user_profile.csv")
_AD = ("cate_id", "campaign_id", "customer", "brand")
_USER = (
    "cms_segid",
    "cms_group_id",
    "final_gender_code",
    "age_level",
    "pvalue_level",
    "shopping_level",
    "occupation",
    "new_user_class_level",
)

TAOBAO: dict[str, Any] = {
    "name": "taobao-ads",
    "label": "clk",
    "time": "time",
    "split": {"kind": "time", "test": 0.1, "validation": 0.1},
    "fields": [
        {"name": "user", "type": "integer"},
        {"name": "adgroup_id", "type": "integer"},
        {"name": "pid"},
        {"name": "hour", "type": "integer"},
        *({"name": name, "type": "integer", "optional": True} for name in (*_AD, *_USER)),
        {"name": "price", "kind": "number", "optional": True},
    ],
}

_SAMPLE = Layout(
    "raw_sample.csv of Taobao's display ads",
    ",",
    (
        Column("user", INTEGER),
        Column("time_stamp", EPOCH),
        Column("adgroup_id", INTEGER),
        Column("pid", TEXT),
        *columns(FLAG, ("nonclk", "clk")),
    ),
    header=True,
)
_ADS = Layout(
    "ad_feature.csv of Taobao's display ads",
    ",",
    (Column("adgroup_id", INTEGER), *columns(INTEGER, _AD, optional=True), Column("price", NUMBER, optional=True)),
    header=True,
    missing=("", "NULL"),
)
_USERS = Layout(
    "user_profile.csv of Taobao's display ads",
    ",",
    (Column("userid", INTEGER), *columns(INTEGER, _USER, optional=True)),
    header=True,
    missing=("", "NULL"),
)


def read(path: Path, import_day: str) -> Source:
    """Taobao's display ads from the folder with `raw_sample.csv`, `ad_feature.csv` and `user_profile.csv`; every row has its time.

    Raises:
        DataError: a file is missing, has another header, or a line does not have the official layout; an ad or a user has two lines.
    """
    what = "the folder with raw_sample.csv, ad_feature.csv and user_profile.csv"
    files = [lines.find(path / name, (), what) for name in _FILES]
    ads, users = lines.table(files[1], _ADS, "adgroup_id"), lines.table(files[2], _USERS, "userid")
    sample, time = lines.scan(files[0], _SAMPLE), clock.utc(pl.col("time_stamp"))
    events = (
        sample.join(ads.lazy().with_columns(has_ad=True), on="adgroup_id", how="left", maintain_order="left")
        .join(users.lazy().with_columns(has_user=True), left_on="user", right_on="userid", how="left", maintain_order="left")
        .with_columns(time.alias("time"), clock.hour(time, clock.BEIJING).alias("hour"), clock.day(time, clock.BEIJING).alias(DAY))
    )
    rows, without_ad, without_user = lines.collect(events.select(pl.len(), pl.col("has_ad", "has_user").null_count()), *files).row(0)
    return lines.source(TAOBAO, events, files, rows, [*_missing(without_ad, "ad", files[1]), *_missing(without_user, "user", files[2])])


def _missing(rows: int, whose: str, path: Path) -> list[str]:
    """A note on rows whose ad or user has no line of its own, if there are some."""
    return [f"rows whose {whose} is not in {path.name}: {rows:,}; its values are missing there"] if rows else []
