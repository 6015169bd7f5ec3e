"""The newest complete checkpoint counts; two are kept."""

import shutil

import pytest
import torch
from toy import equal_weights

from amtl import files
from amtl.training import checkpoint


def tensors(number):
    return {"a": torch.full((3,), float(number)), "b": torch.tensor(number), "c": torch.arange(6).view(2, 3).T}


def found(folder):
    """Number of the newest checkpoint; its tensors are checked."""
    result = checkpoint.latest(folder)
    if result is None:
        return None
    held, progress = result
    assert equal_weights(held, tensors(progress["number"]))
    return progress["number"]


@pytest.fixture
def folder(tmp_path):
    for number in (3, 6, 20, 100):
        checkpoint.save(tmp_path / "resume", number, tensors(number), {"number": number})
    return tmp_path / "resume"


def test_the_newest_is_found_and_two_are_kept(folder):
    assert found(folder) == 100
    assert [int(path.name) for path in sorted(folder.iterdir())] == [20, 100]


@pytest.mark.parametrize("name", ["tensors.safetensors", "progress.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "missing", "flipped"])
def test_a_damaged_newest_gives_way_to_the_one_before(folder, name, damage):
    path = folder / f"{100:012d}" / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-2] if damage == "cut" else content[:-2] + bytes([content[-2] ^ 1, content[-1]]))
    assert found(folder) == 20
    shutil.rmtree(folder / f"{20:012d}")
    assert found(folder) is None


def test_a_write_that_was_killed_is_no_checkpoint(folder, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(folder, 200, tensors(200), {"number": 200})
    assert found(folder) == 100
    (folder / f".{200:012d}.abc.tmp").mkdir()
    (folder / f"{300:012d}").mkdir()
    assert found(folder) == 100


def test_a_checkpoint_of_the_same_number_replaces_the_old_one(folder):
    checkpoint.save(folder, 100, tensors(7), {"number": 7})
    assert found(folder) == 7


def test_without_a_folder_there_is_none(tmp_path):
    assert checkpoint.latest(tmp_path / "absent") is None
    (tmp_path / "file").write_text("")
    assert checkpoint.latest(tmp_path / "file") is None


def test_progress_is_plain_json(folder):
    assert files.read_json(folder / f"{100:012d}" / "progress.json") == {"number": 100}
