from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from outcomes import outcome
from toy import toy

from amtl.compare.peers import magnitude
from amtl.compare.starts import Problem
from amtl.compare.task import Task
from amtl.data.batches import Batch
from amtl.errors import DataError
from amtl.packing.choice import AUTO
from amtl.sizing.front import COLD
from amtl.training import loop
from benchmarks import datasets, settings
from benchmarks.results import __main__ as command
from benchmarks.results import estimate, measure, page, plan, runner
from benchmarks.results.days import PORTIONS, Portions, like_frequent
from benchmarks.results.experiment import Experiment, Store
from benchmarks.results.sections import learning, no_loss, paper, peers

SCOPE = plan.Scope(sets=("ml-1m",), day_sets=(), seeds=2, min_counts=(1,))
MACHINE = {"processor": "a", "cores": "2", "python": "3.11", "torch": "2", "date": "2026-01-02", "gpu": "none"}
CONTROL = {"auc": 0.8, "logloss": 0.5, "score": 0.55}


def _lost(auc, logloss=0.0):
    return {"auc": CONTROL["auc"] - auc, "logloss": CONTROL["logloss"] + logloss, "score": CONTROL["score"] - auc}


SIZES = {"sizes": {"histogram": {"0": 1, "4": 3}}}


def _method(validation, test=0.0, saved=0.9):
    return {"validation": _lost(validation), "test": _lost(test), "saved": saved, "bytes": round(1000 * (1 - saved)), "details": SIZES}


def _start():
    part = {"validation": CONTROL, "test": CONTROL}
    return {"control": part, "base": part, "logistic": part, "rows": {"table": 10, "train": 5, "validation": 5, "test": 5}}


class Finished:
    """Finished runs: starts always, other runs by a rule on their experiment."""

    def __init__(self, rule, seeds=(0,)):
        self.rule, self.seeds = rule, seeds

    def __call__(self, run):
        if run.seed not in self.seeds:
            return None
        result = _start() if run.kind == "start" else self.rule(run) if run.kind in ("method", "smallest") else None
        return result and {**result, "experiment": run.identity, "machine": MACHINE, "seconds": 60.0}


def _widths(runs, label):
    return [run.choice["width"] for run in runs if run.choice.get("method") == label]


def test_a_run_is_known_by_what_decides_it_and_by_nothing_else():
    run = plan.method(SCOPE, 1, "ml-1m", 0, "rule", "int8", saved=0.9)
    assert replace(run, section=2, minutes=99).digest == run.digest
    others = [replace(run, seed=1), replace(run, data="anime"), replace(run, choice={**run.choice, "saved": 0.95})]
    assert len({run.digest, *(other.digest for other in others)}) == 4


def test_a_walk_ends_at_the_second_table_in_a_row_that_loses():
    find = Finished(lambda run: _method(validation=0.01 if run.choice.get("width", 64) < 12 else 0.0))
    runs = list(plan.no_loss(SCOPE, 0, 1, find))
    assert _widths(runs, "fixed-distilled") == [32, 16, 8, 4]
    assert _widths(runs, "fixed") == [8, 4]  # asked only where the distilled one loses


def test_a_walk_goes_on_where_the_second_candidate_loses_nothing():
    find = Finished(lambda run: _method(validation=0.01 if run.choice.get("method") == "fixed-distilled" else 0.0))
    assert _widths(plan.no_loss(SCOPE, 0, 1, find), "fixed") == list(plan.WIDTHS)


def test_later_seeds_look_around_the_first_ones_last_good_table():
    find = Finished(lambda run: _method(validation=0.01 if run.choice.get("width", 64) < 12 else 0.0))
    assert _widths(plan.no_loss(SCOPE, 1, 1, find), "fixed-distilled") == [32, 16, 8]


def test_a_run_is_held_against_the_control_that_it_notes():
    strong = {"control": {part: {**CONTROL, "auc": 0.81} for part in ("validation", "test")}}
    assert plan.passes(_method(0.0), _start())
    assert not plan.passes({**_method(0.0), **strong}, _start())
    point = no_loss.Point.of([("rule", {**_method(0.0), **strong}, _start()), ("rule", _method(0.0), _start())])
    assert point.test["auc"] == pytest.approx(-0.005)


