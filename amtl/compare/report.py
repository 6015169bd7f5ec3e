"""What a comparison leaves: results.csv (a line a run), results.json, and report.html, which needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from amtl.compare.recommendation import Recommendation, recommend
from amtl.compare.results import AUTO_MIXED, CONTROL, OWN_SIZE, WIDTH, Comparison, Outcome, Row, Spread
from amtl.files import publish, publish_json, publish_text
from amtl.release import figures
from amtl.release.report import Callout, Picture, Table, Tile, page

PROPOSED = ("auto", AUTO_MIXED)
"""Methods that stand out in the pictures: what the pipeline does unless it is told otherwise."""

CSV, JSON, HTML = "results.csv", "results.json", "report.html"


def write(comparison: Comparison, folder: Path) -> Recommendation:
    """Write the three files; returns the recommendation that they hold."""
    advice = recommend(comparison)
    publish(folder / CSV, runs_frame(comparison).write_csv)
    publish_json(folder / JSON, {**comparison.to_json(), "recommendation": advice.sentence, "warnings": list(advice.warnings)})
    publish_text(folder / HTML, render(comparison, advice))
    return advice


def runs_frame(comparison: Comparison) -> pl.DataFrame:
    """A line a run: what was asked, the bytes, scores on test and validation, seconds, and why there is no table."""
    return pl.DataFrame([_line(outcome, comparison.dense_bytes) for outcome in comparison.outcomes], infer_schema_length=None)


def metrics(comparison: Comparison) -> dict[str, float]:
    """Figures by name, `METHOD/BUDGET/auc` and so on, in signs that MLflow takes."""
    found: dict[str, float] = {}
    for row in comparison.rows():
        name = f"{row.method}/{re.sub(r'[^A-Za-z0-9_. -]', '_', row.budget.replace('%', 'pct'))}" if row.budget != OWN_SIZE else row.method
        figures_of = {"auc": row.auc.mean, "logloss": row.logloss.mean, "bytes": row.bytes, "auc_lost": row.auc_lost}
        found |= {f"{name}/{figure}": value for figure, value in figures_of.items()}
    return found | {f"logistic/{metric}": value for metric, value in comparison.logistic.items()}


def _line(outcome: Outcome, dense_bytes: int) -> dict[str, Any]:
    return {
        "method": outcome.method,
        "budget": outcome.budget,
        "budget_bytes": outcome.budget_bytes,
        "precision": outcome.precision,
        "seed": outcome.seed,
        "bytes": outcome.bytes,
        "saved": None if outcome.bytes is None else 1 - outcome.bytes / dense_bytes,
        **{metric: outcome.test.get(metric) for metric in ("auc", "logloss", "calibration")},
        **{f"validation_{metric}": outcome.validation.get(metric) for metric in ("auc", "logloss")},
        "seconds": round(outcome.seconds, 1),
        "chosen": str(outcome.details.get("chosen", "")),
        "failure": outcome.failure,
    }


def render(comparison: Comparison, advice: Recommendation) -> str:
    """The report. The same input gives the same text."""
    rows, context = comparison.rows(), dict(comparison.context)
    return page(
        title=f"Comparison on {context.pop('name', 'these events')}",
        subtitle="; ".join(f"{key} {value}" for key, value in context.items()),
        callout=Callout("Recommendation", "LOSSLESS" if advice.lossless else "COSTLY", advice.sentence, advice.warnings),
        tiles=list(_tiles(comparison, rows, advice)),
        pictures=list(_pictures(rows)),
        tables=[table for table in (*_tables(comparison, rows), _failures(comparison)) if table.rows],
    )


def _tiles(comparison: Comparison, rows: Sequence[Row], advice: Recommendation) -> Iterator[Tile]:
    control = _control(rows)
    yield Tile("Full-width control", f"{control.auc.mean:.4f}", f"AUC; log loss {control.logloss.mean:.4f}")
    yield Tile("Logistic regression", f"{comparison.logistic.get('auc', 0.5):.4f}", "AUC, one-hot, without embeddings")
    yield Tile("Full-width table", figures.written_bytes(comparison.dense_bytes), "fp32")
    if advice.row:
        saved = 1 - advice.row.bytes / comparison.dense_bytes
        yield Tile("Recommended table", figures.written_bytes(advice.row.bytes), f"{saved:.1%} saved, {advice.row.method}")
    if advice.narrowest:
        yield Tile("Narrowest fixed table", figures.written_bytes(advice.narrowest.bytes), "that loses nothing")


def _tables(comparison: Comparison, rows: Sequence[Row]) -> Iterator[Table]:
    """What has a size of its own, then a table a budget with the best on validation first, then fixed tables by width."""
    dense_bytes = comparison.dense_bytes
    whole, widths = ([row for row in rows if asked(row)] for asked in (_of_own_size, _of_a_width))
    note = NOTE.format(**comparison.tolerance.model_dump())
    yield Table("Full width, and what has a size of its own", COLUMNS, [*_lines_of(whole, dense_bytes), _logistic_cells(comparison)], note)
    budgets = [row for row in rows if not _of_own_size(row) and not _of_a_width(row)]
    for budget in dict.fromkeys(row.budget for row in budgets):
        members = sorted((row for row in budgets if row.budget == budget), key=lambda row: -row.validation_score)
        yield Table(f"Budget {budget}: {members[0].budget_bytes:,} bytes", COLUMNS, _lines_of(members, dense_bytes))
    yield Table("Fixed tables by width", COLUMNS, _lines_of(widths, dense_bytes))


def _of_own_size(row: Row) -> bool:
    return row.budget == OWN_SIZE


def _of_a_width(row: Row) -> bool:
    return row.budget.startswith(WIDTH)


COLUMNS = ("method", "precision", "bytes", "saved", "AUC", "log loss", "AUC lost", "log loss gained", "no loss", "seconds")
NOTE = (
    "Test rows, scored once; mean and standard deviation over seeds. Bytes are all that stands in for the table, metadata included. "
    "What is lost is against the control: the best full-width table on validation: as trained, fine-tuned, distilled, or born again. "
    "No loss: AUC lost at most {auc} and log loss gained at most {logloss}, on test and on validation. "
    "Below the smallest budget auto stops at its first table that loses nothing. "
    "Seconds are of the run itself: auto takes up what selectors have trained at its budget."
)
CAPTION = (
    "Test rows, mean and standard deviation over seeds. Solid: what the pipeline chooses by itself. Points that are far off are left out."
)


def _lines_of(rows: Sequence[Row], dense_bytes: int) -> list[tuple[str, ...]]:
    return [_cells(row, dense_bytes) for row in rows]


def _cells(row: Row, dense_bytes: int) -> tuple[str, ...]:
    detail = ", ".join(dict.fromkeys(row.chosen)) or (row.budget if _of_a_width(row) else "")
    return (
        f"{row.method} ({detail})" if detail else row.method,
        row.precision,
        f"{row.bytes:,}",
        f"{1 - row.bytes / dense_bytes:.1%}",
        _written(row.auc, row.seeds),
        _written(row.logloss, row.seeds),
        f"{row.auc_lost:+z.4f}",
        f"{row.logloss_gained:+z.4f}",
        "yes" if row.loses_nothing and row.holds else "",
        f"{row.seconds:.0f}",
    )


def _logistic_cells(comparison: Comparison) -> tuple[str, ...]:
    measured = comparison.logistic
    scores = (f"{measured[metric]:.4f}" if metric in measured else "" for metric in ("auc", "logloss"))
    return ("logistic regression, one-hot", "", "", "", *scores, "", "", "", "")


def _written(spread: Spread, seeds: int) -> str:
    return f"{spread.mean:.4f} ±{spread.std:.4f}" if seeds > 1 else f"{spread.mean:.4f}"


def _failures(comparison: Comparison) -> Table:
    """Which method has no table at which budget, and why."""
    reasons = dict.fromkeys((f"{outcome.method} at {outcome.budget}", outcome.failure) for outcome in comparison.failures)
    return Table("No table", ("method", "reason"), list(reasons), numeric=False)


def _pictures(rows: Sequence[Row]) -> Iterator[Picture]:
    """AUC and log loss over bytes; methods that are far off are cut away, as they would flatten the rest."""
    control = _control(rows)
    drawn = [row for row in rows if not _of_own_size(row)]
    for name, metric, reference, worse in (("AUC", "auc", control.auc.mean, -1), ("Log loss", "logloss", control.logloss.mean, 1)):
        svg = figures.against_bytes(_lines(drawn, metric), reference, name, _limits(drawn, metric, reference, worse))
        if svg:
            yield Picture(f"{name} over bytes", svg, CAPTION)


def _lines(rows: Sequence[Row], metric: str) -> list[dict[str, Any]]:
    points: dict[str, list[tuple[int, float, float]]] = {}
    for row in rows:
        spread: Spread = getattr(row, metric)
        points.setdefault(row.method, []).append((row.bytes, spread.mean, spread.std))
    return [{"method": method, "points": found, "strong": method in PROPOSED} for method, found in points.items()]


def _limits(rows: Sequence[Row], metric: str, control: float, worse: int) -> tuple[float, float]:
    """Axis limits that hold the better three quarters of the tables, and the control."""
    means = sorted((getattr(row, metric).mean for row in rows), key=lambda mean: worse * mean)
    shown = means[: len(means) - len(means) // 4]
    ends = sorted((control, *shown))
    margin = 0.08 * (ends[-1] - ends[0]) or 1e-3
    return ends[0] - margin, ends[-1] + margin


def _control(rows: Sequence[Row]) -> Row:
    return next(row for row in rows if row.method == CONTROL)
