"""Section 4: the paper's claims as experiments, and whether each came out here."""

from __future__ import annotations

from typing import Any

from benchmarks.results.experiment import Result
from benchmarks.results.plan import CANDIDATES, MOVIELENS, PAPER, TOLERANCE, Find, Scope, as_published, at_its_bytes, frequency, start
from benchmarks.results.tables import NOT_RUN, listed, mean, percent, signed, spread, standard_error, table

Runs = dict[int, Result]
WARM_FULL, COLD_FLAT, WARM_FLAT, COLD_FULL, WARM_SINGLE = PAPER


def values(scope: Scope, find: Find) -> str:
    """What the layer came to from every start, and a verdict a claim, for each of the MovieLens sets."""
    return "\n\n".join(_block(scope, name, find) for name in MOVIELENS if name in scope.sets)


def _block(scope: Scope, name: str, find: Find) -> str:
    published = {_key(choice): _runs(scope, name, choice, find) for choice in PAPER}
    fixed = _starts(scope, name, find)
    header = ["start", "initial sizes", "layer", "mean size at the start", "mean size, learned", "bytes saved", "AUC", "log loss", "n"]
    rows = [_row(choice, published[_key(choice)]) for choice in PAPER]
    rows.append(["cold", "-", "none: FBE", "64.0", "64.0", "0", *_figures([run["base"] for run in fixed.values()]), str(len(fixed))])
    verdicts = [
        _accuracy(scope, name, published[_key(WARM_FULL)], fixed, find),
        _memory(published, fixed),
        _difference("warm start beats cold start", published[_key(WARM_FLAT)], published[_key(COLD_FLAT)]),
        _difference("twins beat a single network", published[_key(WARM_FLAT)], published[_key(WARM_SINGLE)]),
        _frequency(scope, name, published[_key(WARM_FLAT)], find),
    ]
    return f"### {name}\n\n{table(header, rows)}\n\n{table(['claim', 'here', 'reproduces?'], verdicts)}"


def _key(choice: dict[str, str]) -> str:
    return " ".join(choice.values())


def _runs(scope: Scope, name: str, choice: dict[str, str], find: Find) -> Runs:
    return {seed: result for seed in range(scope.seeds) if (result := find(as_published(scope, name, seed, choice)))}


def _starts(scope: Scope, name: str, find: Find) -> Runs:
    return {seed: result for seed in range(scope.seeds) if (result := find(start(scope, name, seed)))}


def _row(choice: dict[str, str], runs: Runs) -> list[str]:
    words = [choice["start"], choice["initial"], choice["layer"]]
    if not runs:
        return [*words, *[NOT_RUN] * 5, "0"]
    sizes = [spread([run[moment]["mean_size"] for run in runs.values()], 1) for moment in ("sizes_at_initialisation", "sizes")]
    return [*words, *sizes, percent(mean([run["saved"] for run in runs.values()]), 1), *_figures(list(runs.values())), str(len(runs))]


def _figures(results: list[dict[str, Any]]) -> list[str]:
    return [spread([result["test"][metric] for result in results]) for metric in ("auc", "logloss")]


def _accuracy(scope: Scope, name: str, published: Runs, fixed: Runs, find: Find) -> list[str]:
    """Best accuracy among FBE, MDE and AutoEmb, the latter at the published layer's bytes."""
    claim = "best accuracy beside FBE, MDE and AutoEmb"
    rivals: dict[str, list[float]] = {}
    for seed, run in published.items():
        if seed in fixed:
            rivals.setdefault("FBE", []).append(run["test"]["auc"] - fixed[seed]["base"]["test"]["auc"])
        for experiment in at_its_bytes(scope, name, seed, run):
            result = find(experiment)
            if result and not result.get("failure"):
                rivals.setdefault(experiment.choice["method"], []).append(run["test"]["auc"] - result["test"]["auc"])
    if not rivals:
        return [claim, NOT_RUN, "-"]
    here = ", ".join(f"{signed(mean(margin))} to {label}" for label, margin in rivals.items())
    ahead = [label for label, margin in rivals.items() if mean(margin) < -standard_error(margin)]
    return [claim, f"AUC {here} (same bytes, fp32)", f"no: behind {listed(ahead)}" if ahead else "yes"]


