"""Which runs the page needs, most important first. Some depend on the results of others, so the plan is made anew after every run.

Fixed tables are walked from wide to narrow until two in a row lose more than the tolerance on validation rows; further seeds look only
around the one that seed 0 came to. At a width the second candidate is run only if the first loses. Test rows decide nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from amtl.params import ToleranceParams
from benchmarks import settings
from benchmarks.results.experiment import Experiment, Result

Find = Callable[[Experiment], Result | None]
"""A finished run's result, or None."""

Step = tuple[Experiment, ...]
"""Candidates of equal size, the likeliest first."""

TOLERANCE = ToleranceParams().model_dump()
OURS = ("auto", "auto-mixed")
"""What the product makes of a budget, at the precision of all and with bits of its own."""

COLD = "twins-cold"
"""Sizes learned from frequency alone, together with a fresh model."""

CANDIDATES = ("curvature", "twins", "rule", COLD)
"""What `auto` takes the best of, on validation."""

PEERS = ("fixed", "fixed-distilled", "mde", "autoemb", "pep", "qr", "hashing", "magnitude")
SELECTORS = (*CANDIDATES, "single-aml", "magnitude-rows", "uniform")
LIKELY_BEST = ("curvature", "twins", "rule", "fixed-distilled")
FIXED = ("fixed-distilled", "fixed")
PRECISIONS = ("mixed", "int8")
"""Of our own smallest tables; fixed ones have int8."""

WIDTHS = (32, 16, 8, 4, 2)
SAVINGS = (0.8, 0.95, 0.98)
SHALLOW = 0.8
"""The share at which only `auto`'s candidates and the best four meet, as on most sets at any: little cut tells little."""
AGAIN = (0.98,)
"""Shares of bytes saved at which further seeds meet: where the methods differ."""
NEAR = 0.003
"""Validation AUC below `auto`'s with seed 0 beyond which a method is not run with further seeds: they are unlikely to bring it ahead."""
FIRST = (0.98, 0.95, 0.8)
"""The order in which they are run: methods differ most where much is saved."""

IN_ROUNDS = {"frappe": (0.98,)}
"""Where `auto` is also run in as many rounds of fine-tuning as magnitude pruning has, because that was ahead: at which shares saved."""
ROUNDS = 3
"""Magnitude pruning's."""

BACKBONES = ("mlp", "dlrm", "deepfm", "dcnv2")
WIDTHS_OF_BASELINES = (64, 10)
PAPER: tuple[dict[str, str], ...] = (
    {"start": "warm", "initial": "full", "layer": "twins"},
    {"start": "cold", "initial": "flat", "layer": "twins"},
    {"start": "warm", "initial": "flat", "layer": "twins"},
    {"start": "cold", "initial": "full", "layer": "twins"},
    {"start": "warm", "initial": "flat", "layer": "single"},
)
"""The layer as published: over trained or fresh weights; its last bias towards full size, or none; two networks, or one."""

ASKED = {"ml-1m": 0.99, "anime": 0.99, "ml-100k-random": 0.99, "ml-100k-time": 0.99, "frappe": 0.96}
"""Shares of bytes saved at which ours is asked to lose nothing."""

MOVIELENS = ("ml-1m", "ml-100k-random")
EVERY_PEER = ("ml-1m", "frappe")
SPEED = {"ml-1m": 1.0, "frappe": 0.7, "anime": 0.45, "ml-100k-random": 0.12, "ml-100k-time": 0.12, "ml-100k-days": 0.6, "sample-days": 1.0}
"""Minutes of a run relative to the same on ml-1m."""


@dataclass(frozen=True)
class Scope:
    """How much is run.

    Attributes:
        share: of the rows of every part. quick: two epochs of everything, few methods.
    """

    sets: tuple[str, ...] = ("ml-1m", "frappe", "anime", "ml-100k-random", "ml-100k-time")
    day_sets: tuple[str, ...] = ("ml-100k-days", "sample-days")
    seeds: int = 3
    min_counts: tuple[int, ...] = (1, 5)
    share: float = 1.0
    quick: bool = False