def test_log_loss_counts_as_a_loss():
    control = _start()
    assert plan.passes({"validation": _lost(0.0004, 0.0009)}, control)
    assert not plan.passes({"validation": _lost(0.0, 0.0011)}, control)
    assert not plan.passes({"failure": "no table that small"}, control)
    assert plan.passes(None, control) is None


def test_the_best_four_are_ranked_by_validation():
    ranks = {label: index for index, label in enumerate((*plan.PEERS, *plan.SELECTORS))}
    find = Finished(lambda run: _method(validation=0.001 * ranks[run.choice["method"]]))
    assert plan.best_four(SCOPE, find) == plan.PEERS[:4]
    assert plan.best_four(SCOPE, lambda run: None) == plan.LIKELY_BEST
    deep = Finished(lambda run: None if run.choice["saved"] == plan.SHALLOW else _method(validation=0.001 * ranks[run.choice["method"]]))
    assert plan.best_four(SCOPE, deep) == plan.PEERS[:4]


def test_every_peer_is_run_where_much_is_cut_and_the_best_four_where_little_is():
    nothing = lambda run: None  # noqa: E731
    assert set(plan.PEERS) < set(plan.contestants(plan.FULL, "ml-1m", nothing, 0.98)) == set(plan.contestants(plan.FULL, "ml-1m", nothing))
    few = plan.contestants(plan.FULL, "ml-1m", nothing, plan.SHALLOW)
    assert few == plan.contestants(plan.FULL, "anime", nothing, 0.98)
    shallow = [
        run.choice["method"] for run in plan.plan(plan.FULL, nothing) if run.data == "ml-1m" and run.choice.get("saved") == plan.SHALLOW
    ]
    assert shallow == [*plan.OURS, *few]


def test_every_planned_run_is_there_once_and_methods_exist():
    from amtl.compare.methods import METHODS

    runs = plan.plan(plan.FULL, lambda run: None)
    assert len({run.digest for run in runs}) == len(runs)
    assert {run.choice["method"] for run in runs if run.kind == "method"} <= set(METHODS)
    assert {run.section for run in plan.plan(plan.FULL, lambda run: None, only=[3])} == {3}


def test_what_loses_on_test_alone_is_said():
    def rule(run):
        return {**_method(validation=0.0, test=0.002, saved=0.995), "details": {**SIZES, "selector": "rule"}}

    written = page.text(SCOPE, Finished(rule))
    assert "loses on test what it did not on validation" in written
    assert "**yes**" not in written


def test_the_narrowest_width_is_chosen_on_validation_from_the_most_seeds():
    def rule(run):
        narrow = run.choice.get("width", 64) < 12
        return _method(validation=0.01 if narrow else 0.0, test=0.0 if narrow else 0.01, saved=1 - run.choice.get("width", 64) / 64)

    find = Finished(rule, seeds=(0, 1))
    starts = [find(plan.start(SCOPE, "ml-1m", seed)) for seed in (0, 1)]
    points = no_loss.fixed([plan.widths(SCOPE, "ml-1m", seed, 1) for seed in (0, 1)], starts, find)
    assert no_loss.narrowest(points).saved == pytest.approx(0.75)
    alone = replace(points[0], seeds=1, saved=0.99)
    assert no_loss.narrowest([points[0], alone]) == points[0]
    assert no_loss.narrowest([replace(points[0], validation=_difference(-0.01))]) is None


def _difference(auc):
    return {"auc": auc, "logloss": 0.0}


@pytest.mark.parametrize(("theirs", "words"), [((0.79, 0.79), "at or above"), ((0.81, 0.83), "behind mde"), ((0.85, 0.76), "at or above")])
def test_a_tie_within_one_standard_error_is_no_defeat(theirs, words):
    ours = {seed: {"test": {"auc": 0.8}} for seed in (0, 1)}
    rival = {seed: {"test": {"auc": auc}} for seed, auc in enumerate(theirs)}
    assert words in peers.verdict({(peers.AUTO, 0.9): ours, ("mde", 0.9): rival}, ["mde"], 0.9)


