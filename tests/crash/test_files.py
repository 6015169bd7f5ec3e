"""A writer that is killed at any step leaves the old content or the new; damage to a folder with a manifest is seen."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from amtl import files
from amtl.errors import ArtifactError, WorkspaceError

STEPS = {
    "open",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.remove",
    "os.chmod",
    "os.scandir",
    "os.listdir",
    "tempfile.mkstemp",
    "tempfile.mkdtemp",
}
"""Audit events that stand for a step of a writer: the kill comes just before it."""

OLD, NEW = {"a": "old a", "b/c": "old c"}, {"a": "new a", "d": "new d"}


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch):
    """A killed process loses nothing that it handed to the system; flushing is for a machine that stops."""
    monkeypatch.setattr(files, "fsync", lambda path: None)


def kill_points(operation):
    """Run `operation` in a fork of this process that kills itself before step 1, then before step 2, ...; yields after each."""
    for number in itertools.count(1):
        pid = os.fork()
        if pid == 0:
            _run_and_die(operation, number)
        status = os.waitpid(pid, 0)[1]
        yield number
        if os.waitstatus_to_exitcode(status) == 0:
            return
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def _run_and_die(operation, number):
    count = itertools.count(1)

    def hook(event, _):
        if event in STEPS and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(hook)
        operation()
        os._exit(0)
    finally:
        os._exit(1)


def write_folder(path, content):
    with files.publish_folder(path) as folder:
        for name, text in content.items():
            files.publish_text(folder / name, text)
        files.write_manifest(folder)


def read_folder(path):
    names = files.verify_manifest(path)["files"]
    return {name: (path / name).read_text() for name in names}


def test_a_file_is_old_or_new_at_every_kill_point(tmp_path):
    path = tmp_path / "file"
    files.publish_text(path, "old")
    seen = [path.read_text() for _ in kill_points(lambda: files.publish_text(path, "new"))]
    assert set(seen) == {"old", "new"}
    assert seen == sorted(seen, reverse=True), "once new, it stays"
    assert len(seen) >= 4


def test_a_new_file_is_whole_or_absent_at_every_kill_point(tmp_path):
    path = tmp_path / "deep" / "file"
    seen = [path.read_text() if path.exists() else None for _ in kill_points(lambda: files.publish_text(path, "new"))]
    assert set(seen) == {None, "new"}


def test_a_folder_is_old_or_new_at_every_kill_point(tmp_path):
    path = tmp_path / "folder"
    write_folder(path, OLD)
    seen = []
    for _ in kill_points(lambda: write_folder(path, NEW)):
        seen.append(read_folder(path))
        if seen[-1] == NEW:
            write_folder(path, OLD)
    assert OLD in seen
    assert NEW in seen
    assert all(found in (OLD, NEW) for found in seen)


def test_a_folder_without_exchange_is_old_or_new_or_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    path = tmp_path / "folder"
    write_folder(path, OLD)
    for _ in kill_points(lambda: write_folder(path, NEW)):
        if path.exists():
            assert read_folder(path) in (OLD, NEW)
        shutil.rmtree(path, ignore_errors=True)
        write_folder(path, OLD)
    write_folder(path, NEW)
    assert read_folder(path) == NEW


def test_a_killed_writer_does_not_hinder_the_next(tmp_path):
    path = tmp_path / "folder"
    for _ in kill_points(lambda: write_folder(path, OLD)):
        write_folder(path, NEW)
        assert read_folder(path) == NEW


def test_a_writer_that_raises_changes_nothing_and_leaves_nothing(tmp_path):
    path = tmp_path / "folder"
    write_folder(path, OLD)
    with contextlib.suppress(ZeroDivisionError), files.publish_folder(path) as folder:
        files.publish_text(folder / "a", "new a")
        raise ZeroDivisionError
    assert read_folder(path) == OLD
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("name", ["a", "b/c", files.MANIFEST])
def test_every_flipped_byte_is_seen(tmp_path, name):
    write_folder(tmp_path / "folder", OLD)
    path = tmp_path / "folder" / name
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        if name != files.MANIFEST or _means_something(content, path.read_bytes()):
            with pytest.raises(ArtifactError):
                files.verify_manifest(tmp_path / "folder")


def _means_something(before, after):
    """Whether a change of the manifest's text changes its content."""
    try:
        return json.loads(before) != json.loads(after)
    except ValueError:
        return True


@pytest.mark.parametrize("name", ["a", "b/c", files.MANIFEST])
def test_every_cut_is_seen(tmp_path, name):
    write_folder(tmp_path / "folder", OLD)
    path = tmp_path / "folder" / name
    content = path.read_bytes()
    for length in range(len(content.rstrip())):
        path.write_bytes(content[:length])
        with pytest.raises(ArtifactError):
            files.verify_manifest(tmp_path / "folder")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "a").unlink(),
        lambda folder: (folder / "more").write_text("more"),
        lambda folder: (folder / "b" / "more").write_text("more"),
        lambda folder: (folder / files.MANIFEST).unlink(),
        lambda folder: (folder / files.MANIFEST).write_text("[]"),
        lambda folder: (folder / files.MANIFEST).write_text('{"files": {"a": 3}}'),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=["missing", "extra", "extra below", "no manifest", "list", "odd entry", "no folder"],
)
def test_a_folder_that_is_not_as_its_manifest_says_is_refused(tmp_path, damage):
    write_folder(tmp_path / "folder", OLD)
    damage(tmp_path / "folder")
    with pytest.raises(ArtifactError):
        files.verify_manifest(tmp_path / "folder")


HOLD = """
import pathlib, sys
from amtl import files
with files.workspace_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(WorkspaceError, match=f"pid {holder.pid}"), files.workspace_lock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with files.workspace_lock(tmp_path):
        assert os.environ["AMTL_LOCK_HELD"] == str(tmp_path / ".amtl.lock")
    assert "AMTL_LOCK_HELD" not in os.environ


def test_what_a_holder_starts_does_not_ask_for_the_lock_again(tmp_path):
    with files.workspace_lock(tmp_path):
        child = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert child.stdout == "held\n"
        with files.workspace_lock(tmp_path):
            pass
        assert "AMTL_LOCK_HELD" in os.environ


def test_pruning_leaves_what_is_named_and_what_is_young(tmp_path):
    for name in ("named", "young", "old", "older"):
        (tmp_path / name).mkdir() if name == "old" else (tmp_path / name).write_text("")
    (tmp_path / "old" / "file").write_text("")
    for name in ("named", "old", "older"):
        os.utime(tmp_path / name, (0, 0))
    files.prune(tmp_path, ["named"], 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["named", "young"]
    files.prune(tmp_path / "absent", [], 30)
