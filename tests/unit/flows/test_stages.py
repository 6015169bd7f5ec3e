"""A stage run by DVC: its output handed over, its own message as the error."""

import pytest

from amtl.errors import StageError
from flows import data, stages
from flows.dvc_repo import LockTrouble
from flows.states import STEP

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")


def test_a_failed_stage_speaks_for_itself():
    lines = [
        "Running stage 'train':",
        "amtl: error: a",
        "amtl: error: day 2026-01-08 is empty",
        "ERROR: failed to reproduce 'train': exited with 1",
    ]
    error = stages.failure("train", lines)
    assert isinstance(error, StageError)
    assert str(error) == "day 2026-01-08 is empty"


def test_a_stage_without_words_has_dvcs():
    lines = ["Running stage 'train':", "Segmentation fault", "ERROR: failed to reproduce 'train': failed to run: python, exited with -11"]
    assert "failed to run: python, exited with -11" in str(stages.failure("train", lines))
    assert "train" in str(stages.failure("train", []))


def test_only_lock_trouble_is_tried_again():
    again = STEP["retry_condition_fn"]
    trouble = stages.failure("train", ["ERROR: Unable to acquire lock. Most likely another DVC process is running"])
    assert isinstance(trouble, LockTrouble)

    class State:
        def __init__(self, data):
            self.data = data

    assert again(None, None, State(trouble))
    assert not again(None, None, State(StageError("day 2026-01-08 is empty")))
    assert not again(None, None, State(ValueError("a bug")))


def test_repro_runs_one_stage_and_hands_over_what_it_said(dvc):
    root = dvc(
        """
        stages:
          first: {cmd: "echo run=$MLFLOW_RUN_ID flow=$AMTL_FLOW_PID; touch first", deps: [data/events], outs: [first]}
          second: {cmd: "touch second", deps: [first], outs: [second]}
        """
    )
    data.pin(root)
    said = []
    stages.repro(root, "first", "the-run", lambda form, line: said.append(form % line))
    assert any(line.startswith("run=the-run flow=") for line in said)
    assert not any("git add" in line or "dvc push" in line for line in said)
    assert (root / "first").exists()
    assert not (root / "second").exists()


def test_repro_raises_the_stages_own_message(dvc):
    root = dvc(
        """
        stages:
          first: {cmd: "echo 'amtl: error: no good' >&2; exit 1", deps: [data/events], outs: [first]}
        """
    )
    data.pin(root)
    with pytest.raises(StageError, match=r"^no good$"):
        stages.repro(root, "first", None, lambda *_: None)
