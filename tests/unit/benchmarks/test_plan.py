"""Which runs are planned, from what is finished."""

from dataclasses import replace

from finished import SCOPE, Finished, lost, method_run, start_run
from toy import toy

from amtl.compare.peers import magnitude
from amtl.packing.choice import AUTO
from amtl.sizing.front import COLD
from benchmarks import settings
from benchmarks.results import measure, plan


def _widths(runs, label):
    return [run.choice["width"] for run in runs if run.choice.get("method") == label]


def test_a_run_is_known_by_what_decides_it_and_by_nothing_else():
    run = plan.method(SCOPE, 1, "ml-1m", 0, "rule", "int8", saved=0.9)
    assert replace(run, section=2, minutes=99).digest == run.digest
    others = [replace(run, seed=1), replace(run, data="anime"), replace(run, choice={**run.choice, "saved": 0.95})]
    assert len({run.digest, *(other.digest for other in others)}) == 4


def test_a_walk_ends_at_the_second_table_in_a_row_that_loses():
    find = Finished(lambda run: method_run(validation=0.01 if run.choice.get("width", 64) < 12 else 0.0))
    runs = list(plan.no_loss(SCOPE, 0, 1, find))
    assert _widths(runs, "fixed-distilled") == [32, 16, 8, 4]
    assert _widths(runs, "fixed") == [8, 4]  # asked only where the distilled one loses


def test_a_walk_goes_on_where_the_second_candidate_loses_nothing():
    find = Finished(lambda run: method_run(validation=0.01 if run.choice.get("method") == "fixed-distilled" else 0.0))
    assert _widths(plan.no_loss(SCOPE, 0, 1, find), "fixed") == list(plan.WIDTHS)


def test_later_seeds_look_around_the_first_ones_last_good_table():
    find = Finished(lambda run: method_run(validation=0.01 if run.choice.get("width", 64) < 12 else 0.0))
    assert _widths(plan.no_loss(SCOPE, 1, 1, find), "fixed-distilled") == [32, 16, 8]


def test_log_loss_counts_as_a_loss():
    control = start_run()
    assert plan.passes({"validation": lost(0.0004, 0.0009)}, control)
    assert not plan.passes({"validation": lost(0.0, 0.0011)}, control)
    assert not plan.passes({"failure": "no table that small"}, control)
    assert plan.passes(None, control) is None


def test_the_best_four_are_ranked_by_validation():
    ranks = {label: index for index, label in enumerate((*plan.PEERS, *plan.SELECTORS))}
    find = Finished(lambda run: method_run(validation=0.001 * ranks[run.choice["method"]]))
    assert plan.best_four(SCOPE, find) == plan.PEERS[:4]
    assert plan.best_four(SCOPE, lambda run: None) == plan.LIKELY_BEST
    deep = Finished(lambda run: None if run.choice["saved"] == plan.SHALLOW else method_run(validation=0.001 * ranks[run.choice["method"]]))
    assert plan.best_four(SCOPE, deep) == plan.PEERS[:4]


def test_every_peer_is_run_where_much_is_cut_and_the_best_four_where_little_is():
    nothing = lambda run: None  # noqa: E731
    assert set(plan.PEERS) < set(plan.contestants(plan.FULL, "ml-1m", nothing, 0.98)) == set(plan.contestants(plan.FULL, "ml-1m", nothing))
    few = plan.contestants(plan.FULL, "ml-1m", nothing, plan.SHALLOW)
    assert few == plan.contestants(plan.FULL, "anime", nothing, 0.98)
    shallow = [
        run.choice["method"] for run in plan.plan(plan.FULL, nothing) if run.data == "ml-1m" and run.choice.get("saved") == plan.SHALLOW
    ]
    assert shallow == [*plan.CANDIDATES, *plan.OURS, *(label for label in few if label not in plan.CANDIDATES)]


def test_every_planned_run_is_there_once_and_methods_exist():
    from amtl.compare.methods import METHODS

    runs = plan.plan(plan.FULL, lambda run: None)
    assert len({run.digest for run in runs}) == len(runs)
    assert {run.choice["method"] for run in runs if run.kind == "method"} <= set(METHODS)
    assert {run.section for run in plan.plan(plan.FULL, lambda run: None, only=[3])} == {3}


def test_what_is_run_in_more_rounds_has_magnitude_s_and_is_another_run_from_the_same_start():
    assert plan.ROUNDS == magnitude.ROUNDS
    once = plan.method(plan.FULL, 2, "frappe", 1, "auto", "int8", saved=0.98)
    more = plan.in_rounds(plan.FULL, "frappe", 1, 0.98)
    assert more.digest != once.digest
    assert more.title == f"{once.title} rounds=3"
    assert once.key["finetune"]["rounds"] == 1
    assert more.key == {**once.key, "finetune": {**once.key["finetune"], "rounds": 3}}
    planned = [run for seed in range(3) for run in plan.peers(plan.FULL, seed, lambda run: None) if run.key["finetune"]["rounds"] == 3]
    assert planned == [plan.in_rounds(plan.FULL, "frappe", seed, 0.98) for seed in range(3)]
    one, three = (settings.params_of(run.key, toy().settings.events, 1) for run in (once, more))
    assert measure._of_one_round(three) == one


def test_further_seeds_run_what_could_be_ahead_and_what_is_not_known_to_be_behind():
    behind = {"hashing": 0.01, "mde": plan.NEAR - 1e-6, "twins": 0.02, "pep": 0.0031}
    scope = replace(SCOPE, seeds=2)

    def find(run):
        return None if run.choice.get("method") == "qr" or run.seed else method_run(behind.get(run.choice.get("method"), 0.0))

    def labels(seed):
        return {run.choice["method"] for run in plan.peers(scope, seed, find) if run.kind == "method" and run.choice["saved"] == 0.98}

    assert labels(0) - labels(1) == {"hashing", "pep"}


def test_the_plan_s_candidates_are_those_of_auto():
    assert plan.CANDIDATES == AUTO
    assert plan.COLD == COLD