def test_a_candidate_that_was_not_chosen_and_is_better_on_test_is_named():
    by_auc = {peers.AUTO: 0.8, "mde": 0.7, "twins": 0.81, "rule": 0.79}
    found = {(label, 0.9): {0: {"test": {"auc": auc}}} for label, auc in by_auc.items()}
    said = peers.verdict(found, list(by_auc), 0.9)
    assert "at or above all 1 others; the nearest is mde" in said
    assert "Of its own candidates twins (+0.0100 AUC) would have been better." in said


@pytest.mark.parametrize(
    ("saved", "auc", "logloss", "initial", "verdict"),
    [
        (0.61, 0.7996, 0.5, "full", "yes"),
        (0.59, 0.9, 0.5, "full", "no"),
        (0.61, 0.79, 0.5, "full", "no"),
        (0.61, 0.8, 0.502, "full", "no"),
        (0.61, 0.8, 0.5, "flat", "no"),
    ],
)
def test_memory_counts_as_saved_only_where_nothing_is_lost_and_sizes_began_full(saved, auc, logloss, initial, verdict):
    def find(run):
        if run.kind == "start":
            return Finished(None)(run)
        if run.kind == "paper" and run.seed == 0 and (run.choice["start"], run.choice["initial"]) == ("cold", initial):
            sizes = {"mean_size": 1.0, "kept_share": 0.9}
            test = {"auc": auc, "logloss": logloss}
            return {"test": test, "saved": saved, "bytes": 9, "sizes_at_initialisation": sizes, "sizes": sizes, "rank_correlation": {}}
        return None

    (line,) = (line for line in paper.values(SCOPE, find).splitlines() if "60% of the memory" in line)
    assert line.split("|")[-2].strip().split(":")[0] == verdict


@pytest.mark.parametrize(("linear", "warned"), [(0.8, True), (0.79, False)])
def test_savings_prove_nothing_where_no_embeddings_are_needed(linear, warned):
    find = Finished(lambda run: None)
    starts = {"logistic": {"test": {"auc": linear, "logloss": 0.5}}}
    written = page.text(SCOPE, lambda run: find(run) and {**find(run), **starts})
    assert ("savings here prove nothing" in written) == warned


def test_a_page_without_runs_says_so_and_is_the_same_every_time():
    written = page.text(plan.FULL, lambda run: None)
    assert written == page.text(plan.FULL, lambda run: None)
    assert "No run is finished" in written
    assert "**yes**" not in written


def test_a_page_of_finished_runs_names_machine_and_reached_targets():
    find = Finished(lambda run: {**_method(validation=0.0, saved=0.992), "details": {**SIZES, "selector": "twins"}}, seeds=(0, 1))
    written = page.text(SCOPE, find)
    assert "2026-01-02" in written
    assert "**99.20%**" in written
    assert "**yes**" in written


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


@pytest.mark.parametrize(("wish", "words"), [(("--set", "ml1m"), "there are ml-1m, frappe"), (("--seed", "7"), "seeds are 0 to 2")])
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


def test_the_published_page_can_be_made_from_the_runs_that_are_kept():
    assert page.text(plan.FULL, command.store_of(plan.FULL).read).startswith("# Results")


def test_what_is_run_in_more_rounds_has_magnitude_s_and_is_another_run_from_the_same_start():
    assert plan.ROUNDS == magnitude.ROUNDS
    once = plan.method(plan.FULL, 2, "frappe", 1, "rule", "int8", saved=0.98)
    more = plan.in_rounds(plan.FULL, "frappe", 1)
    assert more.digest != once.digest
    assert more.title == f"{once.title} rounds=3"
    assert once.key["finetune"]["rounds"] == 1
    assert more.key == {**once.key, "finetune": {**once.key["finetune"], "rounds": 3}}
    planned = [run for seed in range(3) for run in plan.peers(plan.FULL, seed, lambda run: None) if run.key["finetune"]["rounds"] == 3]
    assert planned == [plan.in_rounds(plan.FULL, "frappe", 0)]
    one, three = (settings.params_of(run.key, toy().settings.events, 1) for run in (once, more))
    assert measure._of_one_round(three) == one


