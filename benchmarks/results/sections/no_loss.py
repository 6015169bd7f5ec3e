"""Section 1: the smallest tables that lose nothing, ours and fixed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results.experiment import Result
from benchmarks.results.plan import ASKED, PRECISIONS, TOLERANCE, Find, Scope, Step, at_asked, best, held_against, smallest, start, widths
from benchmarks.results.tables import NOT_ASKED, NOT_RUN, kilobytes, listed, mean, percent, signed, spread, table


@dataclass(frozen=True)
class Point:
    """A table over all seeds that have it; differences are from the same seed's control.

    Attributes:
        methods: who made it, by seed: the selector, or the best candidate on validation.
        validation, test: mean differences of auc and logloss.
    """

    seeds: int
    saved: float
    bytes: float
    methods: tuple[str, ...]
    validation: dict[str, float]
    test: dict[str, float]

    @classmethod
    def of(cls, runs: Sequence[tuple[str, Result, Result]]) -> Point:
        """Of one run or more: who made it, its result, its seed's start."""
        saved, size = (mean([mine[figure] for _, mine, _ in runs]) for figure in ("saved", "bytes"))
        validation, test = (
            {
                metric: mean([mine[part][metric] - held_against(mine, start)[part][metric] for _, mine, start in runs])
                for metric in TOLERANCE
            }
            for part in ("validation", "test")
        )
        return cls(len(runs), saved, size, tuple(name for name, _, _ in runs), validation, test)

    def loses_nothing(self, part: str) -> bool:
        """On validation or test."""
        lost = getattr(self, part)
        return bool(lost["auc"] >= -TOLERANCE["auc"] and lost["logloss"] <= TOLERANCE["logloss"])


def ours(scope: Scope, name: str, min_count: int, precision: str, starts: Sequence[Result | None], find: Find) -> Point | None:
    """What the budget `auto` came to; None where no seed has it."""
    found = [(find(smallest(scope, name, seed, precision, min_count)), control) for seed, control in enumerate(starts)]
    runs = [(result["details"]["selector"], result, control) for result, control in found if result and control]
    return Point.of(runs) if runs else None


def asked_point(scope: Scope, name: str, min_count: int, starts: Sequence[Result | None], find: Find) -> Point | None:
    """Ours at the saving that is asked for; None where no seed has it."""
    found = [(find(at_asked(scope, name, seed, min_count)), control) for seed, control in enumerate(starts)]
    runs = [(result["details"].get("chosen", ""), result, control) for result, control in found if result and control and "test" in result]
    return Point.of(runs) if runs else None


def fixed(steps: Sequence[Sequence[Step]], starts: Sequence[Result | None], find: Find) -> list[Point]:
    """The finished widths, the widest first.

    Args:
        steps: the widths of each seed. starts: each seed's start.
    """
    found = (_width([ladder[index] for ladder in steps], starts, find) for index in range(len(steps[0])))
    return [point for point in found if point is not None]


def _width(candidates: Sequence[Step], starts: Sequence[Result | None], find: Find) -> Point | None:
    """A width over its seeds: the best candidate of each on validation; None where no seed has it."""
    bests = [(best(step, find), control) for step, control in zip(candidates, starts, strict=True)]
    runs = [
        (str(run.choice["method"]), result, control)
        for run, control in bests
        if run is not None and control is not None and (result := find(run)) is not None
    ]
    return Point.of(runs) if runs else None


def narrowest(found: Sequence[Point]) -> Point | None:
    """The narrowest fixed table that loses nothing on validation, of those that the most seeds have; None if there is none."""
    most = max((point.seeds for point in found), default=0)
    passing = [point for point in found if point.seeds == most and point.loses_nothing("validation")]
    return passing[-1] if passing else None


