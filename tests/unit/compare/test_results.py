import pytest
from outcomes import comparison, control, outcome

from amtl.compare.results import Outcome, Spread


def test_spread_is_the_sample_standard_deviation():
    assert Spread.of([1.0, 2.0, 3.0]) == Spread(2.0, 1.0)
    assert Spread.of([4.0]) == Spread(4.0, 0.0)


def test_an_outcome_survives_json():
    one = outcome("rule", auc=0.8)
    assert Outcome.from_json(one.to_json()) == one


def test_a_row_is_the_mean_over_seeds_and_its_losses_are_against_each_seeds_own_control():
    given = comparison(
        control(seed=0, auc=0.80, logloss=0.40),
        control(seed=1, auc=0.90, logloss=0.30),
        outcome("rule", seed=0, auc=0.79, logloss=0.42, bytes=100),
        outcome("rule", seed=1, auc=0.86, logloss=0.33, bytes=103),
    )
    row = next(row for row in given.rows() if row.method == "rule")
    assert (row.seeds, row.bytes) == (2, 102)
    assert row.auc.mean == pytest.approx(0.825)
    assert row.auc.std == pytest.approx(0.0494975)
    assert row.auc_lost == pytest.approx((0.01 + 0.04) / 2)
    assert row.logloss_gained == pytest.approx((0.02 + 0.03) / 2)
    assert row.validation_auc_lost == pytest.approx((0.01 + 0.04) / 2)


def test_rows_leave_out_failures_and_logistic_regression_and_fall_in_budget():
    given = comparison(
        control(),
        outcome("rule", budget="5%", budget_bytes=50),
        outcome("rule", budget="20%", budget_bytes=200),
        outcome("hashing", budget="5%", budget_bytes=50, failure="no table that small"),
    )
    assert [(row.method, row.budget) for row in given.rows()] == [("control", ""), ("rule", "20%"), ("rule", "5%")]
    assert [one.method for one in given.failures] == ["hashing"]
    assert given.logistic["auc"] == 0.6
