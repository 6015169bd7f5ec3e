"""Text files line by line in Python, compressed or not: slow, for first lines and for finding where a file is at fault."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO, cast

_GZIP = b"\x1f\x8b"


def opened(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where it is compressed (gzip)."""
    return cast(IO[bytes], gzip.open(path)) if is_compressed(path) else path.open("rb")


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed (gzip), by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def fault(path: Path) -> str | None:
    """What keeps a file from being read as text: the first line that is not UTF-8, or an early end; None if nothing does."""
    number = 0
    try:
        with opened(path) as file:
            for line in file:
                line.decode()
                number += 1
    except UnicodeDecodeError:
        return f"{path} line {number + 1:,} is not encoded in UTF-8"
    except (OSError, EOFError, zlib.error) as error:
        return f"{path} cannot be read beyond line {number:,} ({error})"
    return None