HEADER = (
    *("data", "min. count", "rows of the table", "D = 64 as trained, AUC / log loss", "control", "asked", "AUC, log loss there, test"),
    *(
        "reached?",
        "smallest, mixed bits",
        "AUC, log loss there, test",
        "smallest, int8",
        "narrowest fixed, int8",
        "ours beside it, int8",
        "ours beside it, mixed",
    ),
)
WALK = ("table", "saved", "bytes", "AUC, validation", "log loss, validation", "AUC, test", "log loss, test", "n", "sizes or training by")


def values(scope: Scope, find: Find) -> dict[str, str]:
    """The summary, a row a data set, and the tables behind it."""
    blocks = [_block(scope, name, min_count, find) for min_count in scope.min_counts for name in scope.sets]
    walks = "\n\n".join(walk for _, walk in blocks if walk)
    return {"summary": table(HEADER, [row for row, _ in blocks]), "walks": walks or NOT_RUN}


def _block(scope: Scope, name: str, min_count: int, find: Find) -> tuple[list[str], str]:
    """A data set's row of the summary, and the tables behind it."""
    starts = [find(start(scope, name, seed, min_count)) for seed in range(scope.seeds)]
    finished = [result for result in starts if result is not None]
    if not finished:
        return [name, str(min_count), *[NOT_RUN] * (len(HEADER) - 2)], ""
    mine = {precision: ours(scope, name, min_count, precision, starts, find) for precision in PRECISIONS}
    there = asked_point(scope, name, min_count, starts, find)
    theirs = fixed([widths(scope, name, seed, min_count) for seed in range(scope.seeds)], starts, find)
    full = [" / ".join(spread([result[who]["test"][metric] for result in finished]) for metric in TOLERANCE) for who in ("base", "control")]
    head = [name, str(min_count), f"{finished[0]['rows']['table']:,}", *full, percent(ASKED[name], 0), *_asked(there)]
    missing = NOT_RUN if min_count == scope.min_counts[0] else NOT_ASKED
    return [*head, *_savings(mine, theirs, missing)], _walks(name, min_count, there, mine, theirs)


def _asked(there: Point | None) -> list[str]:
    """Cells of the table at the saving that is asked for."""
    if there is None:
        return [NOT_RUN, NOT_RUN]
    return [_from_control(there), "**yes**" if there.loses_nothing("test") else "no"]


def _from_control(point: Point) -> str:
    return f"{signed(point.test['auc'])}, {signed(point.test['logloss'])} (n={point.seeds})"


def _savings(mine: dict[str, Point | None], theirs: list[Point], missing: str) -> list[str]:
    """Cells; `missing` stands for what no seed has of int8 and fixed tables, which further minimum counts are not asked for."""
    mixed, int8, peer = mine["mixed"], mine["int8"], narrowest(theirs)
    return [
        f"**{percent(mixed.saved)}**" if mixed else NOT_RUN,
        f"{_from_control(mixed)}{'' if mixed.loses_nothing('test') else ': loses on test what it did not on validation'}"
        if mixed
        else NOT_RUN,
        percent(int8.saved) if int8 else missing,
        f"{percent(peer.saved)} ({kilobytes(peer.bytes)})" if peer else "none: all lose" if theirs else missing,
        percent(1 - int8.bytes / peer.bytes) if int8 and peer else "-",
        percent(1 - mixed.bytes / peer.bytes) if mixed and peer else "-",
    ]


def _walks(name: str, min_count: int, there: Point | None, mine: dict[str, Point | None], theirs: list[Point]) -> str:
    smallest_ones = [(f"the smallest, {precision}", point) for precision, point in mine.items()]
    named = [("at the saving asked, mixed", there), *smallest_ones, *(("fixed width, int8", point) for point in theirs)]
    rows = [
        [
            title,
            percent(point.saved),
            kilobytes(point.bytes),
            *(signed(getattr(point, part)[metric]) for part in ("validation", "test") for metric in ("auc", "logloss")),
            str(point.seeds),
            listed(sorted(set(point.methods))),
        ]
        for title, point in named
        if point
    ]
    return f"**{name}, minimum count {min_count}**\n\n{table(WALK, rows)}" if rows else ""
