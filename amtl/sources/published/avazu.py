"""Avazu's click log (Kaggle "Click-Through Rate Prediction", 2014; https://www.kaggle.com/c/avazu-ctr-prediction/data).

`train` (published as train.gz) is comma-separated with a header. `hour` is YYMMDDHH in UTC: it gives the day, the row's time (at the full
hour) and the field `hour` (0 to 23). `id` numbers the rows and is no feature. All other columns are values of fields, -1 among them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from amtl.sources.published import clock, lines
from amtl.sources.published.layout import FLAG, INTEGER, TEXT, Column, Kind, Layout, columns
from amtl.sources.source import DAY, Source

FILES = ("train.csv", "train.csv.gz", "train.gz", "train")
_NUMBERED = ("C1", "banner_pos")
_HASHED = ("site_id", "site_domain", "site_category", "app_id", "app_domain", "app_category", "device_id", "device_ip", "device_model")
_LAST = ("device_type", "device_conn_type", *(f"C{number}" for number in range(14, 22)))

AVAZU: dict[str, Any] = {
    "name": "avazu",
    "label": "click",
    "time": "time",
    "split": {"kind": "time", "test": 0.1, "validation": 0.1},
    "fields": [
        {"name": "hour", "type": "integer"},
        *({"name": name, "type": "integer"} for name in _NUMBERED),
        *({"name": name} for name in _HASHED),
        *({"name": name, "type": "integer"} for name in _LAST),
    ],
}

_HOUR = Kind(
    "an hour as YYMMDDHH",
    lambda text: pl.when(text.str.len_bytes() == 8).then(
        (text + "00").str.to_datetime("%y%m%d%H%M", strict=False, time_unit="us", time_zone="UTC")
    ),
)
_LAYOUT = Layout(
    "train.csv of Avazu's click-through contest",
    ",",
    (
        Column("id", TEXT),
        Column("click", FLAG),
        Column("hour", _HOUR),
        *columns(INTEGER, _NUMBERED),
        *columns(TEXT, _HASHED),
        *columns(INTEGER, _LAST),
    ),
    header=True,
)


def read(path: Path, import_day: str) -> Source:
    """Avazu's training log from its file, or the folder that holds it; every row has its hour.

    Raises:
        DataError: it is not there or has another header; on collecting: a line does not have the official layout.
    """
    file = lines.find(path, FILES, _LAYOUT.title)
    time = pl.col("hour")
    events = lines.scan(file, _LAYOUT).with_columns(time.alias("time"), clock.hour(time).alias("hour"), clock.day(time).alias(DAY))
    return lines.source(AVAZU, events, [file], lines.count([file], _LAYOUT))
