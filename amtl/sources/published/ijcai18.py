"""The Alimama search advertising conversion contest (IJCAI-18), round 1: conversions after clicks in Taobao's search.

Layout after the contest's description (https://tianchi.aliyun.com/competition/entrance/231647):
`round1_ijcai_18_train_20180301.txt`, separated by spaces, with a header; -1 stands for missing. What the description leaves open:

- `item_category_list` and `item_property_list` (values between `;`) are fields of many values, all levels of the category included.
- `predict_category_property`, `CATEGORY:PROPERTY,PROPERTY;CATEGORY:-1;...`, becomes two fields of many values, `predict_category_list` and
  `predict_property_list`.
- `context_timestamp` is in seconds; days and hours are those of Beijing, where the shoppers are: a row may so lie up to 8 hours before
  its partition's day in UTC.
- `instance_id` numbers the rows and `context_id` the searches: neither is a feature.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from amtl.sources.published import clock, lines
from amtl.sources.published.layout import EPOCH, FLAG, INTEGER, NUMBER, TEXT, Column, Kind, Layout, columns
from amtl.sources.source import DAY, Source

FILES = ("round1_ijcai_18_train_20180301.txt", "round1_ijcai_18_train_20180301.txt.gz")
_ITEM = ("item_brand_id", "item_city_id", "item_price_level", "item_sales_level", "item_collected_level", "item_pv_level")
_USER = ("user_gender_id", "user_age_level", "user_occupation_id", "user_star_level")
_SCORES = ("shop_score_service", "shop_score_delivery", "shop_score_description")
_LISTS = ("item_category_list", "item_property_list", "predict_category_list", "predict_property_list")
_SINGLE = ("user_id", "item_id", "shop_id", *_ITEM, *_USER, "context_page_id", "shop_review_num_level", "shop_star_level", "hour")
_REQUIRED = ("user_id", "item_id", "shop_id", "hour")

IJCAI18: dict[str, Any] = {
    "name": "ijcai-18",
    "label": "is_trade",
    "time": "time",
    "split": {"kind": "time", "test": 0.1, "validation": 0.1},
    "fields": [
        *({"name": name, "type": "integer", "optional": name not in _REQUIRED} for name in _SINGLE),
        *({"name": name, "kind": "ids", "type": "integer", "optional": True} for name in _LISTS),
        *({"name": name, "kind": "number", "optional": True, "range": [0, 1]} for name in ("shop_review_positive_rate", *_SCORES)),
    ],
}


def _integers(texts: pl.Expr) -> pl.Expr:
    return texts.list.eval(pl.element().str.strip_chars(":,;").cast(pl.Int64, strict=False))


def _list(text: pl.Expr) -> pl.Expr:
    """The values between `;`; null if one is no integer."""
    values = _integers(text.str.split(";"))
    return pl.when(values.list.eval(pl.element().is_null()).list.any().not_()).then(values)


_PREDICTED = Kind("CATEGORY:PROPERTY,...;...", lambda text: pl.when(text.str.contains(r"^\d[\d:,;-]*$")).then(text))
_LAYOUT = Layout(
    "round 1's training file of the IJCAI-18 contest",
    " ",
    (
        *columns(INTEGER, ("instance_id", "item_id")),
        *columns(Kind("integers with ; in between", _list), ("item_category_list", "item_property_list"), optional=True),
        *columns(INTEGER, _ITEM, optional=True),
        Column("user_id", INTEGER),
        *columns(INTEGER, _USER, optional=True),
        Column("context_id", TEXT),
        Column("context_timestamp", EPOCH),
        Column("context_page_id", INTEGER, optional=True),
        Column("predict_category_property", _PREDICTED, optional=True),
        Column("shop_id", INTEGER),
        Column("shop_review_num_level", INTEGER, optional=True),
        Column("shop_review_positive_rate", NUMBER, optional=True),
        Column("shop_star_level", INTEGER, optional=True),
        *columns(NUMBER, _SCORES, optional=True),
        Column("is_trade", FLAG),
    ),
    header=True,
    missing=("-1", "-1.0"),
)


def read(path: Path, import_day: str) -> Source:
    """The contest's training rows from its file, or the folder that holds it; every row has its time.

    Raises:
        DataError: it is not there or has another header; on collecting: a line does not have the official layout.
    """
    file = lines.find(path, FILES, _LAYOUT.title)
    time, predicted = clock.utc(pl.col("context_timestamp")), pl.col("predict_category_property")
    events = lines.scan(file, _LAYOUT).with_columns(
        time.alias("time"),
        clock.hour(time, clock.BEIJING).alias("hour"),
        clock.day(time, clock.BEIJING).alias(DAY),
        _integers(predicted.str.extract_all(r"(^|;)\d+")).alias("predict_category_list"),
        _integers(predicted.str.extract_all(r"[:,]\d+")).alias("predict_property_list"),
    )
    return lines.source(IJCAI18, events, [file], lines.count([file], _LAYOUT))