FULL = Scope()
QUICK = Scope(sets=("frappe", "ml-100k-random"), day_sets=("sample-days",), seeds=1, min_counts=(1,), share=0.2, quick=True)


def plan(scope: Scope, find: Find, only: Sequence[int] | None = None) -> list[Experiment]:
    """The runs of all sections, or of some, each once: one seed of everything first, then section 1 with all seeds, then the rest."""
    first, *rarer = scope.min_counts
    order = [(section, 0, first) for section in (1, 2, 5, 4, 3)]
    order += [(1, seed, first) for seed in range(1, scope.seeds)]
    order += [(1, 0, min_count) for min_count in rarer]
    order += [(section, seed, first) for seed in range(1, scope.seeds) for section in (2, 5, 4, 3)]
    wanted: dict[str, Experiment] = {}
    for section, seed, min_count in order:
        if only is None or section in only:
            runs = no_loss(scope, seed, min_count, find) if section == 1 else SECTIONS[section](scope, seed, find)
            for experiment in runs:
                wanted.setdefault(experiment.digest, experiment)
    return list(wanted.values())


def start(scope: Scope, name: str, seed: int, min_count: int = 1, section: int = 1) -> Experiment:
    """The full-width table as trained, its control, and one-hot logistic regression."""
    return _experiment(scope, section, "start", name, seed, {"min_count": min_count}, 12)


def method(scope: Scope, section: int, name: str, seed: int, label: str, precision: str, min_count: int = 1, **size: float) -> Experiment:
    """A method at a size: `saved` (a share of the dense fp32 table's bytes), `width` (of a fixed table) or `bytes`."""
    choice = {"method": label, "precision": precision, "min_count": min_count, **size}
    return _experiment(scope, section, "method", name, seed, choice, 12 if label in (*PEERS, *OURS) else 6)


def in_rounds(scope: Scope, name: str, seed: int, saved: float) -> Experiment:
    """`auto` in `ROUNDS`."""
    choice = {"method": OURS[0], "precision": "int8", "min_count": 1, "saved": saved}
    return _experiment(scope, 2, "method", name, seed, choice, 6 * ROUNDS, rounds=ROUNDS)


def _experiment(
    scope: Scope, section: int, kind: str, name: str, seed: int, choice: dict[str, Any], minutes: float, **changes: Any
) -> Experiment:
    more = {} if scope.share == 1 else {"share": scope.share}
    speed = SPEED[name] * scope.share * (0.3 if scope.quick else 1)
    return Experiment(section, kind, name, seed, {**choice, **more}, settings.key_of(name, scope.quick, **changes), minutes * speed)


def smallest(scope: Scope, name: str, seed: int, precision: str, min_count: int = 1) -> Experiment:
    """What `compress.budget: auto` with `search.sizes: auto` comes to."""
    return _experiment(scope, 1, "smallest", name, seed, {"precision": precision, "min_count": min_count}, 25)


def at_asked(scope: Scope, name: str, seed: int, min_count: int = 1) -> Experiment:
    """Ours at the saving that is asked for."""
    return method(scope, 1, name, seed, OURS[-1], "int8", min_count, saved=ASKED[name])


def no_loss(scope: Scope, seed: int, min_count: int, find: Find) -> Iterator[Experiment]:
    """Section 1: the smallest of our tables that loses nothing, beside ever narrower fixed ones (at the first minimum count)."""
    controls = {name: start(scope, name, seed, min_count) for name in scope.sets}
    first = seed == 0 and min_count == scope.min_counts[0]
    for name, control in controls.items():
        yield from (control, smallest(scope, name, seed, PRECISIONS[0], min_count), at_asked(scope, name, seed, min_count))
    for name, control in controls.items():
        yield from (smallest(scope, name, seed, precision, min_count) for precision in PRECISIONS[1:] if first)
        yield from walk(widths(scope, name, seed, min_count), control, find) if min_count == scope.min_counts[0] else ()


def widths(scope: Scope, name: str, seed: int, min_count: int) -> list[Step]:
    """Fixed tables in int8, from wide to narrow."""
    return [
        tuple(method(scope, 1, name, seed, label, "int8", min_count, width=width) for label in FIXED)
        for width in (WIDTHS[2:4] if scope.quick else WIDTHS)
    ]


