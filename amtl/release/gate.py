"""The gate: does a challenger become champion? A pure judgement over metrics of the same test rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from amtl.params import GateParams

Decision = Literal["PROMOTE", "HOLD", "REJECT"]
JUDGED = {"auc", "logloss", "auc_fixed", "table_bytes"}
SMALLER = 0.95  # a table counts as smaller below this share of the champion's bytes


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, and why, in sentences."""

    decision: Decision
    reasons: tuple[str, ...]


def judge(challenger: Mapping[str, Any], champion: Mapping[str, Any] | None, params: GateParams) -> Verdict:
    """Judge a challenger.

    REJECT: a number that is none, a floor missed, or too much AUC lost against the fixed-width table or the champion.
    PROMOTE: there is no champion; or more AUC than the champion's by more than `min_gain`; or no more AUC lost than
    `max_drop_champion` with a table at least 5% smaller. HOLD: everything else, so a tie holds.

    Args:
        challenger: `auc`, `logloss`, and where they apply `auc_fixed` and `table_bytes`; no other number may be NaN or infinite.
        champion: `auc` and `table_bytes` of the current champion, scored on the same rows; None without a champion.
        params: the floors and the allowed differences.
    """
    objections = tuple(_objections(challenger, champion, params))
    if objections:
        return Verdict("REJECT", objections)
    auc = challenger["auc"]
    if champion is None:
        reached = f"AUC {auc:.5f} and log loss {challenger['logloss']:.5f} nats meet the floors"
        return Verdict("PROMOTE", ("there is no champion yet", reached))
    if "auc" not in champion:
        return Verdict("HOLD", ("the champion has no AUC on these rows, so the two cannot be compared",))
    gain = auc - champion["auc"]
    compared = f"AUC {auc:.5f} against the champion's {champion['auc']:.5f} ({gain:+.5f})"
    if auc > champion["auc"] + params.min_gain:
        return Verdict("PROMOTE", (f"{compared}: a gain above gate.min_gain {params.min_gain:g}",))
    size = _size_sentence(challenger, champion)
    if _is_smaller(challenger, champion):
        return Verdict("PROMOTE", (f"{compared}: within gate.max_drop_champion {params.max_drop_champion:g}", f"{size}: smaller"))
    return Verdict("HOLD", (f"{compared}: no gain above gate.min_gain {params.min_gain:g}", f"{size}: not at least 5% smaller"))


def _objections(challenger: Mapping[str, Any], champion: Mapping[str, Any] | None, params: GateParams) -> Iterator[str]:
    broken = [*_not_finite("challenger", challenger), *_not_finite("champion", champion or {})]
    missing = [f"the challenger has no {name}, so it cannot be judged" for name in ("auc", "logloss") if name not in challenger]
    if broken or missing:
        yield from broken + missing
        return
    auc, logloss = challenger["auc"], challenger["logloss"]
    if auc < params.min_auc:
        yield f"AUC {auc:.5f} is below gate.min_auc {params.min_auc:g}"
    if logloss > params.max_logloss:
        yield f"log loss {logloss:.5f} nats is above gate.max_logloss {params.max_logloss:g} nats"
    if "auc_fixed" in challenger and auc < challenger["auc_fixed"] - params.max_drop_fixed:
        yield _drop(auc, challenger["auc_fixed"], "the fixed-width table's", f"gate.max_drop_fixed is {params.max_drop_fixed:g}")
    if champion is not None and "auc" in champion and auc < champion["auc"] - params.max_drop_champion:
        yield _drop(auc, champion["auc"], "the champion's", f"gate.max_drop_champion is {params.max_drop_champion:g}")


def _drop(auc: float, other: float, whose: str, allowed: str) -> str:
    return f"AUC {auc:.5f} is {other - auc:.5f} below {whose} {other:.5f}; {allowed}"


def _not_finite(who: str, metrics: Mapping[str, Any]) -> list[str]:
    """What is no finite number among the metrics that are judged, and what is NaN or infinite among all others."""
    broken = [name for name, value in metrics.items() if not _is_finite(value) and (name in JUDGED or isinstance(value, Real))]
    return [f"{name} of the {who} is {metrics[name]!r}, not a finite number" for name in broken]


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _is_smaller(challenger: Mapping[str, Any], champion: Mapping[str, Any]) -> bool:
    known = "table_bytes" in challenger and "table_bytes" in champion
    return known and challenger["table_bytes"] < SMALLER * champion["table_bytes"]


def _size_sentence(challenger: Mapping[str, Any], champion: Mapping[str, Any]) -> str:
    sizes = [f"{metrics['table_bytes']:,} bytes" if "table_bytes" in metrics else "an unknown size" for metrics in (challenger, champion)]
    return f"a table of {sizes[0]} against the champion's {sizes[1]}"
