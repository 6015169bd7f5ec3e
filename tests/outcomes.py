"""Outcomes of a comparison with figures that a test chooses."""

from __future__ import annotations

from typing import Any

from amtl.compare.results import CONTROL, LOGISTIC, OWN_SIZE, Comparison, Outcome
from amtl.params import ToleranceParams

DENSE = 1000


def outcome(
    method: str,
    budget: str = "10%",
    budget_bytes: int = 100,
    *,
    seed: int = 0,
    auc: float = 0.8,
    logloss: float = 0.4,
    bytes: int = 90,
    precision: str = "int8",
    failure: str = "",
    validation_auc: float | None = None,
    **details: Any,
) -> Outcome:
    """An outcome whose validation figures are its test figures, unless one says another AUC."""
    if failure:
        return Outcome(method, budget, budget_bytes, precision, seed, None, failure=failure)
    validation = {"auc": auc if validation_auc is None else validation_auc, "logloss": logloss}
    validation["score"] = validation["auc"] - logloss / 2
    test = {"auc": auc, "logloss": logloss, "calibration": 1.0}
    return Outcome(method, budget, budget_bytes, precision, seed, bytes, validation, test, 1.0, details)


def control(seed: int = 0, auc: float = 0.8, logloss: float = 0.4) -> Outcome:
    """The full-width table's."""
    return outcome(CONTROL, OWN_SIZE, DENSE, seed=seed, auc=auc, logloss=logloss, bytes=DENSE, precision="fp32")


def comparison(*outcomes: Outcome, logistic: float = 0.6, tolerance: ToleranceParams | None = None, **context: Any) -> Comparison:
    """A comparison of these, beside a logistic regression of a given AUC."""
    floor = Outcome(LOGISTIC, OWN_SIZE, 40, "fp32", 0, 40, test={"auc": logistic, "logloss": 0.5})
    return Comparison((*outcomes, floor), DENSE, tolerance or ToleranceParams(), context)