def walk(ladder: Sequence[Step], control: Experiment, find: Find) -> Iterator[Experiment]:
    """The runs of a ladder that are worth making; see the module."""
    if control.seed > 0:
        around = last_good([tuple(replace(run, seed=0) for run in step) for step in ladder], replace(control, seed=0), find)
        yield from chain.from_iterable(worthwhile(step, control, find) for step in ladder[max(around - 1, 0) : around + 2])
        return
    failures = 0
    for step in ladder:
        yield from worthwhile(step, control, find)
        good = step_passes(step, control, find)
        failures = 0 if good or good is None else failures + 1
        if failures == 2:
            return


def last_good(ladder: Sequence[Step], control: Experiment, find: Find) -> int:
    """Index of the smallest table that loses nothing on validation; 0 if none does."""
    return max((index for index, step in enumerate(ladder) if step_passes(step, control, find)), default=0)


def worthwhile(step: Step, control: Experiment, find: Find) -> Iterator[Experiment]:
    """The candidates of a step up to the first that loses nothing, or is not finished."""
    for run in step:
        yield run
        if passes(find(run), find(control)) is not False:
            return


def step_passes(step: Step, control: Experiment, find: Find) -> bool | None:
    """Whether any candidate loses nothing on validation; None while that is open."""
    verdicts = [passes(find(run), find(control)) for run in step]
    return True if any(verdicts) else (None if None in verdicts else False)


def passes(result: Result | None, control: Result | None, part: str = "validation") -> bool | None:
    """Whether a run loses nothing beside its control within the tolerance; None while one of them is missing."""
    if result is None or control is None:
        return None
    if result.get("failure"):
        return False
    mine, theirs = result[part], held_against(result, control)[part]
    return bool(mine["auc"] >= theirs["auc"] - TOLERANCE["auc"] and mine["logloss"] <= theirs["logloss"] + TOLERANCE["logloss"])


def held_against(result: Result, start: Result) -> Result:
    """The control that a run is held against: its own where it notes that (`measure.control_figures`), else that of its seed's start."""
    control: Result = result.get("control") or start["control"]
    return control


def best(step: Iterable[Experiment], find: Find) -> Experiment | None:
    """The finished candidate with the highest score on validation."""
    scores = {run.digest: result["validation"]["score"] for run in step if (result := find(run)) and not result.get("failure")}
    finished = [run for run in step if run.digest in scores]
    return max(finished, key=lambda run: scores[run.digest], default=None)


def peers(scope: Scope, seed: int, find: Find) -> Iterator[Experiment]:
    """Section 2: the contestants at equal bytes and equal precision, and ours with mixed bits.

    `auto` comes after its candidates, whose trainings it takes up.
    """
    yield from (start(scope, name, seed, section=2) for name in scope.sets)
    for saved in sorted(peer_savings(scope, seed), key=FIRST.index):
        for name in scope.sets:
            labels = [label for label in contestants(scope, name, find, saved) if seed == 0 or is_near(scope, name, label, saved, find)]
            for label in sorted((*labels, *OURS), key=lambda one: (one not in CANDIDATES, one not in OURS)):
                yield method(scope, 2, name, seed, label, "int8", saved=saved)
                if label == OURS[0] and saved in IN_ROUNDS.get(name, ()):
                    yield in_rounds(scope, name, seed, saved)


def peer_savings(scope: Scope, seed: int = 0) -> tuple[float, ...]:
    """Shares of bytes saved at which contestants meet; with further seeds, those at which they differ."""
    return SAVINGS[1:2] if scope.quick else SAVINGS if seed == 0 else AGAIN


def contestants(scope: Scope, name: str, find: Find, saved: float | None = None) -> tuple[str, ...]:
    """The methods that are run on a data set at a share saved; None: at any."""
    if scope.quick:
        return ("curvature", "rule", "fixed", "hashing")
    if name in EVERY_PEER and saved != SHALLOW:
        return (*SELECTORS, *PEERS)
    return tuple(dict.fromkeys((*CANDIDATES, *best_four(scope, find))))


