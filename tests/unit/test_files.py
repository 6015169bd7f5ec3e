"""Digests of code: what a kept result depends on."""

import pytest

from amtl import files


@pytest.mark.parametrize("changed", ["room/inner/part.py", "single.py"])
def test_a_code_digest_follows_every_file_of_its_packages_and_modules(tmp_path, monkeypatch, changed):
    for name in ("room/one.py", "room/inner/part.py", "single.py", "other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "files.py"))
    before = files.code_digest("amtl.room", "amtl.single")
    (tmp_path / "other.py").write_text("")
    assert files.code_digest("amtl.room", "amtl.single") == before
    (tmp_path / changed).write_text("")
    assert files.code_digest("amtl.room", "amtl.single") != before
