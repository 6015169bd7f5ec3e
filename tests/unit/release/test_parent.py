from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amtl import files
from amtl.errors import ArtifactError, RegistryError
from amtl.packing import bundle
from amtl.release import registry
from amtl.release.parent import Parent, ParentLock, fetch

DIGEST = "0123456789abcdef" * 4
LOCKS = [ParentLock(), ParentLock(None, "12345678901234567890123456789012"), ParentLock(Parent("tiny", 3, DIGEST), "ab" * 16 + ".dir")]


@pytest.mark.parametrize("lock", [*LOCKS, ParentLock(Parent("tiny", 3, "1" * 64), "1e5")])
def test_lock_comes_back_as_written(lock: ParentLock, tmp_path: Path) -> None:
    lock.write(tmp_path / "parent.lock")
    assert ParentLock.read(tmp_path / "parent.lock") == lock
    assert (tmp_path / "parent.lock").read_text().startswith("# ")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "two entries"),
        ("[1, 2]", "two entries"),
        ("parent: none", "two entries"),
        ("parent: none\ndata: ''\nmore: 1", "two entries"),
        ("parent: none\ndata: 5", "two entries"),
        ("parent: champion\ndata: ''", "name, version and digest"),
        ("parent: {name: tiny, version: 3}\ndata: ''", "name, version and digest"),
        (f"parent: {{name: tiny, version: '3', digest: {DIGEST}}}\ndata: ''", "parent.version"),
        (f"parent: {{name: tiny, version: 0, digest: {DIGEST}}}\ndata: ''", "parent.version"),
        (f"parent: {{name: tiny, version: true, digest: {DIGEST}}}\ndata: ''", "parent.version"),
        (f"parent: {{name: 7, version: 3, digest: {DIGEST}}}\ndata: ''", "parent.name"),
        ("parent: {name: tiny, version: 3, digest: abc}\ndata: ''", "parent.digest"),
        ("parent: {none", "cannot be read"),
        ("parent: !!python/object/apply:os.getcwd []\ndata: ''", "cannot be read"),
    ],
)
def test_a_damaged_lock_is_refused_with_what_to_do(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "parent.lock"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=word) as caught:
        ParentLock.read(path)
    assert "amtl parent" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_lock_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        ParentLock.read(tmp_path / "parent.lock")


def test_a_cold_start_needs_no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert fetch(ParentLock(), tmp_path / "parent") == {"parent": "none"}
    assert json.loads((tmp_path / "parent" / "parent.json").read_text()) == {"parent": "none"}
    assert [path.name for path in (tmp_path / "parent").iterdir()] == ["parent.json"]


def test_the_pinned_version_is_laid_down(made: Callable[..., Any], name: str, tmp_path: Path) -> None:
    one = made(1)
    version = registry.register(name, one.bundle, one.state, one.run_id, {})
    content = fetch(ParentLock(Parent(name, 1, version.digest)), tmp_path / "parent")
    assert content == {"name": name, "version": 1, "digest": version.digest}
    assert json.loads((tmp_path / "parent" / "parent.json").read_text()) == content
    assert bundle.identity(tmp_path / "parent" / "bundle") == version.digest
    assert files.verify_manifest(tmp_path / "parent" / "state") == files.verify_manifest(one.state)


def test_another_digest_than_the_pinned_one_changes_nothing(made: Callable[..., Any], name: str, tmp_path: Path) -> None:
    one = made(1)
    registry.register(name, one.bundle, one.state, one.run_id, {})
    fetch(ParentLock(), tmp_path / "parent")
    with pytest.raises(ArtifactError, match=r"parent\.lock pins 0123456789ab"):
        fetch(ParentLock(Parent(name, 1, DIGEST)), tmp_path / "parent")
    with pytest.raises(RegistryError, match="no version 9"):
        fetch(ParentLock(Parent(name, 9, DIGEST)), tmp_path / "parent")
    assert json.loads((tmp_path / "parent" / "parent.json").read_text()) == {"parent": "none"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
