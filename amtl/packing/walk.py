"""`compress.budget: auto`: the smallest table that loses nothing, found by walking budgets down a geometric ladder.

As long as a proposal loses nothing as it is, nothing is trained, and the walk takes several rungs in a stride, the last ones again one
by one. From the first budget on at which all proposals lose something, the best selector's sizes are fine-tuned, and where that is not
enough models are trained anew, until even that loses something; a budget halfway back is then tried as well, and the smallest table that
lost nothing is kept. The front is the search's: no search runs again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amtl.errors import BudgetError
from amtl.packing.choice import Choice, Table, best_cut, proposals
from amtl.packing.cut import Cut

RATIO = 0.8
"""Of one rung's bytes to those of the rung above."""
STRIDE = 4
"""Rungs from one look to the next as long as nothing is lost; those after the last look that lost nothing are then gone one by one."""
EVERYTHING = 2**62
"""A budget in bytes that every table meets."""


@dataclass(frozen=True)
class Walk:
    """Where a walk ended.

    Attributes:
        budget_bytes: of the table. choice: what `best_cut` gives there.
        rungs: the budgets that were tried, JSON-able: budget_bytes, passed, and what `Cut.described` says of the best.
    """

    budget_bytes: int
    choice: Choice
    rungs: list[dict[str, Any]]


def smallest_cut(table: Table, resume: Path | None = None) -> Walk:
    """The smallest table tried that loses nothing; the whole table where even that loses something."""
    whole = table.propose(table.selectors[0], EVERYTHING).bytes
    rungs, choice = list(_untrained(table, whole)), None
    if not rungs[-1]["passed"]:
        for rung, tuned in _trained(table, rungs.pop()["budget_bytes"], whole, resume):
            rungs.append(rung)
            choice = tuned if rung["passed"] else choice
    end = next((rung["budget_bytes"] for rung in reversed(rungs) if rung["passed"]), whole)
    choice = choice or best_cut(table, table.selectors, end, resume and resume / "kept")
    if not table.goal.met(choice.cut.measured):
        table.tuning.log(f"even the whole table in {table.settings.compress.precision} loses more than the tolerance; it is kept")
    return Walk(end, choice, rungs)


def _untrained(table: Table, budget_bytes: int) -> Iterator[dict[str, Any]]:
    """Rungs, falling, to the first at which every proposal loses something as it is: in strides, and rung by rung since the last one."""
    ladder, since, far = list(_ladder(budget_bytes)), 0, None
    for reached in range(0, len(ladder), STRIDE):
        far = _proposed(table, ladder[reached])
        if far is None or not far["passed"]:
            break
        yield far
        since = reached + 1
    for budget in ladder[since:reached]:
        near = _proposed(table, budget)
        if near is not None:
            yield near
        if near is None or not near["passed"]:
            return
    if far is not None and not far["passed"]:
        yield far


def _proposed(table: Table, budget_bytes: int) -> dict[str, Any] | None:
    """The rung of the best proposal; None where no table meets the budget."""
    try:
        best = proposals(table, table.selectors, budget_bytes)[0]
    except BudgetError:
        return None
    table.say(best)
    return _rung(table, budget_bytes, best)


def _trained(table: Table, budget_bytes: int, whole: int, resume: Path | None) -> Iterator[tuple[dict[str, Any], Choice]]:
    """Rungs down to the first at which the best cut loses something, then half a rung up.

    After the first rung only the best selector's sizes are fine-tuned; once that loses something, models are trained anew by one selector
    after the other, cold sizes first, until one loses nothing, and from then on only by that one (by the best, if all lose something).
    """
    selectors, anew, tuned = table.selectors, table.selectors, True

    def tried(budget: int) -> tuple[dict[str, Any], Choice]:
        folder = resume and resume / f"{budget}-bytes"
        choice = best_cut(table, selectors, budget, folder, anew=anew, tuned=tuned, enough=True)
        return _rung(table, budget, choice.cut), choice

    for budget in _ladder(budget_bytes):
        try:
            rung, choice = tried(budget)
        except BudgetError:
            return
        yield rung, choice
        selectors, anew = (choice.cut.selector,), (choice.anew,) if choice.anew else anew
        tuned = not choice.cut.born_again
        halfway = int(budget / math.sqrt(RATIO))
        if not rung["passed"]:
            if halfway < whole:
                yield tried(halfway)
            return


def _ladder(budget_bytes: int) -> Iterator[int]:
    while budget_bytes:
        yield budget_bytes
        budget_bytes = int(budget_bytes * RATIO)


def _rung(table: Table, budget_bytes: int, tried: Cut) -> dict[str, Any]:
    return {"budget_bytes": budget_bytes, "passed": table.goal.met(tried.measured), **tried.described()}
