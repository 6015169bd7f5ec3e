"""The report of a run: one HTML page that needs nothing else, and the model card. Numbers that are missing are left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from amtl.release import figures
from amtl.release.gate import Verdict

MEANING = {
    "PROMOTE": "The challenger becomes champion.",
    "HOLD": "The champion stays; the challenger is registered.",
    "REJECT": "The challenger is not fit to serve; the champion stays.",
}


class Metric(NamedTuple):
    """A metric's label, how its number is written, and what it is."""

    label: str
    unit: str
    note: str


METRICS = {
    "auc": Metric("AUC, packed table", "auc", "what is served"),
    "auc_masked": Metric("AUC, masked table", "auc", "the same sizes before packing"),
    "auc_fixed": Metric("AUC, fixed width", "auc", "every value at full width; the best of as trained, fine-tuned, distilled, born again"),
    "auc_logistic": Metric("AUC, logistic regression", "auc", "one-hot, without embeddings"),
    "auc_parent": Metric("AUC, parent", "auc", "the version this run started from"),
    "logloss": Metric("Log loss, packed table", "nats", "mean a row; lower is better"),
    "logloss_fixed": Metric("Log loss, fixed width", "nats", "mean a row; lower is better"),
    "calibration": Metric("Calibration", "ratio", "mean predicted / mean observed; 1 is exact"),
    "table_bytes": Metric("Packed table", "bytes", "codes, scales, widths, counts, basis and header"),
    "dense_bytes": Metric("Dense table", "bytes", "the same rows in fp32 at full width"),
    "saved": Metric("Saved", "share", "of the dense table's bytes"),
    "mean_size": Metric("Mean size", "dims", "over all values"),
    "distinct_sizes": Metric("Distinct sizes", "sizes", "in the table"),
    "rows": Metric("Test rows", "rows", "that the metrics are computed on"),
}
MOST_WARNINGS = 10
VALIDATION = ("validation AUC", "log loss")
HEADLINE = ("auc", "auc_fixed", "saved", "table_bytes", "mean_size")


class Tile(NamedTuple):
    """A figure that stands out at the top."""

    label: str
    value: str
    note: str


class Picture(NamedTuple):
    """A drawing as an <svg> element."""

    title: str
    svg: str
    caption: str


class Callout(NamedTuple):
    """What is to be read first: a word (also its colour's name in the page's style), what it means, why."""

    heading: str
    decision: str
    meaning: str
    reasons: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table of the report: `numeric` columns (all but the first) stand to the right, `code` cells are digests and names."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    numeric: bool = True
    code: bool = False


def render(metrics: Mapping[str, Any], evaluation: Mapping[str, Any], verdict: Verdict | None, lineage: Mapping[str, Any]) -> str:
    """The report as one HTML page without scripts and without a reference to any other file.

    Args:
        metrics: content of metrics.json.
        evaluation: content of evaluation.json; a part that is missing is left out.
        verdict: the gate's; None leaves the section out.
        lineage: what the model was made from; nested entries get dotted names. `title` names the page.

    Returns:
        HTML. The same input gives the same text.
    """
    rest = {key: value for key, value in lineage.items() if key != "title"}
    return page(
        title=str(lineage.get("title", "Retraining report")),
        subtitle=_subtitle(metrics, evaluation),
        callout=Callout("Verdict", verdict.decision, MEANING[verdict.decision], verdict.reasons) if verdict else None,
        tiles=[Tile(METRICS[key].label, value, METRICS[key].note) for key, value in _written(metrics, HEADLINE)],
        pictures=list(_pictures(evaluation)),
        tables=[table for table in _tables(metrics, evaluation, rest) if table.rows],
    )


