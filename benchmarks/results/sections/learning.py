"""Where learned sizes win: the twins, warm and cold, beside computed sizes, wherever both were run, and on values that are new."""

from __future__ import annotations

from benchmarks.results.plan import CANDIDATES, COLD, Find, Scope, contestants, days_run, peer_savings
from benchmarks.results.sections.days import differences
from benchmarks.results.sections.peers import Runs, paired, runs_of
from benchmarks.results.tables import NOT_ASKED, NOT_RUN, listed, mean, percent, signed, standard_error, table

PAIRS = (("twins", "curvature"), ("twins", "rule"), (COLD, "curvature"), (COLD, "rule"), ("twins", "single-aml"))
"""Learned sizes, and what they are held against."""
JUDGED = PAIRS[:4]
"""The pairs of which a sentence says where learning wins: learned beside computed."""


def values(scope: Scope, find: Find) -> str:
    """Learned beside computed sizes on every set and at every saving, and what that comes to."""
    cases = [(name, saved) for name in scope.sets for saved in peer_savings(scope)]
    margins = {pair: {case: _margin(scope, *case, *pair, find) for case in cases} for pair in PAIRS}
    asked = {case: contestants(scope, case[0], find, case[1]) for case in cases}
    written = {case: [_written(margins[pair][case], set(pair) <= {*asked[case]}) for pair in PAIRS] for case in cases}
    rows = [[name, percent(saved, 0), *written[name, saved]] for name, saved in cases]
    header = ["data", "bytes saved", *(f"{learned} beside {rival}" for learned, rival in PAIRS)]
    sentences = [_sentence(*pair, margins[pair]) for pair in JUDGED]
    return f"{table(header, rows)}\n\n{' '.join(filter(None, [*sentences, _arriving(scope, find)]))}\n\n{_left_out(scope, find)}"


def _left_out(scope: Scope, find: Find) -> str:
    """How many rows the sizes of each selector leave without a number, where most is saved."""
    saved = max(peer_savings(scope))
    rows = [[name, *(_empty(runs_of(scope, name, label, saved, find)) for label in CANDIDATES)] for name in scope.sets]
    return f"Rows of the table that keep no number at {percent(saved, 0)} saved:\n\n{table(['data', *CANDIDATES], rows)}"


def _empty(runs: Runs) -> str:
    """The share of rows of size 0, mean over seeds."""
    histograms = [run["details"]["sizes"]["histogram"] for run in runs.values()]
    shares = [histogram.get("0", 0) / sum(histogram.values()) for histogram in histograms]
    return f"{percent(mean(shares), 1)} (n={len(shares)})" if shares else NOT_RUN


def _margin(scope: Scope, name: str, saved: float, learned: str, rival: str, find: Find) -> list[float]:
    return paired(runs_of(scope, name, learned, saved, find), runs_of(scope, name, rival, saved, find))


def _written(margin: list[float], asked: bool) -> str:
    return f"{signed(mean(margin))} (n={len(margin)})" if margin else NOT_RUN if asked else NOT_ASKED


def _sentence(learned: str, rival: str, margins: dict[tuple[str, float], list[float]]) -> str:
    found = {case: margin for case, margin in margins.items() if margin}
    wins = [f"{name} at {percent(saved, 0)}" for (name, saved), margin in found.items() if mean(margin) > standard_error(margin)]
    return f"Beside {rival} {learned} win in {len(wins)} of {len(found)} cases ({listed(wins)})." if found else ""


def _arriving(scope: Scope, find: Find) -> str:
    """Values that arrive: sizes by frequency alone, as the layer gives them, beside sizes derived anew."""
    words = []
    for name in scope.day_sets:
        runs = [result for seed in range(scope.seeds) if (result := find(days_run(scope, name, seed)))]
        if runs:
            words.append(f"{signed(mean(differences(runs, 'packed_frozen', 'packed_warm')))} on {name}")
    if not words:
        return ""
    return f"Arriving values sized by frequency alone, without a new search: next-day AUC {listed(words)} beside sizes derived anew."
