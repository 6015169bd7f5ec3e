"""What a comparison found: one `Outcome` a method, budget and seed, and their means over seeds (`Row`). Pure values, JSON-able."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from amtl.params import ToleranceParams

CONTROL, BASE, LOGISTIC, PAPER, AUTO_MIXED = "control", "base", "logistic", "paper", "auto-mixed"
OWN_SIZE = ""
"""The budget of what has a size of its own: the full-width table, the published layer."""
WIDTH = "width "
"""Begins the budget of a fixed table whose width was chosen, not its bytes."""


@dataclass(frozen=True)
class Budget:
    """A budget as it was asked for ("5%"), and in bytes."""

    label: str
    bytes: int


@dataclass(frozen=True)
class Outcome:
    """One method at one budget with one seed.

    Attributes:
        budget: as it was asked for; empty where the method has a size of its own.
        budget_bytes: the same in bytes; of the method's own size, its bytes.
        bytes: of everything that stands in for the table; None where the method has no table that small.
        validation: auc, logloss, score; what choices are made by.
        test: auc, logloss, calibration; scored once, when everything is decided.
        seconds: of the run, without trainings that it took up from others.
        details: of the method.
        failure: why there is no table; empty where there is one.
    """

    method: str
    budget: str
    budget_bytes: int
    precision: str
    seed: int
    bytes: int | None
    validation: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_json`."""
        return cls(**raw)


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (0 for one seed)."""

    mean: float
    std: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Of one number or more."""
        return cls(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else 0.0)


@dataclass(frozen=True)
class Row:
    """A method at a budget over all its seeds.

    Attributes:
        bytes: mean, rounded.
        auc, logloss: of the test rows. validation_auc, validation_logloss: of the validation rows.
        auc_lost, logloss_gained: means of the differences from the same seed's control on test: what the smaller table costs.
        validation_auc_lost, validation_logloss_gained: the same on validation.
        tolerance: how much worse still counts as no loss, on the mean over seeds.
        chosen: of a method that chooses among others, or among ways of training: what it chose, by seed.
    """

    method: str
    budget: str
    budget_bytes: int
    precision: str
    seeds: int
    bytes: int
    auc: Spread
    logloss: Spread
    validation_auc: Spread
    validation_logloss: Spread
    auc_lost: float
    logloss_gained: float
    validation_auc_lost: float
    validation_logloss_gained: float
    seconds: float
    tolerance: ToleranceParams
    chosen: tuple[str, ...] = ()

    @property
    def loses_nothing(self) -> bool:
        """Whether it loses nothing against the control on validation rows, which all choices are made by."""
        return self.validation_auc_lost <= self.tolerance.auc and self.validation_logloss_gained <= self.tolerance.logloss

    @property
    def holds(self) -> bool:
        """Whether it loses nothing on test rows either."""
        return self.auc_lost <= self.tolerance.auc and self.logloss_gained <= self.tolerance.logloss

    @property
    def validation_score(self) -> float:
        """What checkpoints are chosen by as well: AUC - log loss / 2 on validation."""
        return self.validation_auc.mean - self.validation_logloss.mean / 2


@dataclass(frozen=True)
class Comparison:
    """All outcomes, and what they are compared with.

    Attributes:
        dense_bytes: of the same rows in fp32 at full width.
        tolerance: what counts as losing nothing.
        context: what the report says of data and settings.
    """

    outcomes: tuple[Outcome, ...]
    dense_bytes: int
    tolerance: ToleranceParams = field(default_factory=ToleranceParams)
    context: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        outcomes = [outcome.to_json() for outcome in self.outcomes]
        return {"outcomes": outcomes, "dense_bytes": self.dense_bytes, "tolerance": self.tolerance.model_dump(), "context": self.context}

    @property
    def logistic(self) -> dict[str, float]:
        """Test auc, logloss and calibration of the one-hot logistic regression."""
        return next(outcome.test for outcome in self.outcomes if outcome.method == LOGISTIC)

    @property
    def seeds(self) -> int:
        """With how many seeds the full width was trained."""
        return sum(outcome.method == CONTROL for outcome in self.outcomes)

    @property
    def failures(self) -> list[Outcome]:
        """The methods that have no table at a budget, and why."""
        return [outcome for outcome in self.outcomes if outcome.failure]

    def rows(self) -> list[Row]:
        """A row a method and budget that has a result for at least one seed; the largest budgets first, in order of the outcomes."""
        controls = {outcome.seed: outcome for outcome in self.outcomes if outcome.method == CONTROL}
        groups: dict[tuple[str, str, str], list[Outcome]] = {}
        for outcome in self.outcomes:
            if not outcome.failure and outcome.method != LOGISTIC and outcome.seed in controls:
                groups.setdefault((outcome.method, outcome.budget, outcome.precision), []).append(outcome)
        found = [_row(outcomes, controls, self.tolerance) for outcomes in groups.values()]
        return sorted(found, key=lambda row: (row.budget != OWN_SIZE, -row.budget_bytes if row.budget != OWN_SIZE else 0))


def _row(outcomes: Sequence[Outcome], controls: Mapping[int, Outcome], tolerance: ToleranceParams) -> Row:
    first = outcomes[0]
    return Row(
        method=first.method,
        budget=first.budget,
        budget_bytes=first.budget_bytes,
        precision=first.precision,
        seeds=len(outcomes),
        bytes=round(statistics.fmean(outcome.bytes or 0 for outcome in outcomes)),
        auc=Spread.of([outcome.test["auc"] for outcome in outcomes]),
        logloss=Spread.of([outcome.test["logloss"] for outcome in outcomes]),
        validation_auc=Spread.of([outcome.validation["auc"] for outcome in outcomes]),
        validation_logloss=Spread.of([outcome.validation["logloss"] for outcome in outcomes]),
        auc_lost=-_difference(outcomes, controls, "test", "auc"),
        logloss_gained=_difference(outcomes, controls, "test", "logloss"),
        validation_auc_lost=-_difference(outcomes, controls, "validation", "auc"),
        validation_logloss_gained=_difference(outcomes, controls, "validation", "logloss"),
        seconds=statistics.fmean(outcome.seconds for outcome in outcomes),
        tolerance=tolerance,
        chosen=tuple(str(outcome.details["chosen"]) for outcome in outcomes if "chosen" in outcome.details),
    )


def _difference(outcomes: Iterable[Outcome], controls: Mapping[int, Outcome], part: str, metric: str) -> float:
    """Mean over seeds of a metric minus the same seed's control's."""
    return statistics.fmean(getattr(one, part)[metric] - getattr(controls[one.seed], part)[metric] for one in outcomes)