def _memory(published: dict[str, Runs], fixed: Runs) -> list[str]:
    """60% of the memory at no loss beside FBE, and what the initial sizes do to it."""
    parts, reached = [], False
    for choice in PAPER[:4]:
        runs = published[_key(choice)]
        if runs:
            saved, begin = (mean([share(run) for run in runs.values()]) for share in (_saved, _saved_at_start))
            lost = {metric: _beside(runs, fixed, metric) for metric in TOLERANCE}
            words = f"{choice['start']}, {choice['initial']}: {percent(saved, 0)} (at the start {percent(begin, 0)})"
            parts.append(f"{words}, AUC {signed(lost['auc'])}, log loss {signed(lost['logloss'])} beside FBE")
            whole = lost["auc"] >= -TOLERANCE["auc"] and lost["logloss"] <= TOLERANCE["logloss"]
            reached = reached or (saved >= 0.6 and whole and choice["initial"] == "full")
    verdict = ("yes" if reached else "no: what is saved is lost, or is what the initial sizes leave out") if parts else "-"
    return ["60% of the memory saved at no loss", "; ".join(parts) or NOT_RUN, verdict]


def _saved(run: Result) -> float:
    return float(run["saved"])


def _saved_at_start(run: Result) -> float:
    return 1 - float(run["sizes_at_initialisation"]["kept_share"])


def _beside(runs: Runs, fixed: Runs, metric: str) -> float:
    """Mean difference of a test figure from that of the same seed's FBE."""
    return mean([run["test"][metric] - fixed[seed]["base"]["test"][metric] for seed, run in runs.items() if seed in fixed])


def _difference(claim: str, better: Runs, worse: Runs) -> list[str]:
    margin = [better[seed]["test"]["auc"] - worse[seed]["test"]["auc"] for seed in better if seed in worse]
    if not margin:
        return [claim, NOT_RUN, "-"]
    error = standard_error(margin)
    verdict = "yes" if mean(margin) > error else "no" if mean(margin) < -error else "no difference beyond one standard error"
    if len(margin) == 1:
        verdict += " (one seed)"
    return [claim, f"AUC {signed(mean(margin))} (initial sizes flat)", verdict]


def _frequency(scope: Scope, name: str, published: Runs, find: Find) -> list[str]:
    """Larger sizes for more frequent values."""
    claim = "frequent values get larger sizes"
    layer = _correlations([run["rank_correlation"] for run in published.values()])
    results = [result for seed in range(scope.seeds) if (result := find(frequency(scope, name, seed)))]
    ours = {label: _correlations([result["rank_correlation"][label] for result in results]) for label in CANDIDATES} if results else {}
    if not layer and not ours:
        return [claim, NOT_RUN, "-"]
    words = [
        f"layer: {_written(layer)}",
        *(f"{label} at {percent(results[0]['saved'], 0)} saved: {_written(ours[label])}" for label in ours),
    ]
    low = [field for field, value in layer.items() if value < 0.5]
    verdict = "-" if not layer else f"no, not in {listed(low)}" if low else "yes"
    return [claim, f"rank correlation of size and frequency: {'; '.join(words)}", verdict]


def _correlations(found: list[dict[str, float]]) -> dict[str, float]:
    fields = dict.fromkeys(field for one in found for field in one)
    return {field: mean([one[field] for one in found if field in one]) for field in fields}


def _written(correlations: dict[str, float]) -> str:
    return ", ".join(f"{field} {value:.2f}" for field, value in correlations.items()) or "all sizes of a field are the same"
