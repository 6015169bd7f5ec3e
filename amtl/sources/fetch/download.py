"""A file from the network: resumed where it broke off, tried again where that may help, kept only with the right checksum.

What has come lies beside the target as `.part`, with a note of what it is a part of: the address, and the server's own mark of
the content (ETag or Last-Modified). The rest is asked for with Range and If-Range (RFC 9110, sections 13.1.5 and 14), so that a
server whose file has changed, or that knows no ranges, sends all of it anew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amtl import files
from amtl.errors import ArtifactError, DataError, ParamsError

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
MOST_BYTES = 2**31
PASSING = frozenset({408, 416, 425, 429, 500, 502, 503, 504})
"""Status codes after which another attempt may succeed; 416: what is here is no part of the file any more, and was dropped."""

At = Callable[[int], None]
"""Told how many bytes are here."""


class _Passing(Exception):
    """An answer after which another attempt may succeed."""


@dataclass(frozen=True)
class _Part:
    """What has come of a file so far."""

    path: Path

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def mark(self, url: str) -> str | None:
        """The server's mark of the content that this is a part of; None if it is none of `url`'s."""
        try:
            note = files.read_json(self.note)
        except ArtifactError:
            return None
        return note.get("mark") if isinstance(note, dict) and note.get("url") == url else None

    def move(self, target: Path) -> None:
        self.path.replace(target)

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(url: str, md5: str, path: Path, at: At, pause: Callable[[float], None] = time.sleep) -> None:
    """Have the file `url` at `path`; nothing is asked of the network if it is there already.

    Args:
        url: http or https.
        md5: of the content, as its publisher states it.
        path: where it is to lie; its folder is made.
        at: told how many bytes are here.
        pause: waits for some seconds.

    Raises:
        ParamsError: `url` is no address.
        DataError: the network or the server does not give it; it has another checksum; the disk is full. What has come is
            kept for the next time, unless the checksum says that it is wrong.
    """
    if path.is_file() and _md5(path) == md5:
        return
    part = _Part(path.with_name(path.name + ".part"))
    try:
        _complete(url, part, at, pause)
        found = _md5(part.path)
        if found == md5:
            files.publish(path, part.move)
    except OSError as error:
        raise DataError(
            f"{part.path} cannot be written ({error.strerror}); make room for it, and run this again: it goes on from there"
        ) from None
    part.drop()
    if found != md5:
        raise DataError(
            f"{url} is not what its publisher states: its MD5 is {found}, not {md5}; it was removed. Run this again, or name another "
            "address with --from"
        )


def _complete(url: str, part: _Part, at: At, pause: Callable[[float], None]) -> None:
    """Fetch what is missing, in several attempts."""
    import httpx

    problem = ""
    with _client(url) as client:
        for attempt in range(ATTEMPTS):
            if attempt:
                pause(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
            try:
                return _go_on(client, url, part, at)
            except (httpx.TransportError, _Passing) as error:
                problem = str(error) or type(error).__name__
            except httpx.HTTPError as error:
                raise DataError(f"{url} cannot be fetched ({error}); name another address with --from") from None
    resumed = f": it goes on after {part.bytes:,} bytes" if part.bytes else ""
    raise DataError(
        f"{url} cannot be fetched ({problem}; {ATTEMPTS} attempts); check the network and run this again{resumed}. "
        "Or name another address with --from"
    )


def _client(url: str) -> httpx.Client:
    import httpx

    try:
        if httpx.URL(url).scheme not in {"http", "https"} or not httpx.URL(url).host:
            raise httpx.InvalidURL("it does not begin with http:// or https://")
    except httpx.InvalidURL as error:
        raise ParamsError(f"--from {url} is no address of a file ({error}); give one such as https://example.org/ml-100k.zip") from None
    # Not compressed on the way: a part of the file must be a part of the file.
    return httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True, headers={"Accept-Encoding": "identity"})


def _go_on(client: httpx.Client, url: str, part: _Part, at: At) -> None:
    """One attempt: ask for what is missing, and append what comes."""
    here, mark = part.bytes, part.mark(url)
    ask = {"Range": f"bytes={here}-", "If-Range": mark} if here and mark else {}
    with client.stream("GET", url, headers=ask) as answer:
        _check(answer, url, part)
        keep = here if answer.status_code == 206 else 0
        if keep and not answer.headers.get("Content-Range", "").startswith(f"bytes {here}-"):
            part.drop()
            raise _Passing("the server sent another part of the file than was asked for")
        files.publish_json(part.note, {"url": url, "mark": _mark(answer.headers)})
        at(keep)
        with files.appending(part.path, keep) as file:
            for chunk in answer.iter_raw():
                keep += len(chunk)
                if keep > MOST_BYTES:
                    part.drop()
                    raise DataError(f"{url} is larger than {MOST_BYTES:,} bytes, which no file of this data set is; check the address")
                file.write(chunk)
                at(keep)


def _check(answer: httpx.Response, url: str, part: _Part) -> None:
    if answer.status_code in {200, 206}:
        return
    status = f"the server answers {answer.status_code} {answer.reason_phrase}".rstrip()
    if answer.status_code == 416:
        part.drop()
    if answer.status_code in PASSING:
        raise _Passing(status)
    raise DataError(f"{url} cannot be fetched ({status}); the publisher may have moved it: name another address with --from")


def _mark(headers: Any) -> str | None:
    """The server's mark of the content: a strong ETag, else the time of its last change."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
