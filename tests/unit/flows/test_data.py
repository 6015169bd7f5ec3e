"""data.dvc: brought up to date, and never a way for the user's data into the committed sample store."""

import contextlib
import shutil

import pytest
import yaml

from amtl.errors import DataError, WorkspaceError
from flows import data, dvc_repo

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")


def output(root):
    (found,) = yaml.safe_load((root / "data.dvc").read_text())["outs"]
    return found


def push(root):
    """A bare `dvc push`, its refusals ignored; returns the names of the store's objects."""
    with contextlib.suppress(WorkspaceError):
        dvc_repo.ask(root, lambda repo: repo.push())
    return {path.name for path in (root / data.STORE).rglob("*") if path.is_file()}


@pytest.fixture
def sample(dvc):
    """A workspace whose data are in the store, as in a fresh clone after `dvc pull`."""
    root = dvc()
    data.pin(root)
    dvc_repo.ask(root, lambda repo: repo.push(remote="sample"))
    data.pin(root)
    return root


def test_pin_makes_and_updates_data_dvc(dvc):
    root = dvc()
    assert data.pinned(root) == ""
    assert not data.is_clean(root)
    first = data.pin(root)
    assert first == data.pinned(root) == output(root)["md5"]
    assert data.is_clean(root)
    (root / "data" / "events" / "next").write_text("more\n")
    assert not data.is_clean(root)
    assert data.pin(root) != first
    assert data.is_clean(root)


def test_pin_leaves_a_clean_file_alone(sample):
    before = (sample / "data.dvc").stat().st_mtime_ns
    data.pin(sample)
    assert (sample / "data.dvc").stat().st_mtime_ns == before


def test_the_sample_is_fetched_from_the_store(sample):
    assert output(sample)["remote"] == "sample"
    shutil.rmtree(sample / "data")
    shutil.rmtree(sample / ".dvc" / "cache")
    dvc_repo.ask(sample, lambda repo: repo.pull([str(sample / "data.dvc")]))
    assert (sample / "data" / "events" / "day").read_text() == "events\n"


def test_other_data_do_not_name_the_store(sample):
    (sample / "data" / "events" / "next").write_text("mine\n")
    data.pin(sample)
    assert {"remote", "push"}.isdisjoint(output(sample))
    (sample / "data" / "events" / "next").unlink()
    data.pin(sample)
    assert output(sample)["remote"] == "sample"


@pytest.mark.parametrize("by", ["amtl", "dvc add"])
def test_a_bare_push_puts_nothing_of_the_users_into_the_store(sample, by):
    before = push(sample)
    (sample / "data" / "events" / "next").write_text("mine\n")
    if by == "amtl":
        data.pin(sample)
    else:
        dvc_repo.ask(sample, lambda repo: repo.add([str(sample / "data")]))
    assert push(sample) == before


def test_a_remote_of_the_users_own_stays(dvc):
    root = dvc()
    data.pin(root)
    text = (root / "data.dvc").read_text()
    (root / "data.dvc").write_text(text + "  remote: theirs\n")
    (root / "data" / "events" / "next").write_text("more\n")
    data.pin(root)
    assert output(root)["remote"] == "theirs"


def test_no_events_is_an_error_that_says_what_to_do(dvc):
    root = dvc()
    data.pin(root)
    shutil.rmtree(root / "data")
    with pytest.raises(DataError, match=r"dvc pull data\.dvc"):
        data.pin(root)


@pytest.mark.parametrize("text", ["", "outs: []\n", "outs: 3\n", "outs:\n- path: data\n", "a: [\n"])
def test_an_odd_data_dvc_is_an_error(dvc, text):
    root = dvc()
    (root / "data.dvc").write_text(text)
    with pytest.raises(WorkspaceError, match=r"data\.dvc"):
        data.pinned(root)
