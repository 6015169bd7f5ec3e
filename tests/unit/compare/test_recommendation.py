import pytest
from outcomes import comparison, control, outcome

from amtl.compare.recommendation import recommend
from amtl.params import ToleranceParams


def advice_on(*outcomes, **given):
    return recommend(comparison(control(), *outcomes, **given))


def test_the_smallest_budget_that_loses_nothing_wins():
    advice = advice_on(
        outcome("auto", "20%", 200, bytes=200, auc=0.81, chosen="curvature"),
        outcome("auto", "10%", 100, bytes=99, auc=0.7996, chosen="rule"),
        outcome("auto", "5%", 50, bytes=50, auc=0.7994, chosen="rule"),
    )
    assert advice.lossless
    assert (advice.row.method, advice.row.budget) == ("auto", "10%")
    assert advice.sentence.startswith("auto (rule) at 10% in int8 loses nothing at 99 bytes, 90.1% fewer than the full-width fp32 table")
    assert advice.sentence.endswith("set search.sizes: auto, compress.budget: 10%, compress.precision: int8.")


@pytest.mark.parametrize(
    ("auc", "logloss", "lossless"), [(0.79951, 0.4, True), (0.79949, 0.4, False), (0.8, 0.40099, True), (0.8, 0.40101, False)]
)
def test_the_bounds_of_no_loss(auc, logloss, lossless):
    assert advice_on(outcome("rule", auc=auc, logloss=logloss)).lossless is lossless


def test_what_counts_as_no_loss_is_the_workspace_s_tolerance():
    lost = outcome("rule", auc=0.79, logloss=0.41)
    assert not advice_on(lost, tolerance=ToleranceParams(auc=0.009, logloss=0.02)).lossless
    assert not advice_on(lost, tolerance=ToleranceParams(auc=0.02, logloss=0.009)).lossless
    assert advice_on(lost, tolerance=ToleranceParams(auc=0.011, logloss=0.011)).lossless


def test_a_loss_on_validation_alone_is_a_loss():
    assert not advice_on(outcome("rule", auc=0.8, validation_auc=0.79)).lossless


@pytest.mark.parametrize(("auc", "logloss", "told"), [(0.8006, 0.3989, True), (0.8004, 0.3989, False), (0.8006, 0.3991, False)])
def test_a_smaller_table_that_is_better_than_the_control_is_a_warning(auc, logloss, told):
    """Better on validation, whatever the test rows say."""
    advice = advice_on(outcome("hashing", auc=0.79, logloss=logloss, validation_auc=auc), outcome("rule"))
    (found,) = [warning for warning in advice.warnings if "Seeds" not in warning] or [""]
    text = "On validation rows hashing at 10% in int8 is better than the full-width control itself: AUC +0.0006, log loss -0.0011 (on test"
    assert found.startswith(f"{text} rows -0.0100, -0.0011)") == told
    assert not advice_on(outcome("hashing", auc=0.9, logloss=0.3989, validation_auc=0.8), outcome("rule")).warnings[:-1]


def test_what_failed_with_some_seeds_takes_no_part_in_the_advice():
    others = [outcome("rule", "10%", 100, seed=seed) for seed in range(3)] + [control(seed) for seed in (1, 2)]
    failed = [outcome("pep", "5%", 50, seed=seed, failure="it diverged") for seed in (1, 2)]
    advice = advice_on(*others, outcome("pep", "5%", 50, bytes=40, auc=0.81), *failed)
    assert advice.row.method == "rule"
    assert advice.warnings == ("Not considered, as they have a table with some of the seeds only: pep at 5% in int8.",)


def test_fixed_tables_are_spoken_of_only_where_there_are_some():
    assert "fixed table" not in advice_on(outcome("rule")).sentence
    assert "no narrower fixed table loses nothing" in advice_on(outcome("rule"), outcome("fixed", auc=0.7)).sentence


def test_test_rows_choose_nothing_but_say_whether_the_choice_holds():
    advice = advice_on(outcome("rule", "20%", 200), outcome("rule", "5%", 50, bytes=49, auc=0.79, validation_auc=0.8))
    assert advice.row.budget == "5%"
    assert not advice.lossless
    assert "loses nothing on validation rows, but on test rows AUC -0.0100" in advice.sentence


