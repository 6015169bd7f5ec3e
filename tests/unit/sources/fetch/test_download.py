"""Downloads against a server on the loopback device: resumed, retried, and never kept with another checksum."""

import errno
import hashlib
import socket
from pathlib import Path

import loopback
import pytest

from amtl import files
from amtl.errors import DataError, ParamsError
from amtl.sources.fetch import download as module
from amtl.sources.fetch.download import ATTEMPTS, download

CONTENT = bytes(range(256)) * 1000


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "file.zip"


def fetched(site, target, content=CONTENT):
    """Download it; how many bytes were said to be here, and for how long was waited."""
    told, pauses = [], []
    with loopback.serving(site):
        download(site.url, md5(content), target, told.append, pauses.append)
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["file.zip"]
    return told, pauses


def test_it_comes_whole_and_is_not_asked_for_again(target):
    site = loopback.Site(CONTENT)
    told, pauses = fetched(site, target)
    assert (told[0], told[-1], pauses, site.asked) == (0, len(CONTENT), [], [None])
    fetched(site, target)
    assert site.asked == [None]


def test_what_is_here_but_wrong_is_fetched_anew(target):
    files.publish_text(target, "wrong")
    fetched(loopback.Site(CONTENT), target)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, [None, "bytes=1000-", "bytes=3000-"]),
        ({"ranges": False}, [None, "bytes=1000-", "bytes=2000-"]),
        ({"mark": None}, [None, None, None]),
        ({"mark": 'W/"weak"'}, [None, None, None]),
    ],
    ids=["resumes", "server without ranges", "server without a mark", "weak mark"],
)
def test_a_connection_that_breaks_off_is_taken_up_again(target, options, asked):
    site = loopback.Site(CONTENT, cuts=[1000, 2000], **options)
    told, pauses = fetched(site, target)
    assert site.asked == asked
    assert pauses == [1.0, 2.0]
    assert told[-1] == len(CONTENT)


def test_the_next_run_goes_on(target):
    site = loopback.Site(CONTENT, cuts=[1000, 0, 0, 0, 0])
    with loopback.serving(site), pytest.raises(DataError, match=r"5 attempts\).*it goes on after 1,000 bytes"):
        download(site.url, md5(CONTENT), target, lambda _: None, lambda _: None)
    url = site.url
    assert not target.exists()
    fetched_site = loopback.Site(CONTENT)
    with loopback.serving(fetched_site):
        part = target.with_name("file.zip.part.json")
        files.publish_json(part, files.read_json(part) | {"url": fetched_site.url})
        download(fetched_site.url, md5(CONTENT), target, lambda _: None, lambda _: None)
    assert url != fetched_site.url
    assert fetched_site.asked == ["bytes=1000-"]
    assert target.read_bytes() == CONTENT


def test_a_file_that_has_changed_is_fetched_anew(target):
    changed = CONTENT[::-1]
    site = loopback.Site(CONTENT, cuts=[1000])

    def replace(_):
        site.content, site.mark = changed, '"two"'

    with loopback.serving(site):
        download(site.url, md5(changed), target, lambda _: None, replace)
    assert target.read_bytes() == changed
    assert site.asked == [None, "bytes=1000-"]


def test_another_address_is_another_file(target):
    with loopback.serving(loopback.Site(CONTENT[::-1], cuts=[1000] + [0] * 4)) as first, pytest.raises(DataError):
        download(first.url, md5(CONTENT), target, lambda _: None, lambda _: None)
    site = loopback.Site(CONTENT)
    fetched(site, target)
    assert site.asked == [None]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_errors_are_waited_out(target, status):
    assert fetched(loopback.Site(CONTENT, statuses=[status, status]), target)[1] == [1.0, 2.0]


def test_a_part_that_is_longer_than_the_file_is_dropped(target):
    site = loopback.Site(CONTENT, cuts=[1000])

    def shorten(_):
        site.content = CONTENT[:500]

    with loopback.serving(site):
        download(site.url, md5(CONTENT[:500]), target, lambda _: None, shorten)
    assert site.asked == [None, "bytes=1000-", None]


@pytest.mark.parametrize(
    ("site", "message"),
    [
        (loopback.Site(CONTENT, statuses=[404]), r"file\.zip cannot be fetched \(the server answers 404 Not Found\).*--from"),
        (loopback.Site(CONTENT, statuses=[403]), r"403 Forbidden"),
        (loopback.Site(CONTENT, statuses=[500] * ATTEMPTS), r"answers 500 Internal Server Error; 5 attempts\); check the network"),
        (loopback.Site(b"other bytes"), rf"its MD5 is {md5(b'other bytes')}, not {md5(CONTENT)}; it was removed"),
        (loopback.Site(b""), r"its MD5 is .* it was removed"),
    ],
    ids=["not there", "forbidden", "failing", "other content", "empty"],
)
def test_what_cannot_be_had_is_said_once_and_nothing_is_kept(target, site, message):
    with loopback.serving(site), pytest.raises(DataError, match=message):
        download(site.url, md5(CONTENT), target, lambda _: None, lambda _: None)
    assert not target.exists()
    assert [path.name for path in target.parent.glob("*")] == []


def test_no_network(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.zip"
    waited = []
    with pytest.raises(DataError, match=r"cannot be fetched \(.*refused.*5 attempts\); check the network"):
        download(url, md5(CONTENT), target, lambda _: None, waited.append)
    assert waited == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("url", ["ftp://example.org/a.zip", "a.zip", "file:///etc/passwd", "http://", ""])
def test_what_is_no_address_is_refused_before_anything_is_asked(target, url):
    with pytest.raises(ParamsError, match="is no address of a file"):
        download(url, md5(CONTENT), target, lambda _: None, pytest.fail)


def test_a_full_disk(target, monkeypatch):
    def full(path: Path, keep: int):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "appending", full)
    with loopback.serving(loopback.Site(CONTENT)) as site, pytest.raises(DataError, match=r"No space left on device.*make room"):
        download(site.url, md5(CONTENT), target, lambda _: None, lambda _: None)


def test_a_file_without_end_is_not_kept(target, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    with loopback.serving(loopback.Site(CONTENT)) as site, pytest.raises(DataError, match="larger than 1,000 bytes"):
        download(site.url, md5(CONTENT), target, lambda _: None, lambda _: None)
    assert [path.name for path in target.parent.glob("*")] == []
