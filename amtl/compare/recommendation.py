"""What a comparison says, in sentences: the smallest table that loses nothing, and whether savings prove anything here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amtl.compare.methods import REFERENCES, WIDENED
from amtl.compare.results import AUTO_MIXED, CONTROL, OWN_SIZE, Comparison, Row
from amtl.packing.choice import AUTO
from amtl.training.control import BORN_AGAIN

FIXED = ("fixed", WIDENED)
"""Methods that give every value the same width."""

SETTABLE = {"auto": "auto", AUTO_MIXED: "auto", **{name: name for name in AUTO}}
"""Methods that the pipeline builds as a comparison does, and the `search.sizes` that asks for each."""


@dataclass(frozen=True)
class Recommendation:
    """The advice.

    Attributes:
        sentence: for people.
        row: the method and budget that it is about; None where there is no candidate.
        lossless: whether that loses nothing, on validation and on test.
        narrowest: the smallest table of one width that loses nothing; None where none does.
        warnings: what to know before believing it.
    """

    sentence: str
    row: Row | None
    lossless: bool
    narrowest: Row | None
    warnings: tuple[str, ...]


def recommend(comparison: Comparison) -> Recommendation:
    """The smallest budget at which a method loses nothing, and the best there; else what loses least; all of it on validation.

    Test rows choose nothing: they say whether what was chosen holds.
    """
    found = [row for row in comparison.rows() if row.method not in REFERENCES]
    rows = [row for row in found if row.seeds == comparison.seeds]
    asides = _quick(comparison), _proves_nothing(comparison), _overfits(rows), _missing(found, comparison.seeds), _few_seeds(comparison)
    warnings = tuple(filter(None, asides))
    if not rows:
        return Recommendation("No method has a table within the budgets; allow more bytes.", None, False, None, warnings)
    narrowest = min((row for row in rows if row.method in FIXED and row.loses_nothing), key=lambda row: row.bytes, default=None)
    best = _best(rows)
    saved = f"{best.bytes:,} bytes, {1 - best.bytes / comparison.dense_bytes:.1%} fewer than the full-width fp32 table"
    how = _how(best, rows, comparison)
    cost = f"AUC {-best.auc_lost:+z.4f} and log loss {best.logloss_gained:+z.4f} against the full-width control"
    if not best.loses_nothing:
        sentence = f"No table here loses nothing; the one that loses least is {named(best)}: {saved}, {cost}{how}."
    elif not best.holds:
        sentence = f"{named(best)} loses nothing on validation rows, but on test rows {cost}: {saved}; a larger budget is safer{how}."
    else:
        sentence = f"{named(best)} loses nothing at {saved}{_beside(best, narrowest, rows)}{how}."
    return Recommendation(sentence, best, best.loses_nothing and best.holds, narrowest, warnings)


def _best(rows: Sequence[Row]) -> Row:
    """The best on validation at the smallest budget where one loses nothing; where none does, the best on validation.

    Scores that are equal to four digits are equal; what the pipeline does unless it is told otherwise goes first then.
    """
    whole = [row for row in rows if row.loses_nothing]
    smallest = min((row.budget_bytes for row in whole), default=None)
    fit = [row for row in whole if row.budget_bytes == smallest] if whole else rows
    return max(fit, key=lambda row: (round(row.validation_score, 4), row.method == "auto"))


def named(row: Row) -> str:
    """A method and its budget in words."""
    budget = f" at {row.budget}" if row.budget != OWN_SIZE else ""
    chosen = f" ({', '.join(dict.fromkeys(row.chosen))})" if row.chosen else ""
    return f"{row.method}{chosen}{budget} in {row.precision}"


def _beside(best: Row, narrowest: Row | None, rows: Sequence[Row]) -> str:
    """The bytes beside the narrowest fixed table that loses nothing: what an arbitrary full width would flatter."""
    if narrowest is None:
        return "; no narrower fixed table loses nothing" if any(row.method in FIXED for row in rows) else ""
    if best == narrowest:
        return "; it is itself the narrowest fixed table that loses nothing"
    return f" and {1 - best.bytes / narrowest.bytes:.1%} fewer than the narrowest fixed table that loses nothing ({named(narrowest)})"


def _how(best: Row, rows: Sequence[Row], comparison: Comparison) -> str:
    """What to set for it, or what comes nearest to it among the tables that the product makes."""
    again = ", compress.finetune.born_again: true" if BORN_AGAIN in comparison.context else ""
    if best.method in SETTABLE:
        return f"; {_settings(best)}{again}"
    ours = [row for row in rows if row.method in SETTABLE]
    if not ours:
        return ""
    nearest = _best(ours)
    cost = f"validation AUC {-nearest.validation_auc_lost:+z.4f}, log loss {nearest.validation_logloss_gained:+z.4f}"
    loses = "" if nearest.loses_nothing else f" but loses something ({cost}; more --budgets may find one that does not)"
    return f"; of the tables that amtl builds, {named(nearest)} comes nearest{loses}: {nearest.bytes:,} bytes, {_settings(nearest)}{again}"


def _settings(row: Row) -> str:
    sizes, budget = SETTABLE[row.method], f"compress.budget: {row.budget}, " if row.budget != OWN_SIZE else ""
    return f"set search.sizes: {sizes}, {budget}compress.precision: {row.precision}"


def _proves_nothing(comparison: Comparison) -> str:
    """Where a model without embeddings is as good, any table will do."""
    control = next((row for row in comparison.rows() if row.method == CONTROL), None)
    area = comparison.logistic.get("auc", 0.0)
    if control is None or area < control.auc.mean:
        return ""
    return (
        f"One-hot logistic regression reaches AUC {area:.4f} on these rows, the full-width table {control.auc.mean:.4f}: "
        "the embeddings add nothing here, so savings on this data prove nothing."
    )


def _overfits(rows: Sequence[Row]) -> str:
    """Where a smaller table is better than the full width by more than what counts as a loss, the full width was not at its best."""
    better = [
        row for row in rows if -row.validation_auc_lost > row.tolerance.auc and -row.validation_logloss_gained > row.tolerance.logloss
    ]
    if not better:
        return ""
    best = max(better, key=lambda row: row.validation_score)
    figures = (-best.validation_auc_lost, best.validation_logloss_gained, -best.auc_lost, best.logloss_gained)
    auc, logloss, test_auc, test_logloss = (f"{figure:+z.4f}" for figure in figures)
    return (
        f"On validation rows {named(best)} is better than the full-width control itself: AUC {auc}, log loss {logloss} "
        f"(on test rows {test_auc}, {test_logloss}). The full width may know its training rows by heart: tune the section train before "
        "you trust a saving against it."
    )


def _missing(rows: Sequence[Row], seeds: int) -> str:
    """What has a table with some of the seeds only takes no part in the advice."""
    partial = [named(row) for row in rows if row.seeds < seeds]
    return f"Not considered, as they have a table with some of the seeds only: {', '.join(partial)}." if partial else ""


def _quick(comparison: Comparison) -> str:
    return "Quick: too few rows and steps to conclude anything from." if "quick" in comparison.context else ""


def _few_seeds(comparison: Comparison) -> str:
    """Below three seeds there is no spread to speak of."""
    seeds = comparison.seeds
    return "" if seeds > 2 else f"Seeds: {seeds}. Differences under about .001 are noise then; --seeds 3 shows the spread."