def test_at_one_budget_the_best_on_validation_wins_whatever_the_test_says():
    advice = advice_on(outcome("rule", auc=0.82, validation_auc=0.80), outcome("curvature", auc=0.80, validation_auc=0.81))
    assert advice.row.method == "curvature"


def test_a_tie_goes_to_what_the_pipeline_does_by_itself():
    advice = advice_on(outcome("twins", validation_auc=0.80001), outcome("auto", validation_auc=0.8, chosen="rule"), outcome("qr"))
    assert advice.row.method == "auto"


def test_what_a_table_that_was_born_again_needs_is_said():
    """Whoever was chosen: the control, its teacher, may be born again, too."""
    for chosen in ("rule born again", "rule"):
        sentence = advice_on(outcome("auto", chosen=chosen), **{"born again": "the control"}).sentence
        assert sentence.endswith("compress.precision: int8, compress.finetune.born_again: true.")
    assert advice_on(outcome("auto")).sentence.endswith("compress.precision: int8.")


def test_the_published_layer_is_no_advice_as_the_pipeline_does_not_train_it_on():
    advice = advice_on(outcome("paper", bytes=90), outcome("rule", bytes=95))
    assert "search.sizes: paper" not in advice.sentence
    assert "search.sizes: rule" in advice.sentence


def test_bytes_are_also_told_against_the_narrowest_fixed_table_that_loses_nothing():
    advice = advice_on(
        outcome("fixed-distilled", "width 8", 400, bytes=400),
        outcome("fixed", "20%", 200, bytes=180),
        outcome("fixed-distilled", "width 2", 80, bytes=80, auc=0.7),
        outcome("curvature", "10%", 100, bytes=90),
    )
    assert advice.narrowest.bytes == 180
    assert "50.0% fewer than the narrowest fixed table that loses nothing (fixed at 20% in int8)" in advice.sentence


def test_a_peer_that_wins_is_named_beside_the_best_that_can_be_built():
    advice = advice_on(outcome("hashing", "5%", 50, bytes=50), outcome("rule", "20%", 200, bytes=190))
    assert advice.row.method == "hashing"
    assert "rule at 20% in int8 comes nearest: 190 bytes, set search.sizes: rule, compress.budget: 20%" in advice.sentence


def test_a_table_of_ours_that_loses_something_is_not_advised_without_saying_so():
    advice = advice_on(outcome("hashing", "5%", 50, bytes=50), outcome("rule", "5%", 50, bytes=49, auc=0.79, logloss=0.42))
    assert "comes nearest but loses something (validation AUC -0.0100, log loss +0.0200; more --budgets may find" in advice.sentence


def test_where_all_lose_the_one_that_loses_least_is_named_with_its_cost():
    advice = advice_on(outcome("rule", "20%", 200, auc=0.79, logloss=0.41), outcome("auto", "5%", 50, auc=0.70, chosen="rule"))
    assert not advice.lossless
    assert advice.row.method == "rule"
    assert "No table here loses nothing" in advice.sentence
    assert "AUC -0.0100 and log loss +0.0100" in advice.sentence


@pytest.mark.parametrize(("logistic", "warned"), [(0.8, True), (0.81, True), (0.79, False)])
def test_where_logistic_regression_is_as_good_savings_prove_nothing(logistic, warned):
    warnings = advice_on(outcome("rule"), logistic=logistic).warnings
    assert any("prove nothing" in warning for warning in warnings) is warned


def test_few_seeds_and_quick_runs_are_warned_of():
    assert any(warning.startswith("Seeds: 1.") for warning in advice_on(outcome("rule")).warnings)
    assert any(warning.startswith("Quick:") for warning in advice_on(outcome("rule"), quick="yes").warnings)
    seeds = [found for seed in range(3) for found in (control(seed), outcome("rule", seed=seed))]
    assert recommend(comparison(*seeds)).warnings == ()


def test_without_any_table_more_bytes_are_asked_for():
    advice = advice_on(outcome("rule", failure="too small"))
    assert advice.row is None
    assert "allow more bytes" in advice.sentence
