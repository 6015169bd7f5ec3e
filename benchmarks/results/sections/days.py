"""Section 5: day by day."""

from __future__ import annotations

from typing import Any

from benchmarks.results.experiment import Result
from benchmarks.results.plan import Find, Scope, days_run
from benchmarks.results.tables import NOT_RUN, mean, percent, signed, spread, standard_error, table

MODELS = {
    "fixed_cold": "fixed, cold",
    "fixed_warm": "fixed, warm",
    "control_cold": "control (fixed, fine-tuned), cold",
    "control_warm": "control (fixed, fine-tuned), warm",
    "packed_cold": "packed, cold, sizes derived anew",
    "packed_warm": "packed, warm, sizes derived anew",
    "packed_frozen": "packed, warm, first day's sizes",
    "stale": "first day's fixed model, never retrained",
}


def values(scope: Scope, find: Find) -> str:
    """Next-day figures, steps and verdicts for each data set."""
    return "\n\n".join(_block(scope, name, find) for name in scope.day_sets)


def _block(scope: Scope, name: str, find: Find) -> str:
    runs = [result for seed in range(scope.seeds) if (result := find(days_run(scope, name, seed)))]
    if not runs:
        return f"### {name}\n\n{NOT_RUN}"
    header = ["model", "next-day AUC, mean over days", "log loss", "bytes saved", "beside fixed, cold"]
    rows = [[MODELS[model], *_figures(runs, model)] for model in MODELS]
    return f"### {name}\n\n{len(runs[0]['days'])} days, n={len(runs)}.\n\n{table(header, rows)}\n\n{_steps(runs)} {_verdict(runs)}"


def _figures(runs: list[Result], model: str) -> list[str]:
    saved = (
        "0"
        if "bytes" not in runs[0]["days"][0][model]
        else percent(mean([_saved(day, model, run) for run in runs for day in run["days"]]), 1)
    )
    auc, logloss = ([mean([day[model][metric] for day in run["days"]]) for run in runs] for metric in ("auc", "logloss"))
    return [spread(auc), spread(logloss), saved, signed(mean(differences(runs, model, "fixed_cold")))]


def _saved(day: dict[str, Any], model: str, run: Result) -> float:
    dim = run["experiment"]["settings"]["train"]["dim"]
    return float(1 - day[model]["bytes"] / (4 * dim * day["table_rows"]))


def differences(runs: list[Result], one: str, other: str) -> list[float]:
    """Next-day AUC of a model minus another's, mean over days, by seed."""
    return [mean([day[one]["auc"] - day[other]["auc"] for day in run["days"]]) for run in runs]


def _steps(runs: list[Result]) -> str:
    """How many steps cold and warm take, and after how many warm is where cold ends."""
    steps = [day["steps"] for run in runs for day in run["days"]]
    reached = [step["warm_to_cold"] for step in steps if step["warm_to_cold"] is not None]
    cold, warm = (mean([step[kind] for step in steps]) for kind in ("cold", "warm"))
    moment = f"after {mean(reached):,.0f} on average" if reached else "on no day"
    return (
        f"To its best validation AUC the cold training takes {cold:,.0f} steps and the warm one {warm:,.0f}; "
        f"the warm one is where the cold one ends {moment} ({len(reached)} of {len(steps)} days)."
    )


def _verdict(runs: list[Result]) -> str:
    sentences = [
        _compared("Warm", differences(runs, "fixed_warm", "fixed_cold"), "cold (fixed)"),
        _compared("Packed, cold", differences(runs, "packed_cold", "control_cold"), "the control, cold"),
        _compared("Packed, warm", differences(runs, "packed_warm", "control_warm"), "the control, warm"),
        _compared("Packed, warm", differences(runs, "packed_warm", "packed_cold"), "packed, cold"),
        _compared("Sizes derived anew every day", differences(runs, "packed_warm", "packed_frozen"), "the first day's sizes"),
    ]
    return " ".join(sentences)


def _compared(one: str, margin: list[float], other: str) -> str:
    error = standard_error(margin)
    word = "above" if mean(margin) > error else "below" if mean(margin) < -error else "level with"
    return f"{one}: {word} {other} ({signed(mean(margin))} AUC)."