def test_further_seeds_run_what_could_be_ahead_and_what_is_not_known_to_be_behind():
    behind = {"hashing": 0.01, "mde": plan.NEAR - 1e-6, "twins": 0.02, "pep": 0.0031}
    scope = replace(SCOPE, seeds=2)

    def find(run):
        return None if run.choice.get("method") == "qr" or run.seed else _method(behind.get(run.choice.get("method"), 0.0))

    def labels(seed):
        return {run.choice["method"] for run in plan.peers(scope, seed, find) if run.kind == "method" and run.choice["saved"] == 0.98}

    assert labels(0) - labels(1) == {"hashing", "pep"}


@pytest.mark.parametrize("computes", [True, False])
def test_what_was_made_in_bf16_is_made_in_bf16_or_left_out(monkeypatch, computes):
    monkeypatch.setattr(loop, "computes_bf16", lambda device: computes)
    runs = [plan.start(plan.FULL, name, 0) for name in ("ml-1m", "frappe")]
    assert [run.data for run in command.computable(runs)] == (["ml-1m", "frappe"] if computes else ["frappe"])


def test_runs_that_differ_in_rounds_share_the_lock_on_their_start_but_not_an_estimate():
    start, once, more = (
        plan.start(plan.FULL, "frappe", 1),
        plan.method(plan.FULL, 2, "frappe", 1, "rule", "int8", saved=0.98),
        plan.in_rounds(plan.FULL, "frappe", 1),
    )
    assert runner.start_lock(start) == runner.start_lock(once) == runner.start_lock(more)
    assert estimate.effort(once.identity) != estimate.effort(more.identity)


def test_failed_runs_neither_stop_the_plan_nor_the_page():
    failed = {"failure": "a training that diverged", "budget_bytes": 1}
    scope = plan.Scope(sets=("frappe",), day_sets=(), seeds=2, min_counts=(1,))
    smallest = {**_method(0.0), "details": {**SIZES, "selector": "rule"}}
    find = Finished(lambda run: failed if run.kind == "method" else smallest, seeds=(0, 1))
    assert plan.plan(scope, find)
    assert "rule, 3 rounds" in page.text(scope, find)


def test_a_run_in_rounds_starts_from_what_one_round_made(monkeypatch, tmp_path):
    asked, rows = [], SimpleNamespace(digest="rows", events=toy().settings.events, vocabulary=None, train=None, validation=None, test=None)
    made = Problem(Task(toy().settings, *[None] * 6), None, "digest")
    monkeypatch.setattr(measure, "_PROBLEM", {})
    monkeypatch.setattr(measure, "data_of", lambda *parts: rows)
    monkeypatch.setattr(measure, "problem", lambda settings, *parts, code: asked.append(settings) or made)
    place = measure.Place(tmp_path, tmp_path)
    once = measure.problem_of(plan.method(plan.FULL, 2, "frappe", 1, "rule", "int8", saved=0.98), place)
    more = measure.problem_of(plan.in_rounds(plan.FULL, "frappe", 1), place)
    assert asked[0] == asked[1] == once.task.settings
    assert more.task.settings.compress.finetune.rounds == 3
    assert more.task.trainings != once.task.trainings


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


def test_a_cell_says_whether_a_run_is_missing_or_not_asked_for():
    nothing = lambda run: None  # noqa: E731
    rows = [[cell.strip(" |*") for cell in line.split(" | ")] for line in peers.values(SCOPE, nothing).splitlines()]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["mde"] == ["-", "not run", "not run"]
    assert cells["rule"] == ["not run"] * 3


def test_where_learning_wins_has_the_cold_twins():
    aucs = {"twins-cold": 0.01, "rule": 0.0}
    scope = replace(SCOPE, sets=("anime",))
    find = Finished(lambda run: _method(0.0, -aucs[run.choice["method"]]) if run.choice.get("method") in aucs else None)
    text = learning.values(scope, find)
    assert "Beside rule twins-cold win in 3 of 3 cases (anime at 80%, anime at 95% and anime at 98%)" in text
    assert text.splitlines()[2].split(" | ")[-3:] == ["not run", "+0.0100 (n=1)", "- |"]
    assert text.splitlines()[-1] == "| anime | not run | not run | 25.0% (n=1) | 25.0% (n=1) |"


def test_the_plan_s_candidates_are_those_of_auto():
    assert plan.CANDIDATES == AUTO
    assert plan.COLD == COLD