def page(
    title: str, subtitle: str, callout: Callout | None, tiles: Sequence[Tile], pictures: Sequence[Picture], tables: Sequence[Table]
) -> str:
    """An HTML page in the look of all reports, without scripts and without a reference to any other file."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    drawn = [picture._replace(svg=Markup(picture.svg)) for picture in pictures]
    return environment.get_template("report.html.j2").render(
        title=title, subtitle=subtitle, callout=callout, tiles=tiles, pictures=drawn, tables=tables
    )


def model_card(metrics: Mapping[str, Any], evaluation: Mapping[str, Any], lineage: Mapping[str, Any]) -> str:
    """The model card as Markdown: what it is, how good, how large, made from what."""
    parts = ["# Model card\n", _subtitle(metrics, evaluation) + "\n"]
    for table in _tables(metrics, evaluation, lineage):
        if table.rows:
            parts += [f"## {table.title}\n", *([table.note + "\n"] if table.note else []), _markdown(table)]
    limits = (
        "It predicts the label of events like those it was trained on. Values that it has never seen share one row a field; see the "
        "bands of low counts above. The figures are of the newest or held-out events of one data set, and say nothing of others."
    )
    return "\n".join([*parts, "## Limits\n", limits]) + "\n"


def _subtitle(metrics: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """One sentence: the model, the table, the test rows."""
    words = []
    if "backbone" in evaluation:
        words.append(f"backbone {evaluation['backbone']}")
    if "dim" in evaluation:
        words.append(f"full width {evaluation['dim']} dims")
    if "precision" in evaluation:
        words.append(f"packed in {evaluation['precision']}")
    if "mean_bits" in evaluation:
        words.append(f"{evaluation['mean_bits']:.1f} bits a number")
    if "selector" in evaluation:
        words.append(f"sizes by {evaluation['selector']}")
    if "budget_bytes" in evaluation:
        words.append(f"budget {_number(evaluation['budget_bytes'], 'bytes')}")
    words += [f"{_number(count, 'rows')} to {part}" for part, count in evaluation.get("split", {}).items() if _is_number(count)]
    return "; ".join(words) or "; ".join(f"{METRICS[key].label} {value}" for key, value in _written(metrics, ("auc", "saved")))


def _tables(metrics: Mapping[str, Any], evaluation: Mapping[str, Any], lineage: Mapping[str, Any]) -> Iterator[Table]:
    headline = [(METRICS[key].label, value, METRICS[key].note) for key, value in _written(metrics, METRICS)]
    note = "AUC is the area under the ROC curve: 0.5 is chance, 1 is perfect."
    yield Table("Metrics", ("metric", "value", "what it is"), headline, note, numeric=False)
    yield _fields_table(evaluation.get("fields", []))
    yield _data_table(evaluation.get("data", {}))
    yield _warm_start_table(evaluation.get("warm_start", {}))
    yield _candidates_table(evaluation)
    yield _walk_table(evaluation.get("walk", []))
    search = [(key, _plain(value)) for key, value in _flat(evaluation.get("search", {}))]
    yield Table("Search", ("entry", "value"), search, numeric=False)
    made_from = [(key, _plain(value)) for key, value in _flat(lineage)]
    yield Table("Lineage", ("entry", "value"), made_from, "What this model was made from.", numeric=False, code=True)
    yield _bands_table(evaluation.get("bands", []))


def _bands_table(bands: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            f"{band['field']}: {_range(band)}",
            _number(band.get("rows"), "rows"),
            _number(band.get("values"), "values"),
            _number(band.get("auc"), "auc"),
            _number(band.get("auc_fixed"), "auc"),
            _number(band.get("mean_size"), "dims"),
        )
        for band in bands
    ]
    note = "Test rows of each field, by how often training saw their value."
    return Table("By frequency", ("field: occurrences", "test rows", "values", "AUC packed", "AUC fixed", "mean size"), rows, note)


def _range(band: Mapping[str, Any]) -> str:
    low, high = band["count_from"], band["count_to"]
    return "unseen" if high == 0 else f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _fields_table(fields: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            str(entry["field"]),
            _number(entry.get("values"), "values"),
            _number(entry.get("dense_bytes"), "bytes"),
            _number(entry.get("table_bytes"), "bytes"),
            _number(entry.get("mean_size"), "dims"),
        )
        for entry in fields
    ]
    return Table("Fields", ("field", "values", "dense, fp32", "packed", "mean size"), rows)


def _data_table(data: Mapping[str, Any]) -> Table:
    """Days that were used and left out, rows that were left out by reason, and what looked odd; from the stage validate."""
    rows_of, quarantined, warnings = data.get("rows", {}), _by_reason(data.get("quarantined", {})), data.get("warnings", [])
    rows = [("days", f"{len(rows_of):,} ({min(rows_of)} to {max(rows_of)}), {sum(rows_of.values()):,} rows")] if rows_of else []
    rows += [(f"quarantined: {reason}", _number(number, "rows")) for reason, number in quarantined.items()]
    rows += [(f"skipped: {entry['day']}", str(entry["why"])) for entry in data.get("skipped", [])]
    rows += [("warning", str(warning)) for warning in warnings[:MOST_WARNINGS]]
    rows += [("warning", f"{len(warnings) - MOST_WARNINGS} more, in the Data Docs")] if len(warnings) > MOST_WARNINGS else []
    note = "Skipped days and quarantined rows took no part. The Data Docs have the details: build/validate/data_docs/index.html"
    return Table("Data", ("entry", "value"), rows, note, numeric=False)


def _by_reason(quarantined: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Rows of all days by reason, the most frequent first."""
    total: Counter[str] = Counter()
    for reasons in quarantined.values():
        total.update(reasons)
    return dict(total.most_common())


