"""How runs are made and kept, and what they are made from."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from finished import SCOPE
from outcomes import outcome
from toy import toy

from amtl.compare.starts import Problem
from amtl.compare.task import Task
from amtl.data.batches import Batch
from amtl.errors import DataError
from amtl.training import loop
from benchmarks import datasets
from benchmarks.results import __main__ as command
from benchmarks.results import estimate, measure, plan, runner
from benchmarks.results.days import PORTIONS, Portions, like_frequent
from benchmarks.results.experiment import Experiment, Store


def test_finished_runs_are_kept_and_locked_ones_left_alone(tmp_path):
    store, run = Store(tmp_path / "runs", tmp_path / "locks"), plan.start(SCOPE, "ml-1m", 0)
    assert store.read(run) is None
    store.write(run, {"control": 1})
    assert Store(store.runs, store.locks).read(run)["experiment"] == run.identity
    with store.lock("one") as mine, store.lock("one") as again, store.lock("other") as other:
        assert (mine, again, other) == (True, False, True)


def _work(tmp_path, monkeypatch, kind, runs):
    monkeypatch.setattr(runner, "KINDS", {"toy": kind})
    monkeypatch.setattr(runner, "prepare", lambda experiment, place: None)
    monkeypatch.setattr(runner, "PATIENCE", 0.0)

    class Place:
        def digest(self, name):
            return "data"

    store, lines = Store(tmp_path / "runs", tmp_path / "locks"), []
    given = runner.Work(lambda: runs, store, Place(), lines.append)
    runner.work(given)
    return given, lines


def _toys(count):
    return [Experiment(1, "toy", "ml-1m", seed, {}, {}) for seed in range(count)]


def test_only_missing_runs_are_made(tmp_path, monkeypatch):
    made = []

    def kind(experiment, place):
        made.append(experiment.seed)
        return {"test": {"auc": 0.7, "logloss": 0.6}}

    runs = _toys(3)
    _work(tmp_path, monkeypatch, kind, runs[:2])
    given, lines = _work(tmp_path, monkeypatch, kind, runs)
    assert made == [0, 1, 2]
    assert given.store.read(runs[2])["data_digest"] == "data"
    assert "[2/3" in lines[0]


def test_a_run_that_fails_is_said_and_the_others_are_made(tmp_path, monkeypatch):
    def kind(experiment, place):
        if experiment.seed == 0:
            raise ValueError("a defect")
        return {"failure": "no table that small"}

    runs = _toys(2)
    given, lines = _work(tmp_path, monkeypatch, kind, runs)
    assert given.failed == {runs[0].digest}
    assert given.store.read(runs[1])["failure"]
    assert any("a defect" in line for line in lines)


def test_data_that_changed_are_refused(tmp_path):
    (tmp_path / "frappe.parquet").write_bytes(b"rows")
    store, run = Store(tmp_path / "runs", tmp_path / "locks"), plan.start(SCOPE, "frappe", 0)
    store.write(run, {"data_digest": datasets.source_digest("frappe", tmp_path)})
    command.check_data([run], store, tmp_path)
    (tmp_path / "frappe.parquet").write_bytes(b"other rows")
    with pytest.raises(DataError, match=r"frappe in .* is not what finished runs were made with"):
        command.check_data([run], store, tmp_path)
    with pytest.raises(DataError, match="is not in"):
        command.check_data([run], store, tmp_path / "nowhere")


def test_runs_are_picked_by_data_set_method_and_seed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["results", "--list", "--set", "frappe", "--method", "mde", "--seed", "0"])
    assert command.main() == 0
    *runs, _ = capsys.readouterr().out.splitlines()
    assert len(runs) > 1
    assert all("frappe seed 0: method method=mde" in line for line in runs)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (("--set", "ml1m"), "there are ml-1m, frappe"),
        (("--method", "mdm"), "mdm is not planned; there"),
        (("--seed", "7"), "seeds are 0 to 2"),
    ],
)
def test_what_is_not_planned_is_one_line(monkeypatch, capsys, wish, words):
    monkeypatch.setattr("sys.argv", ["results", "--list", *wish])
    assert command.main() == 1
    assert words in capsys.readouterr().err


def test_a_missing_folder_of_data_is_one_line(monkeypatch, capsys):
    monkeypatch.delenv("AMTL_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["results", "--quick"])
    assert command.main() == 1
    assert "AMTL_DATA=FOLDER" in capsys.readouterr().err


def test_the_portions_of_an_epoch_are_the_epoch():
    rows = Batch(torch.arange(101).unsqueeze(1), (), torch.zeros(101, 0), torch.zeros(101))
    seen = [batch.ids_BF for epoch in range(PORTIONS) for batch in Portions(rows).shuffled(4, seed=3, epoch=epoch)]
    whole = torch.cat([batch.ids_BF for batch in rows.shuffled(4, seed=3, epoch=0)])
    assert torch.equal(torch.cat(seen).sort(dim=0).values, whole.sort(dim=0).values)


def test_later_values_take_the_size_of_like_frequent_ones():
    sizes = like_frequent(np.array([1, 1, 10, 1000]), torch.tensor([0, 2, 8, 32]), np.array([2, 12, 600]))
    assert sizes.tolist() == [1, 8, 32]


def test_splits_have_their_shares_and_a_split_by_time_is_in_order():
    drawn = datasets.random_split(1000)
    assert drawn.value_counts().sort("split")["count"].to_list() == [100, 800, 100]
    assert datasets.random_split(1000).equals(drawn)
    assert datasets.split_by_time(10).to_list() == ["train"] * 8 + ["validation", "test"]


@pytest.mark.parametrize("computes", [True, False])
def test_what_was_made_in_bf16_is_made_in_bf16_or_left_out(monkeypatch, computes):
    monkeypatch.setattr(loop, "computes_bf16", lambda device: computes)
    runs = [plan.start(plan.FULL, name, 0) for name in ("ml-1m", "frappe")]
    assert [run.data for run in command.computable(runs)] == (["ml-1m", "frappe"] if computes else ["frappe"])


def test_runs_that_differ_in_rounds_share_the_lock_on_their_start_but_not_an_estimate():
    start, once, more = (
        plan.start(plan.FULL, "frappe", 1),
        plan.method(plan.FULL, 2, "frappe", 1, "rule", "int8", saved=0.98),
        plan.in_rounds(plan.FULL, "frappe", 1, 0.98),
    )
    assert runner.start_lock(start) == runner.start_lock(once) == runner.start_lock(more)
    assert estimate.effort(once.identity) != estimate.effort(more.identity)


def test_a_run_in_rounds_starts_from_what_one_round_made_and_takes_up_its_trainings(monkeypatch, tmp_path):
    asked, rows = [], SimpleNamespace(digest="rows", events=toy().settings.events, vocabulary=None, train=None, validation=None, test=None)
    made = Problem(Task(toy().settings, *[None] * 6), None, "digest")
    monkeypatch.setattr(measure, "_PROBLEM", {})
    monkeypatch.setattr(measure, "data_of", lambda *parts: rows)
    monkeypatch.setattr(measure, "problem", lambda settings, *parts, code: asked.append(settings) or made)
    place = measure.Place(tmp_path, tmp_path)
    once = measure.problem_of(plan.method(plan.FULL, 2, "frappe", 1, "rule", "int8", saved=0.98), place)
    more = measure.problem_of(plan.in_rounds(plan.FULL, "frappe", 1, 0.98), place)
    assert asked[0] == asked[1] == once.task.settings
    assert more.task.settings.compress.finetune.rounds == 3
    assert more.task.trainings == once.task.trainings


def test_a_run_notes_the_figures_of_the_control_that_it_started_from(monkeypatch, tmp_path):
    """Two machines may train two controls with one seed: each run is held against its own."""
    aucs = {("first", "control"): 0.8, ("first", "rule"): 0.79, ("second", "control"): 0.7, ("second", "rule"): 0.71}
    rows = SimpleNamespace(vocabulary=SimpleNamespace(rows=10))
    contested = lambda given, job: outcome(job.method, seed=job.seed, auc=aucs[given.digest, job.method])  # noqa: E731
    monkeypatch.setattr(measure, "_CONTROL", {})
    monkeypatch.setattr(measure, "data_of", lambda *parts: rows)
    monkeypatch.setattr(measure, "contest", contested)
    for digest in ("first", "second"):
        given = Problem(Task(toy().settings, *[None] * 6), None, digest)
        monkeypatch.setattr(measure, "problem_of", lambda *parts, given=given: given)
        run = measure.measure_method(plan.method(plan.FULL, 2, "frappe", 1, "rule", "int8", saved=0.98), measure.Place(tmp_path, tmp_path))
        assert run["test"]["auc"] == aucs[digest, "rule"]
        assert run["control"]["test"]["auc"] == run["control"]["validation"]["auc"] == aucs[digest, "control"]
