"""Members of a zip that came from outside: looked at before anything is written, and only the wanted ones are."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from amtl import files
from amtl.errors import DataError

MOST_BYTES = 2**30
CHUNK_BYTES = 2**20


def unpack(archive: Path, members: Iterable[str], folder: Path) -> None:
    """Write members of a zip into `folder`, under the last part of their names.

    Raises:
        DataError: it is no zip or damaged; it holds a link, an encrypted member, or a name that leads out of it; a wanted
            member is missing, there twice, or larger than MOST_BYTES.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            chosen = [_chosen(opened, name, archive) for name in members]
            for member in chosen:
                files.publish_chunks(folder / PurePosixPath(member.filename).name, _content(opened, member))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive} is no zip that can be read ({error}); remove it and fetch it again") from None


def _chosen(opened: zipfile.ZipFile, name: str, archive: Path) -> zipfile.ZipInfo:
    for member in opened.infolist():
        _check(member, archive)
    found = [member for member in opened.infolist() if member.filename == name]
    if len(found) != 1:
        raise DataError(f"{archive} holds {name} {len(found)} times, not once: it is not the official file; remove it and fetch it again")
    return found[0]


def _check(member: zipfile.ZipInfo, archive: Path) -> None:
    path = PurePosixPath(member.filename)
    outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename or PureWindowsPath(member.filename).drive
    odd = "leads out of the archive" if outside else _oddity(member)
    if odd:
        raise DataError(f"{archive} holds {member.filename!r}, which {odd}: it is not the official file; remove it and fetch it again")


def _oddity(member: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a device"
    if member.flag_bits & 1:
        return "is encrypted"
    return f"unpacks to {member.file_size:,} bytes" if member.file_size > MOST_BYTES else None


def _content(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """A member in chunks, never more than it says it holds; at the end its checksum is verified."""
    with opened.open(member) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