def _warm_start_table(warm_start: Mapping[str, Any]) -> Table:
    parent = warm_start.get("parent", "none")
    words = ", ".join(f"{key} {str(value)[:12]}" for key, value in parent.items()) if isinstance(parent, Mapping) else ""
    none = "A cold start: " + (f"the parent cannot be used, {warm_start['unfit_parent']}" if "unfit_parent" in warm_start else "no parent")
    carried = f"Rows carried by value from the parent: {words}. Its backbone: {warm_start.get('backbone', 'fresh')}."
    note = carried if words else f"{none}; every row is new."
    columns = ("carried", "new", "dropped", "rows")
    rows = [(name, *(_number(entry.get(key), "rows") for key in columns)) for name, entry in warm_start.get("fields", {}).items()]
    return Table("Warm start", ("field", *columns), rows, note)


def _candidates_table(evaluation: Mapping[str, Any]) -> Table:
    """The control and the cuts that were judged on validation, as they would be served."""
    control, chosen = evaluation.get("control", {}), evaluation.get("selector", "")
    rows = [(f"control: {control['chosen']}", "", *_validation(control["validation"]))] if control else []
    rows += [
        (f"{entry['selector']}, {_trained(entry)}", _number(entry["bytes"], "bytes"), *_validation(entry))
        for entry in evaluation.get("candidates", [])
    ]
    loses = f" On validation it loses {evaluation['loses']} beside the control." if "loses" in evaluation else ""
    told = f" {evaluation['resolution']}." if "resolution" in evaluation else ""
    return Table("Choice of sizes", ("candidate", "table", *VALIDATION), rows, f"Chosen: {chosen}.{loses}{told}")


def _walk_table(walk: Sequence[Mapping[str, Any]]) -> Table:
    """The budgets that `compress.budget: auto` tried."""
    rows = [
        (
            f"{_number(rung['budget_bytes'], 'bytes')}: {rung['selector']}, {_trained(rung)}",
            _number(rung["bytes"], "bytes"),
            *_validation(rung),
            "nothing" if rung["passed"] else "too much",
        )
        for rung in walk
    ]
    return Table("Walk down the budgets", ("budget", "table", *VALIDATION, "loses"), rows)


def _trained(entry: Mapping[str, Any]) -> str:
    return "fine-tuned" if entry["tuned"] else "untrained"


def _validation(measured: Mapping[str, Any]) -> tuple[str, str]:
    return _number(measured.get("auc"), "auc"), _number(measured.get("logloss"), "nats")


def _pictures(evaluation: Mapping[str, Any]) -> Iterator[Picture]:
    """Title, SVG and caption of each picture that there is something to draw for."""
    fields, dim = evaluation.get("fields", []), evaluation.get("dim")
    drawn = (
        (
            "Size against frequency",
            figures.size_against_frequency(evaluation.get("size_by_frequency", []), fields, dim),
            "Mean size in dims of the values that training saw about so often, the largest fields only.",
        ),
        (
            "AUC by frequency",
            figures.auc_by_band(evaluation.get("bands", []), fields),
            "AUC of the test rows whose value training saw so often; the fields with the most values.",
        ),
        ("Bytes by field", figures.bytes_by_field(fields), "Bytes of each field's rows: dense in fp32 at full width, and packed."),
        (
            "Sizes",
            figures.histogram_of_sizes(evaluation.get("sizes", []), dim),
            "Number of values of each size in dims, over the whole table.",
        ),
    )
    return (Picture(title, svg, caption) for title, svg, caption in drawn if svg)


def _written(metrics: Mapping[str, Any], keys: Sequence[str] | Mapping[str, Metric]) -> list[tuple[str, str]]:
    """The metrics that exist, as text with their unit, in the order of `keys`."""
    return [(key, _number(metrics[key], METRICS[key].unit)) for key in keys if _is_number(metrics.get(key))]


def _number(value: Any, unit: str) -> str:
    """A number with its unit; empty if there is none."""
    if not _is_number(value):
        return ""
    if unit in ("auc", "ratio"):
        return f"{value:.4f}"
    if unit == "nats":
        return f"{value:.4f} nats"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "bytes":
        return figures.written_bytes(value)
    return f"{value:,.2f} {unit}" if isinstance(value, float) else f"{value:,} {unit}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested entries under dotted names; what is missing (None, NaN) is left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            yield f"{prefix}{key}", value


def _markdown(table: Table) -> str:
    head = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    return "\n".join([*head, *("| " + " | ".join(_literal(cell) for cell in row) + " |" for row in table.rows)]) + "\n"


def _literal(text: str) -> str:
    """Text that stands for itself in a table's cell."""
    return text.replace("|", "\\|").replace("<", "&lt;")
