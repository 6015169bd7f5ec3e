"""The published data sets that are known by name: `amtl ingest NAME PATH`."""

from __future__ import annotations

from dataclasses import dataclass

from amtl.sources.published import avazu, criteo, frappe, ijcai18, movielens, taobao
from amtl.sources.source import Reader


@dataclass(frozen=True)
class Published:
    """A data set that others publish.

    Attributes:
        read: its reader.
        title: what it is, in a line.
        path: what PATH must be.
        first_day: taken for its first day, where the publisher does not say; None where rows have times, or days mean nothing.
    """

    read: Reader
    title: str
    path: str
    first_day: str | None = None


PUBLISHED: dict[str, Published] = {
    "movielens-100k": Published(movielens.read_100k, "ratings of films, 1997-98; a like is 4 or 5", "folder with u.data, u.user, u.item"),
    "movielens-1m": Published(
        movielens.read_1m, "ratings of films, 2000-03; a like is 4 or 5", "folder with ratings.dat, users.dat, movies.dat"
    ),
    "frappe": Published(frappe.read, "use of apps in a context, with negatives", "folder with frappe.{train,validation,test}.libfm"),
    "criteo": Published(criteo.read, "display ads of Kaggle's Challenge, 13 numbers and 26 values", "train.txt"),
    "criteo-terabyte": Published(
        criteo.read_terabyte, "display ads, the same fields, 24 days without dates", "folder with day_0 ... day_23", criteo.FIRST_DAY
    ),
    "avazu": Published(avazu.read, "mobile ads, 11 days", "train.csv or train.gz"),
    "ijcai-18": Published(ijcai18.read, "conversions after clicks in Taobao's search", "round1_ijcai_18_train_20180301.txt"),
    "taobao-ads": Published(taobao.read, "display ads of Taobao, 8 days", "folder with raw_sample.csv, ad_feature.csv, user_profile.csv"),
}