def is_near(scope: Scope, name: str, label: str, saved: float, find: Find) -> bool:
    """Whether a method is a candidate of `auto`, or was `NEAR` it with seed 0; True while that is open."""
    mine, theirs = (find(method(scope, 2, name, 0, one, "int8", saved=saved)) for one in (OURS[0], label))
    if label in CANDIDATES or mine is None or mine.get("failure") or theirs is None:
        return True
    return not theirs.get("failure") and bool(theirs["validation"]["auc"] >= mine["validation"]["auc"] - NEAR)


def best_four(scope: Scope, find: Find) -> tuple[str, ...]:
    """The four with the highest mean validation AUC where all were run (seed 0); a guess until the likely ones are finished."""
    means: dict[str, list[float | None]] = {}
    meetings = [(name, saved) for name in EVERY_PEER for saved in SAVINGS if saved != SHALLOW]
    for label in (*SELECTORS, *PEERS):
        runs = [find(method(scope, 2, name, 0, label, "int8", saved=saved)) for name, saved in meetings]
        means[label] = [run["validation"]["auc"] if run and not run.get("failure") else None for run in runs]
    if any(auc is None for label in LIKELY_BEST for auc in means[label]):
        return LIKELY_BEST
    return tuple(sorted(means, key=lambda label: -sum(auc or 0.0 for auc in means[label]))[:4])


def days(scope: Scope, seed: int, find: Find) -> Iterator[Experiment]:
    """Section 5: day after day."""
    yield from (days_run(scope, name, seed) for name in scope.day_sets)


def days_run(scope: Scope, name: str, seed: int) -> Experiment:
    """All days of a data set, or the first of them."""
    return _experiment(scope, 5, "days", name, seed, {"days": 2} if scope.quick else {}, 20)


def paper(scope: Scope, seed: int, find: Find) -> Iterator[Experiment]:
    """Section 4: the layer as published from every start, and what others reach at the bytes that it came to."""
    for name in (name for name in MOVIELENS if name in scope.sets):
        yield start(scope, name, seed, section=4)
        yield frequency(scope, name, seed)
        for choice in PAPER[:2] if scope.quick else PAPER:
            published = as_published(scope, name, seed, choice)
            yield published
            if choice in PAPER[:2] and not scope.quick and (result := find(published)):
                yield from at_its_bytes(scope, name, seed, result)


def as_published(scope: Scope, name: str, seed: int, choice: dict[str, str]) -> Experiment:
    """The layer as published."""
    return _experiment(scope, 4, "paper", name, seed, {"min_count": 1, **choice}, 6)


def frequency(scope: Scope, name: str, seed: int) -> Experiment:
    """How each selector's sizes go with frequency."""
    return _experiment(scope, 4, "frequency", name, seed, {"min_count": 1}, 0.5)


def at_its_bytes(scope: Scope, name: str, seed: int, published: Result) -> list[Experiment]:
    """The paper's competitors and ours at the bytes that the layer as published came to: like it without teacher and fine-tuning."""
    choice = {"precision": "fp32", "min_count": 1, "bytes": published["bytes"]}
    return [
        _experiment(scope, 4, "method", name, seed, {"method": label, **choice}, 6, untaught=True)
        for label in ("fixed", "mde", "autoemb", "curvature")
    ]


def baselines(scope: Scope, seed: int, find: Find) -> Iterator[Experiment]:
    """Section 3: Frappe's fixed tables by every backbone, at our width and at the published one."""
    for backbone in BACKBONES[:1] if scope.quick else BACKBONES:
        yield from (baseline(scope, seed, backbone, dim) for dim in WIDTHS_OF_BASELINES)


def baseline(scope: Scope, seed: int, backbone: str, dim: int) -> Experiment:
    """A fixed table on Frappe as trained."""
    choice = {"backbone": backbone, "dim": dim}
    return _experiment(scope, 3, "baseline", "frappe", seed, choice, 4, **choice)


SECTIONS: dict[int, Callable[[Scope, int, Find], Iterable[Experiment]]] = {2: peers, 3: baselines, 4: paper, 5: days}
"""What each section but the first wants of a seed."""
