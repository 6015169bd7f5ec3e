"""Section 2: every method at equal bytes and equal precision."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results.experiment import Result
from benchmarks.results.plan import CANDIDATES, IN_ROUNDS, OURS, ROUNDS, Find, Scope, contestants, in_rounds, method, peer_savings, start
from benchmarks.results.tables import NO_TABLE, NOT_ASKED, NOT_RUN, listed, mean, percent, signed, spread, standard_error, table

AUTO, MIXED = OURS
MAGNITUDE = "magnitude"

Runs = dict[int, Result]
"""Finished runs by seed."""


def runs_of(scope: Scope, name: str, label: str, saved: float, find: Find) -> Runs:
    """The finished runs of a method at a share saved."""
    found: Runs = {}
    for seed in range(scope.seeds):
        result = find(method(scope, 2, name, seed, label, "int8", saved=saved))
        if result is not None and not result.get("failure"):
            found[seed] = result
    return found


def values(scope: Scope, find: Find) -> str:
    """A table, a verdict and a picture for each data set."""
    return "\n\n".join(_block(scope, name, find) for name in scope.sets)


def _block(scope: Scope, name: str, find: Find) -> str:
    savings = peer_savings(scope)
    labels = list(dict.fromkeys((AUTO, *contestants(scope, name, find), MIXED)))
    found = {(label, saved): runs_of(scope, name, label, saved, find) for label in labels for saved in savings}
    cells = {case: _cell(runs) if runs else _none(scope, name, *case, find) for case, runs in found.items()}
    rows = [[f"**{label}**" if label in OURS else label, *(cells[label, saved] for saved in savings)] for label in labels]
    more = {saved: _in_rounds(scope, name, saved, find) for saved in IN_ROUNDS.get(name, ()) if saved in savings}
    rows += [[f"**{AUTO}**, {ROUNDS} rounds", *(_cell(more[saved]) if saved in more else NOT_ASKED for saved in savings)]] if more else []
    references = _references(scope, name, find)
    sentences = " ".join(verdict(found, labels, saved, more.get(saved)) for saved in savings)
    header = ["method", *(f"{percent(saved, 0)} saved" for saved in savings)]
    figure = f"![{name}: test AUC against bytes](results/front-{name}.svg)" if any(found.values()) else ""
    return f"### {name}\n\n{references}\n\n{table(header, rows)}\n\n{sentences}\n\n{figure}"


def _in_rounds(scope: Scope, name: str, saved: float, find: Find) -> Runs:
    """The finished runs of `auto` in as many rounds of fine-tuning as magnitude pruning."""
    runs = ((seed, find(in_rounds(scope, name, seed, saved))) for seed in range(scope.seeds))
    return {seed: result for seed, result in runs if result and not result.get("failure")}


def _references(scope: Scope, name: str, find: Find) -> str:
    starts = [result for seed in range(scope.seeds) if (result := find(start(scope, name, seed)))]
    words = {"control": "control", "base": "fixed D = 64 as trained", "logistic": "one-hot logistic regression"}
    figures = "; ".join(f"{words[key]} {_cell(dict(enumerate([result[key] for result in starts])))}" for key in words)
    return f"{figures[0].upper()}{figures[1:]}.{_proves_nothing(starts)}"


def _proves_nothing(starts: Sequence[Result]) -> str:
    """A warning where a model without embeddings is as good: any size of table then works."""
    linear, deep = (mean([result[key]["test"]["auc"] for result in starts]) for key in ("logistic", "control"))
    return " **The logistic regression is as good as the control: savings here prove nothing.**" if linear >= deep else ""


def _cell(runs: Runs) -> str:
    if not runs:
        return NOT_RUN
    return " / ".join(spread([run["test"][metric] for run in runs.values()]) for metric in ("auc", "logloss")) + f" (n={len(runs)})"


def _none(scope: Scope, name: str, label: str, saved: float, find: Find) -> str:
    """Why a cell has no figures: the method has no table that small, was not to be run, or was not run."""
    if label not in (*OURS, *contestants(scope, name, find, saved)):
        return NOT_ASKED
    runs = (find(method(scope, 2, name, seed, label, "int8", saved=saved)) for seed in range(scope.seeds))
    return NO_TABLE if any(run and run.get("failure") for run in runs) else NOT_RUN


def verdict(found: dict[tuple[str, float], Runs], labels: Sequence[str], saved: float, more: Runs | None = None) -> str:
    """Whether `auto` is at or above the mean AUC of all others at a saving, and of its candidates; ties within one standard error count.

    Args:
        more: runs of `auto` in as many rounds of fine-tuning as magnitude pruning has, which stand beside that.
    """
    ours = found[AUTO, saved]
    margins = {label: margin for label in labels if label not in OURS and (margin := paired(ours, found[label, saved]))}
    rivals = {label: margin for label, margin in margins.items() if label not in CANDIDATES}
    if not rivals:
        return f"At {percent(saved, 0)}: {NOT_RUN}."
    better = _ahead({label: margin for label, margin in margins.items() if label in CANDIDATES})
    missed = f" Of its own candidates {better} would have been better." if better else ""
    if more and (margin := paired(more, found.get((MAGNITUDE, saved), {}))):
        missed += f" In as many rounds of fine-tuning as {MAGNITUDE} it is {_beside(margin)} that ({signed(mean(margin))} AUC)."
    if ahead := _ahead(rivals):
        return f"At {percent(saved, 0)} `auto` is **behind {ahead}**.{missed}"
    closest = min(rivals, key=lambda label: mean(rivals[label]))
    nearest = f"the nearest is {closest} ({signed(mean(rivals[closest]))} AUC)"
    return f"At {percent(saved, 0)} `auto` is at or above all {len(rivals)} others; {nearest}.{missed}"


def _beside(margin: list[float]) -> str:
    """Whether the first of a pair is ahead, in words; ties within one standard error count as level."""
    if abs(mean(margin)) <= standard_error(margin):
        return "level with"
    return "ahead of" if mean(margin) > 0 else "**behind**"


def _ahead(margins: dict[str, list[float]]) -> str:
    """Who is ahead of `auto` by more than one standard error, and by how much."""
    ahead = [f"{label} ({signed(-mean(by))} AUC)" for label, by in margins.items() if mean(by) < -standard_error(by)]
    return listed(ahead) if ahead else ""


def paired(ours: Runs, theirs: Runs) -> list[float]:
    """Differences of test AUC, seed by seed, for the seeds that both have."""
    return [ours[seed]["test"]["auc"] - theirs[seed]["test"]["auc"] for seed in ours if seed in theirs]
