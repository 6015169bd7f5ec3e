"""The one door for writing: atomic files and folders, digests, manifests, the workspace lock.

A reader sees the old content or the new, never a mix: content goes to a temporary name beside the target, is
flushed to disk, and is renamed; a folder's `manifest.json` is written last, so a folder without it is incomplete.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from amtl.errors import ArtifactError, WorkspaceError

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_of_tensors(tensors: dict[str, Tensor]) -> str:
    """Hex SHA-256 of named tensors on the CPU: names, types, shapes and content."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def code_digest(*packages: str) -> str:
    """Hex SHA-256 over the source files of packages and modules of this project, e.g. `amtl.training`: what a kept result depends on."""
    places = [Path(__file__).parent.joinpath(*package.split(".")[1:]) for package in packages]
    sources = [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")])]
    return digest_of([[path.name, sha256(path)] for path in sources])


def fsync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Create or replace the file `path`: `write` fills a temporary file beside it, which is flushed and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        fsync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def publish_chunks(path: Path, chunks: Iterable[bytes]) -> None:
    """Create or replace a file with the bytes that come."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.writelines(chunks)

    publish(path, write)


@contextlib.contextmanager
def appending(path: Path, keep: int) -> Iterator[IO[bytes]]:
    """Open a file to go on after its first `keep` bytes; the rest is cut off. What is written stays, even if the block raises.

    The one file that is not published whole: a part of something that is known to be incomplete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(keep)
        yield file


def publish_text(path: Path, text: str) -> None:
    """Create or replace a text file (UTF-8)."""
    publish(path, lambda temporary: _write_text(temporary, text))


def publish_copy(path: Path, source: Path) -> None:
    """Create or replace a file by a copy of another."""
    publish(path, lambda temporary: _copy(source, temporary))


def publish_json(path: Path, value: Any) -> None:
    """Create or replace a JSON file; NaN and infinity are refused."""
    publish_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ArtifactError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; rerun the stage that makes it (dvc repro)") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path} cannot be read as JSON: {error}") from None


def publish_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Create or replace a safetensors file."""
    from safetensors.torch import save_file

    publish(path, lambda temporary: save_file(tensors, temporary))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, onto the CPU.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); fetch it again, or rerun the stage that makes it (dvc repro)") from None


@contextlib.contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Create or replace the folder `path`: yields a temporary folder to fill, then flushes and renames it.

    The body writes `manifest.json` last (`write_manifest`) where readers verify one. If it raises, nothing changes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        for folder, _, names in os.walk(temporary):
            for name in names:
                fsync(Path(folder) / name)
            fsync(Path(folder))
        _swap(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` that were killed have left beside it; the caller keeps other writers away (`workspace_lock`).

    An old folder that had stepped aside for a new one that never came goes back to its place.
    """
    for aside in path.parent.glob(f".{path.name}.*.old"):
        if not path.exists() and (aside / path.name).exists():
            (aside / path.name).replace(path)
        shutil.rmtree(aside, ignore_errors=True)
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(temporary, ignore_errors=True)


def prune(folder: Path, keep: Collection[str], days: float) -> None:
    """Remove the files and folders in `folder` that are not named in `keep` and were last changed more than `days` days ago."""
    if not folder.is_dir():
        return
    oldest = time.time() - days * 86_400
    for entry in folder.iterdir():
        if entry.name in keep or entry.lstat().st_mtime >= oldest:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def write_manifest(folder: Path, **entries: Any) -> None:
    """Write `manifest.json`: the given entries, and the SHA-256 and size in bytes of every other file in the folder."""
    files = {
        str(path.relative_to(folder)): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    publish_json(folder / MANIFEST, {**entries, "files": files})


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest and check every file against it, before a byte of them is parsed.

    Raises:
        ArtifactError: no manifest; a file is missing, added, of another size or of another content. Links count as what they
            lead to: DVC may have laid down links.
    """
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        raise ArtifactError(f"{folder / MANIFEST} has no list of files; fetch the folder again")
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST}
    for name in sorted(present ^ set(files)):
        raise ArtifactError(f"{folder / name} is {'not in' if name in present else 'missing, but in'} the manifest; fetch the folder again")
    for name, entry in files.items():
        _verify_file(folder / name, entry)
    return manifest


def _verify_file(path: Path, entry: Any) -> None:
    if not isinstance(entry, dict) or set(entry) != {"sha256", "bytes"}:
        raise ArtifactError(f"the manifest's entry for {path} is damaged; fetch the folder again")
    if path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
        raise ArtifactError(f"{path} does not have the content that its manifest names; it is damaged, fetch the folder again")


@contextlib.contextmanager
def workspace_lock(root: Path) -> Iterator[None]:
    """Hold the workspace for one run; `amtl` runs, stages run by hand and data imports exclude one another.

    Re-entrant over processes: what a lock holder starts inherits AMTL_LOCK_HELD and does not ask again.

    Raises:
        WorkspaceError: another run holds it.
    """
    path = root / ".amtl.lock"
    if os.environ.get("AMTL_LOCK_HELD") == str(path):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown process"
            raise WorkspaceError(f"another run holds this workspace ({holder}); wait until it ends ({path})") from None
        file.truncate(0)
        file.write(f"pid {os.getpid()}")
        file.flush()
        os.environ["AMTL_LOCK_HELD"] = str(path)
        try:
            yield
        finally:
            del os.environ["AMTL_LOCK_HELD"]


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap(temporary: Path, path: Path) -> None:
    """Put `temporary` in the place of `path`. A folder cannot be renamed over a full one: the two change places.

    Where the system cannot do that in one step, the old folder steps aside first, and for a moment there is none.
    """
    if not path.exists():
        temporary.replace(path)
        return
    if _exchange(temporary, path):
        shutil.rmtree(temporary, ignore_errors=True)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    path.replace(aside / path.name)
    try:
        temporary.replace(path)
    except BaseException:
        (aside / path.name).replace(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step, by Linux's renameat2; returns whether it was done."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    current_folder, exchange = -100, 2
    return bool(renameat2(current_folder, os.fsencode(one), current_folder, os.fsencode(other), exchange) == 0)
