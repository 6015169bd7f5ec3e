"""What DVC is asked: order of stages, what changed; and its refusals in our words."""

import shutil

import pytest

from amtl.errors import WorkspaceError
from flows import data, dvc_repo
from flows.dvc_repo import LockTrouble

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")

GRAPH = """
    stages:
      last: {cmd: "true", deps: [build/b, build/a], outs: [build/last]}
      b: {cmd: "true", deps: [data/events], params: [b], outs: [build/b]}
      a: {cmd: "true", deps: [data/events], params: [a], outs: [build/a]}
"""


def test_stages_come_dependencies_first_then_as_in_the_file(dvc):
    root = dvc(GRAPH)
    data.pin(root)
    assert dvc_repo.stage_names(root) == ["b", "a", "last"]


def test_what_has_not_run_has_changed(dvc):
    root = dvc(GRAPH)
    data.pin(root)
    assert dvc_repo.changed_stages(root, ["b", "last"]) == ["b", "last"]


def test_a_broken_dvc_yaml_is_an_error_in_one_line(dvc):
    root = dvc("stages: {a: {}}\n")
    with pytest.raises(WorkspaceError, match="dvc: ") as caught:
        dvc_repo.stage_names(root)
    assert "\n" not in str(caught.value)


def test_no_dvc_repository_is_an_error(dvc):
    root = dvc()
    shutil.rmtree(root / ".dvc")
    with pytest.raises(WorkspaceError):
        dvc_repo.stage_names(root)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Unable to acquire lock. Most likely another DVC process is running", True),
        ("'build/a' is busy, it is being blocked by:\n (PID 7): dvc repro", True),
        ("output 'build/a' does not exist", False),
    ],
)
def test_lock_trouble_is_told_apart(text, passes):
    assert isinstance(dvc_repo.refusal(text), LockTrouble) == passes
