from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.params import GateParams
from amtl.release.gate import judge

numbers = st.one_of(st.floats(0, 1), st.floats(), st.sampled_from([0.5, 0.7, math.nextafter(0.7, 1), 0.702]))
sizes = st.integers(0, 2000) | st.sampled_from([math.nan, math.inf])
metrics = st.fixed_dictionaries(
    {}, optional={"auc": numbers, "logloss": numbers, "auc_fixed": numbers, "table_bytes": sizes, "calibration": numbers}
)
gates = st.builds(
    GateParams,
    min_auc=st.floats(0, 1),
    max_logloss=st.floats(0.01, 2),
    max_drop_fixed=st.floats(0, 0.1),
    max_drop_champion=st.floats(0, 0.1),
    min_gain=st.floats(0, 0.1),
)


@settings(max_examples=1000, deadline=None)
@given(challenger=metrics, champion=st.none() | metrics, params=gates)
def test_no_promotion_below_a_floor_and_the_same_verdict_twice(
    challenger: dict[str, Any], champion: dict[str, Any] | None, params: GateParams
) -> None:
    verdict = judge(challenger, champion, params)
    assert verdict == judge(dict(challenger), None if champion is None else dict(champion), params)
    assert verdict.reasons
    assert all(reason.strip() for reason in verdict.reasons)
    if verdict.decision != "REJECT":
        assert challenger["auc"] >= params.min_auc
        assert challenger["logloss"] <= params.max_logloss
        assert challenger["auc"] >= challenger.get("auc_fixed", 0) - params.max_drop_fixed
        assert all(math.isfinite(value) for value in (*challenger.values(), *(champion or {}).values()))
    if verdict.decision == "PROMOTE" and champion is not None:
        gains = challenger["auc"] > champion["auc"] + params.min_gain
        smaller = challenger.get("table_bytes", math.inf) < champion.get("table_bytes", -math.inf)
        assert challenger["auc"] >= champion["auc"] - params.max_drop_champion
        assert gains or smaller


@settings(max_examples=200, deadline=None)
@given(auc=st.floats(0.5, 1), logloss=st.floats(0, 1), size=st.integers(0, 10**12))
def test_a_tie_holds(auc: float, logloss: float, size: int) -> None:
    same = {"auc": auc, "logloss": logloss, "table_bytes": size}
    assert judge(same, same, GateParams()).decision == "HOLD"
