"""Section 1: the smallest tables that lose nothing, and the narrowest fixed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results.experiment import Result
from benchmarks.results.plan import TOLERANCE, Find, Scope, Step, best, ladders, start
from benchmarks.results.tables import NOT_RUN, kilobytes, listed, mean, percent, signed, spread, table

ASKED = {"ml-1m": 0.99, "anime": 0.99, "ml-100k-random": 0.99, "ml-100k-time": 0.99, "frappe": 0.96}


@dataclass(frozen=True)
class Point:
    """A step of a ladder over all seeds that took it; differences are from the same seed's control.

    Attributes:
        methods: the best candidate on validation, by seed.
        validation, test: mean differences of auc and logloss.
    """

    seeds: int
    saved: float
    bytes: float
    methods: tuple[str, ...]
    validation: dict[str, float]
    test: dict[str, float]

    def loses_nothing(self, part: str) -> bool:
        """On validation or test."""
        lost = getattr(self, part)
        return bool(lost["auc"] >= -TOLERANCE["auc"] and lost["logloss"] <= TOLERANCE["logloss"])


def points(steps: Sequence[Sequence[Step]], controls: Sequence[Result | None], find: Find) -> list[Point]:
    """The finished steps of a ladder, the largest table first.

    Args:
        steps: a ladder for each seed. controls: each seed's start.
    """
    found = (_point([ladder[index] for ladder in steps], controls, find) for index in range(len(steps[0])))
    return [point for point in found if point is not None]


def _point(candidates: Sequence[Step], controls: Sequence[Result | None], find: Find) -> Point | None:
    """One step over its seeds; None where no seed has it."""
    bests = [(best(step, find), control) for step, control in zip(candidates, controls, strict=True)]
    taken = [(run, find(run), control) for run, control in bests if run is not None and control is not None]
    if not taken:
        return None
    results = [(result, control["control"]) for _, result, control in taken if result is not None]
    lost = {
        part: {metric: mean([mine[part][metric] - theirs[part][metric] for mine, theirs in results]) for metric in TOLERANCE}
        for part in ("validation", "test")
    }
    methods = tuple(run.choice["method"] for run, _, _ in taken)
    return Point(len(taken), mean([mine["saved"] for mine, _ in results]), mean([mine["bytes"] for mine, _ in results]), methods, **lost)


def smallest(found: Sequence[Point]) -> Point | None:
    """The smallest table that loses nothing on validation, of those that the most seeds took; None if there is none."""
    most = max((point.seeds for point in found), default=0)
    passing = [point for point in found if point.seeds == most and point.loses_nothing("validation")]
    return passing[-1] if passing else None


HEADER = (
    *("data", "min. count", "rows of the table", "control, AUC / log loss", "asked", "saved, mixed bits"),
    *("AUC, log loss from the control, test", "saved, int8", "narrowest fixed, int8", "ours beside it, int8", "ours beside it, mixed"),
    "reached?",
)
WALK = (
    "table",
    "saved",
    "bytes",
    "AUC, validation",
    "log loss, validation",
    "AUC, test",
    "log loss, test",
    "seeds",
    "best",
    "loses nothing",
)


def values(scope: Scope, find: Find) -> dict[str, str]:
    """The summary, a row a data set, and the walks behind it."""
    blocks = [_block(scope, name, min_count, find) for min_count in scope.min_counts for name in scope.sets]
    walks = "\n\n".join(walk for _, walk in blocks if walk)
    return {"summary": table(HEADER, [row for row, _ in blocks]), "walks": walks or NOT_RUN}


def _block(scope: Scope, name: str, min_count: int, find: Find) -> tuple[list[str], str]:
    """A data set's row of the summary, and its walks."""
    starts = [find(start(scope, name, seed, min_count)) for seed in range(scope.seeds)]
    by_seed = [ladders(scope, name, seed, min_count) for seed in range(scope.seeds)]
    found = {kind: points([ladder[kind] for ladder in by_seed], starts, find) for kind in by_seed[0]}
    finished = [result for result in starts if result is not None]
    if not finished:
        return [name, str(min_count), *[NOT_RUN] * 10], ""
    control = [
        f"{spread([result['control']['test']['auc'] for result in finished])} / "
        f"{spread([result['control']['test']['logloss'] for result in finished])}"
    ]
    row = [name, str(min_count), f"{finished[0]['rows']['table']:,}", *control, percent(ASKED[name], 0), *_savings(found, ASKED[name])]
    return row, _walks(name, min_count, found)


def _savings(found: dict[str, list[Point]], asked: float) -> list[str]:
    mixed, int8, fixed = (smallest(found[kind]) for kind in ("mixed", "int8", "fixed"))
    missing = {kind: "none tried" if found[kind] else NOT_RUN for kind in found}
    differences = f"{signed(mixed.test['auc'])}, {signed(mixed.test['logloss'])} (n={mixed.seeds})" if mixed else missing["mixed"]
    return [
        f"**{percent(mixed.saved)}**" if mixed else missing["mixed"],
        differences,
        percent(int8.saved) if int8 else missing["int8"],
        f"{percent(fixed.saved)} ({kilobytes(fixed.bytes)})" if fixed else missing["fixed"],
        percent(1 - int8.bytes / fixed.bytes) if int8 and fixed else "-",
        percent(1 - mixed.bytes / fixed.bytes) if mixed and fixed else "-",
        _verdict(mixed, asked) if found["mixed"] else NOT_RUN,
    ]


def _verdict(point: Point | None, asked: float) -> str:
    if point is None:
        return "no: every budget tried lost something on validation"
    holds = point.loses_nothing("test")
    if point.saved >= asked - 1e-4 and holds:
        return "**yes**"
    return " and ".join(
        [
            *([] if point.saved >= asked - 1e-4 else [f"no: {percent(asked - point.saved, 1)} short"]),
            "holds on test" if holds else "loses on test what it did not on validation",
        ]
    )


def _walks(name: str, min_count: int, found: dict[str, list[Point]]) -> str:
    titles = {"mixed": "ours, mixed bits", "int8": "ours, int8", "fixed": "fixed width, int8"}
    rows = [
        [
            titles[kind],
            percent(point.saved),
            kilobytes(point.bytes),
            signed(point.validation["auc"]),
            signed(point.validation["logloss"]),
            signed(point.test["auc"]),
            signed(point.test["logloss"]),
            str(point.seeds),
            listed(sorted(set(point.methods))),
            "yes" if point.loses_nothing("validation") else "no",
        ]
        for kind in found
        for point in found[kind]
    ]
    return f"**{name}, minimum count {min_count}**\n\n{table(WALK, rows)}" if rows else ""
