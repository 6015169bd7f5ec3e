from __future__ import annotations

import math
from typing import Any

import pytest

from amtl.params import GateParams
from amtl.release.gate import Verdict, judge

PARAMS = GateParams(min_auc=0.6, max_logloss=0.7, max_drop_fixed=0.002, max_drop_champion=0.002, min_gain=0.001)
GOOD: dict[str, Any] = {"auc": 0.75, "logloss": 0.5, "auc_fixed": 0.75, "table_bytes": 1000, "saved": 0.6}


def verdict(champion: dict[str, Any] | None = None, **changes: Any) -> Verdict:
    return judge({**GOOD, **changes}, champion, PARAMS)


@pytest.mark.parametrize(
    ("champion", "changes", "decision", "word"),
    [
        (None, {}, "PROMOTE", "no champion"),
        (None, {"auc": 0.59, "auc_fixed": 0.59}, "REJECT", "gate.min_auc"),
        (None, {"logloss": 0.71}, "REJECT", "gate.max_logloss"),
        (None, {"auc_fixed": 0.753}, "REJECT", "gate.max_drop_fixed"),
        (None, {"auc_fixed": 0.7519}, "PROMOTE", "no champion"),
        ({"auc": 0.753, "table_bytes": 1000}, {}, "REJECT", "gate.max_drop_champion"),
        ({"auc": 0.7485, "table_bytes": 10}, {}, "PROMOTE", "a gain above"),
        ({"auc": 0.7495, "table_bytes": 1000}, {}, "HOLD", "no gain above"),
        ({"auc": 0.75, "table_bytes": 1000}, {}, "HOLD", "not at least 5% smaller"),
        ({"auc": 0.7515, "table_bytes": 1100}, {}, "PROMOTE", "smaller"),
        ({"auc": 0.7515, "table_bytes": 1050}, {}, "HOLD", "not at least 5% smaller"),
        ({"auc": 0.75}, {}, "HOLD", "an unknown size"),
        ({"table_bytes": 1000}, {}, "HOLD", "cannot be compared"),
    ],
)
def test_judgement(champion: dict[str, Any] | None, changes: dict[str, Any], decision: str, word: str) -> None:
    result = verdict(champion, **changes)
    assert result.decision == decision
    assert word in " ".join(result.reasons)


def test_a_gain_of_exactly_min_gain_holds() -> None:
    champion = {"auc": 0.5, "table_bytes": 1000}
    params = GateParams(min_gain=0.25)
    assert judge({"auc": 0.75, "logloss": 0.5, "table_bytes": 1000}, champion, params).decision == "HOLD"
    assert judge({"auc": math.nextafter(0.75, 1), "logloss": 0.5, "table_bytes": 1000}, champion, params).decision == "PROMOTE"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["auc", "logloss", "auc_fixed", "table_bytes", "saved"])
def test_a_number_that_is_none_rejects(where: str, bad: float) -> None:
    assert verdict({"auc": 0.7, "table_bytes": 1000}, **{where: bad}).decision == "REJECT"


@pytest.mark.parametrize("where", ["auc", "table_bytes"])
def test_a_broken_champion_rejects(where: str) -> None:
    result = verdict({"auc": 0.7, "table_bytes": 1000, where: math.nan})
    assert result.decision == "REJECT"
    assert "of the champion" in result.reasons[0]


@pytest.mark.parametrize("missing", ["auc", "logloss"])
def test_what_cannot_be_judged_is_rejected(missing: str) -> None:
    assert judge({key: value for key, value in GOOD.items() if key != missing}, None, PARAMS).decision == "REJECT"


def test_every_objection_is_named() -> None:
    assert len(verdict({"auc": 0.9, "table_bytes": 1000}, auc=0.5, logloss=0.9).reasons) == 4
