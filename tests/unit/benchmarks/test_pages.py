"""What the page of results says of finished runs."""

from dataclasses import replace

import pytest
from finished import CONTROL, SCOPE, SIZES, Finished, method_run, start_run

from benchmarks.results import __main__ as command
from benchmarks.results import page, plan
from benchmarks.results.sections import learning, no_loss, paper, peers


def test_a_run_is_held_against_the_control_that_it_notes():
    strong = {"control": {part: {**CONTROL, "auc": 0.81} for part in ("validation", "test")}}
    assert plan.passes(method_run(0.0), start_run())
    assert not plan.passes({**method_run(0.0), **strong}, start_run())
    point = no_loss.Point.of([("rule", {**method_run(0.0), **strong}, start_run()), ("rule", method_run(0.0), start_run())])
    assert point.test["auc"] == pytest.approx(-0.005)


def test_what_loses_on_test_alone_is_said():
    def rule(run):
        return {**method_run(validation=0.0, test=0.002, saved=0.995), "details": {**SIZES, "selector": "rule"}}

    written = page.text(SCOPE, Finished(rule))
    assert "loses on test what it did not on validation" in written
    assert "**yes**" not in written


def test_the_narrowest_width_is_chosen_on_validation_from_the_most_seeds():
    def rule(run):
        narrow = run.choice.get("width", 64) < 12
        return method_run(validation=0.01 if narrow else 0.0, test=0.0 if narrow else 0.01, saved=1 - run.choice.get("width", 64) / 64)

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


@pytest.mark.parametrize(("auc", "words"), [(0.8, "level with"), (0.79, "**behind**"), (0.82, "ahead of")])
def test_magnitude_meets_auto_in_as_many_rounds_as_well(auc, words):
    found = {(peers.AUTO, 0.9): {0: {"test": {"auc": 0.7}}}, ("magnitude", 0.9): {0: {"test": {"auc": 0.8}}}}
    said = peers.verdict(found, ["magnitude"], 0.9, {0: {"test": {"auc": auc}}})
    assert "**behind magnitude (+0.1000 AUC)**" in said
    assert f"as many rounds of fine-tuning as magnitude it is {words} that" in said


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
    find = Finished(lambda run: {**method_run(validation=0.0, saved=0.992), "details": {**SIZES, "selector": "twins"}}, seeds=(0, 1))
    written = page.text(SCOPE, find)
    assert "2026-01-02" in written
    assert "**99.20%**" in written
    assert "**yes**" in written


def test_the_published_page_can_be_made_from_the_runs_that_are_kept():
    assert page.text(plan.FULL, command.store_of(plan.FULL).read).startswith("# Results")


def test_failed_runs_neither_stop_the_plan_nor_the_page():
    failed = {"failure": "a training that diverged", "budget_bytes": 1}
    scope = plan.Scope(sets=("frappe",), day_sets=(), seeds=2, min_counts=(1,))
    smallest = {**method_run(0.0), "details": {**SIZES, "selector": "rule"}}
    find = Finished(lambda run: failed if run.kind == "method" else smallest, seeds=(0, 1))
    assert plan.plan(scope, find)
    assert "**auto**, 3 rounds" in page.text(scope, find)


def test_a_cell_says_whether_a_run_is_missing_or_not_asked_for():
    nothing = lambda run: None  # noqa: E731
    rows = [[cell.strip(" |*") for cell in line.split(" | ")] for line in peers.values(SCOPE, nothing).splitlines()]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["mde"] == ["-", "not run", "not run"]
    assert cells["rule"] == ["not run"] * 3


def test_where_learning_wins_has_the_cold_twins():
    aucs = {"twins-cold": 0.01, "rule": 0.0}
    scope = replace(SCOPE, sets=("anime",))
    find = Finished(lambda run: method_run(0.0, -aucs[run.choice["method"]]) if run.choice.get("method") in aucs else None)
    text = learning.values(scope, find)
    assert "Beside rule twins-cold win in 3 of 3 cases (anime at 80%, anime at 95% and anime at 98%)" in text
    assert text.splitlines()[2].split(" | ")[-3:] == ["not run", "+0.0100 (n=1)", "- |"]
    assert text.splitlines()[-1] == "| anime | not run | not run | 25.0% (n=1) | 25.0% (n=1) |"
