"""A zip from outside gives the wanted members, or nothing."""

import stat
import zipfile

import pytest

from amtl.errors import DataError
from amtl.sources.fetch import archive
from amtl.sources.fetch.archive import unpack


def zipped(path, members, modes=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            opened.writestr(info, content)
    return path


GOOD = [("set/", b""), ("set/a.dat", b"A" * 3_000_000), ("set/b.dat", b"b"), ("set/README", b"terms")]


def test_only_wanted_members_are_written(tmp_path):
    unpack(zipped(tmp_path / "a.zip", GOOD), ["set/a.dat", "set/b.dat"], tmp_path / "out")
    assert {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()} == {"a.dat": 3_000_000, "b.dat": 1}


@pytest.mark.parametrize("name", ["../evil", "set/../../evil", "/etc/evil", "..\\evil", "C:evil", "set\\evil"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="leads out of the archive"):
        unpack(zipped(tmp_path / "a.zip", [*GOOD, (name, b"x")]), ["set/a.dat"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(DataError, match=r"'set/b\.dat', which is a link or a device"):
        unpack(zipped(tmp_path / "a.zip", GOOD, {"set/b.dat": kind | 0o777}), ["set/a.dat"], tmp_path / "out")


def test_absurd_sizes_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 2_999_999)
    with pytest.raises(DataError, match=r"'set/a\.dat', which unpacks to 3,000,000 bytes"):
        unpack(zipped(tmp_path / "a.zip", GOOD), ["set/b.dat"], tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("members", "times"), [(GOOD[:1], 0), ([*GOOD, ("set/a.dat", b"again")], 2)])
def test_a_member_must_be_there_once(tmp_path, members, times):
    with pytest.raises(DataError, match=rf"holds set/a\.dat {times} times, not once"):
        unpack(zipped(tmp_path / "a.zip", members), ["set/a.dat"], tmp_path / "out")


@pytest.mark.parametrize("damage", [lambda content: content[:-30], lambda content: b"not a zip", lambda content: b""])
def test_what_is_no_zip_is_refused(tmp_path, damage):
    path = zipped(tmp_path / "a.zip", GOOD)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"a\.zip is no zip that can be read"):
        unpack(path, ["set/a.dat"], tmp_path / "out")


def test_a_damaged_member_is_not_kept(tmp_path):
    path = zipped(tmp_path / "a.zip", [("set/a.dat", bytes(range(256)) * 100)])
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no zip that can be read"):
        unpack(path, ["set/a.dat"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
