"""Data sets that their publisher lets anyone download: where they lie, what they must be, on what terms they may be used.

Addresses and checksums are the publisher's (GroupLens, https://grouplens.org/datasets/movielens/; the MD5 stands beside each
file, e.g. https://files.grouplens.org/datasets/movielens/ml-100k.zip.md5).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amtl.errors import ParamsError
from amtl.sources.fetch.archive import unpack
from amtl.sources.fetch.download import At, download

PUBLISHER = "https://files.grouplens.org/datasets/movielens"
TERMS = (
    "GroupLens' terms: for research; no redistribution and no commercial use without their permission; no endorsement implied",
    "acknowledge: F. M. Harper and J. A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM TiiS 5, 4, Article 19",
)


@dataclass(frozen=True)
class Offer:
    """A data set that can be downloaded.

    Attributes:
        url: of its zip.
        md5: of the zip, as its publisher states it.
        members: the files in it that its reader wants.
        terms: what the user should know before using it, in lines.
    """

    url: str
    md5: str
    members: tuple[str, ...]
    terms: tuple[str, ...]


OFFERS: dict[str, Offer] = {
    "movielens-100k": Offer(
        f"{PUBLISHER}/ml-100k.zip",
        "0e33842e24a9c977be4e0107933c0723",
        ("ml-100k/u.data", "ml-100k/u.user", "ml-100k/u.item"),
        (*TERMS, f"in full: {PUBLISHER}/ml-100k-README.txt"),
    ),
    "movielens-1m": Offer(
        f"{PUBLISHER}/ml-1m.zip",
        "c4d9eecfca2ab87c1945afe126590906",
        ("ml-1m/ratings.dat", "ml-1m/users.dat", "ml-1m/movies.dat"),
        (*TERMS, f"in full: {PUBLISHER}/ml-1m-README.txt"),
    ),
}


def offer(name: str) -> Offer:
    """The data set of this name.

    Raises:
        ParamsError: none has it.
    """
    if name not in OFFERS:
        raise ParamsError(f"{name} cannot be fetched; {' and '.join(OFFERS)} can. Others: download them and `amtl ingest NAME PATH`")
    return OFFERS[name]


def fetch(
    name: str,
    downloads: Path,
    folder: Path,
    mirror: str | None = None,
    at: At = lambda _: None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Have the official files of a data set in `folder`.

    Args:
        name: one of OFFERS.
        downloads: where the zip is kept; one that is there is not downloaded again.
        folder: gets the files that the reader of this name wants.
        mirror: another address of the same zip.
        at: told how many bytes of the zip are here.
        pause: waits for some seconds between attempts.

    Raises:
        ParamsError: no such data set, or the mirror is no address.
        DataError: it cannot be fetched, or is not what its publisher states.
    """
    wanted = offer(name)
    archive = downloads / wanted.url.rpartition("/")[2]
    download(mirror or wanted.url, wanted.md5, archive, at, pause)
    unpack(archive, wanted.members, folder)
