"""`amtl fetch` against a server on the loopback device: from the publisher's zip to day partitions, or not at all."""

import dataclasses
import hashlib
import io
import zipfile
from pathlib import Path

import loopback
import official
import pytest
import yaml

from amtl.data import events as ev
from amtl.errors import DataError, ParamsError
from amtl.sources.fetch import publishers
from amtl.sources.published.registry import PUBLISHED
from flows import data
from flows.fetch import fetched

TEXT = (Path(__file__).resolve().parents[3] / "params.yaml").read_text()
FOLDERS = {"movielens-100k": "ml-100k", "movielens-1m": "ml-1m"}


def made_zip(name, files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file, lines in {**files, "README": ["terms"]}.items():
            archive.writestr(f"{FOLDERS[name]}/{file}", "".join(f"{line}\n" for line in lines).encode("latin-1"))
    return content.getvalue()


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace whose data are not pinned, since that is DVC's."""
    monkeypatch.setattr(data, "pin", lambda root: "digest")
    (tmp_path / "params.yaml").write_text(TEXT)
    return tmp_path


@pytest.fixture
def offered(monkeypatch):
    """Offer a made zip in place of the publisher's."""

    def offer(name, content):
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        monkeypatch.setitem(publishers.OFFERS, name, dataclasses.replace(publishers.OFFERS[name], md5=md5))
        return content

    return offer


@pytest.mark.parametrize("name", FOLDERS)
def test_a_data_set_is_fetched_once_and_brought_in(workspace, offered, name):
    content = offered(name, made_zip(name, official.ALL[name]))
    with loopback.serving(loopback.Site(content)) as site:
        done = fetched(workspace, name, replace=True, mirror=site.url)
        again = fetched(workspace, name, replace=True, mirror=site.url)
    assert site.asked == [None]
    assert done.name == name
    assert done.days.written == again.days.written == ("1970-01-01", "1970-01-02")
    assert len(ev.partitions(workspace / "data/events")) == 2
    assert yaml.safe_load((workspace / "params.yaml").read_text())["events"]["name"] == name
    assert [path.name for path in (workspace / ".amtl/downloads").iterdir()] == [f"{FOLDERS[name]}.zip"]


def test_another_data_set_stays_and_nothing_is_downloaded(workspace, offered):
    with loopback.serving(loopback.Site(b"")) as site, pytest.raises(DataError, match=r"'sample'.*'movielens-1m'.*--replace"):
        fetched(workspace, "movielens-1m", replace=False, mirror=site.url)
    assert site.asked == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", r"ml-100k\.zip is no zip that can be read"),
        (made_zip("movielens-1m", {}), r"holds ml-100k/u\.data 0 times"),
        (made_zip("movielens-100k", official.MOVIELENS_100K | {"u.data": ["1,2,3,4"]}), r"u\.data line 1: it has 1 fields, not 4"),
    ],
)
def test_what_is_not_the_official_file_changes_nothing(workspace, offered, content, message):
    with loopback.serving(loopback.Site(offered("movielens-100k", content))) as site, pytest.raises(DataError, match=message):
        fetched(workspace, "movielens-100k", replace=True, mirror=site.url)
    assert not (workspace / "data").exists()
    assert (workspace / "params.yaml").read_text() == TEXT


def test_a_mirror_must_have_the_publishers_content(workspace):
    content = made_zip("movielens-100k", official.MOVIELENS_100K)
    with loopback.serving(loopback.Site(content)) as site, pytest.raises(DataError, match="not 0e33842e24a9c977be4e0107933c0723"):
        fetched(workspace, "movielens-100k", replace=True, mirror=site.url)
    assert not list((workspace / ".amtl/downloads").iterdir())


def test_what_nobody_offers(workspace):
    with pytest.raises(ParamsError, match="frappe cannot be fetched; movielens-100k and movielens-1m can"):
        fetched(workspace, "frappe", replace=True)


def test_offers_are_published_sets_with_terms():
    for name, offer in publishers.OFFERS.items():
        assert name in PUBLISHED
        assert offer.url.startswith("https://files.grouplens.org/datasets/movielens/")
        assert any("Harper" in line for line in offer.terms)
