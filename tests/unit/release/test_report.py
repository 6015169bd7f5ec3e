from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from amtl.release.gate import Verdict
from amtl.release.report import model_card, render

METRICS: dict[str, Any] = {
    "auc": 0.78123,
    "auc_fixed": 0.78,
    "auc_parent": math.nan,
    "logloss": 0.5,
    "table_bytes": 571_234,
    "dense_bytes": 1_453_123,
    "saved": 0.6069,
    "mean_size": 5.125,
    "distinct_sizes": 14,
    "rows": 14_000,
}
FIELDS = [
    {"field": f"field{index}", "values": 1000 - index, "dense_bytes": 64_000 - index, "table_bytes": 20_000, "mean_size": 5.0}
    for index in range(15)
]
EVALUATION: dict[str, Any] = {
    "bands": [
        {"field": "field0", "band": band, "count_from": low, "count_to": high, "values": 10, "rows": 100, "mean_size": 4.0} | scores
        for band, (low, high, scores) in enumerate([(0, 0, {"auc": 0.6}), (1, 9, {"auc": 0.7, "auc_fixed": 0.71}), (10, 25_000, {})])
    ],
    "fields": FIELDS,
    "sizes": [{"size": size, "values": 100 - size} for size in range(17)],
    "size_by_frequency": [{"field": "field0", "count": count, "mean_size": 3.0, "values": 5} for count in (0.0, 1.5, 40.0)],
    "data": {
        "rows": {"2026-01-01": 900, "2026-01-03": 1_100},
        "quarantined": {"2026-01-01": {"label is 2": 3}, "2026-01-03": {"label is 2": 1, "off the day": 7}},
        "skipped": [{"day": "2026-01-02", "why": "counted <twice>"}],
        "warnings": [f"2026-01-03 column price: {number} values are odd" for number in range(12)],
    },
    "warm_start": {
        "fields": {"field0": {"carried": 900, "new": 100, "dropped": 7, "rows": 1000}},
        "parent": {"name": "sample", "version": 3, "digest": "ab" * 32},
    },
    "search": {"rows_read": 400, "loss": math.nan, "ladder": [0.6, 0.4], "rungs": [{"kept": 0.4033387899, "share": 0.4}]},
    "control": {"chosen": "fine-tuned", "validation": {"auc": 0.81, "logloss": 0.4}},
    "selector": "rule",
    "mean_bits": 4.25,
    "loses": "nothing",
    "resolution": "14,000 validation events tell it to ±0.0011 nats",
    "candidates": [
        {"selector": "curvature", "bytes": 9_000, "tuned": False, "auc": 0.8066, "logloss": 0.4321},
        {"selector": "rule", "bytes": 9_001, "tuned": True, "auc": 0.8101, "logloss": 0.4002},
    ],
    "walk": [
        {"budget_bytes": 9_500, "selector": "rule", "bytes": 9_400, "tuned": False, "auc": 0.81, "logloss": 0.4, "passed": True},
        {"budget_bytes": 7_600, "selector": "rule", "bytes": 7_599, "tuned": True, "auc": 0.7, "logloss": 0.5, "passed": False},
    ],
    "budget_bytes": 580_000,
    "precision": "fp32",
    "dim": 16,
    "backbone": "mlp",
    "split": {"train": 110_000, "validation": 14_000, "test": 14_000},
}
LINEAGE = {"title": "Retraining of <sample>", "data": "9f" * 16, "parent": {"version": 3, "digest": None}, "seed": 0}
VERDICT = Verdict("HOLD", ("AUC 0.78123 against the champion's 0.78 & no gain",))


class Page(HTMLParser):
    """Counts tags, gathers ids and references, and checks that tags close in order."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("href", "xlink:href", "src", "clip-path"):
                self.references.append((value or "").removeprefix("url(").removesuffix(")"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words = " ".join([self.words, *data.split()])


@pytest.fixture(scope="module")
def text() -> str:
    return render(METRICS, EVALUATION, VERDICT, LINEAGE)


def test_the_page_stands_alone(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 4
    assert len(page.ids) == len(set(page.ids))
    assert page.references
    assert {reference.removeprefix("#") for reference in page.references} <= set(page.ids)
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_same_input_gives_the_same_page(text: str) -> None:
    assert render(METRICS, EVALUATION, VERDICT, LINEAGE) == text


def test_the_page_says_what_it_must_with_units(text: str) -> None:
    words = Page(text).words
    for expected in (
        "Retraining of <sample>",
        "HOLD The champion stays",
        "0.78 & no gain",
        "AUC, packed table 0.7812",
        "571.2 kB",
        "60.7%",
        "5.12 dims",
        "14 sizes",
        "14,000 rows",
        "0.5000 nats",
        "900 rows 100 rows 7 rows 1,000 rows",
        "version 3, digest abababababab",
        "budget 580 kB",
        "field0: unseen 100 rows",
        "field0: 10 to 25,000 100 rows",
        "days 2 (2026-01-01 to 2026-01-03), 2,000 rows quarantined: off the day 7 rows quarantined: label is 2 4 rows",
        "skipped: 2026-01-02 counted <twice> warning 2026-01-03 column price: 0 values are odd",
        "9 values are odd warning 2 more, in the Data Docs",
        "1–9",
        "4 more fields",
        "parent.version 3",
        "9f" * 16,
    ):
        assert expected in words, expected


@pytest.mark.parametrize("make", [lambda *given: Page(render(*given[:2], VERDICT, given[2])).words, model_card])
def test_what_is_missing_is_left_out(make: Any) -> None:
    for metrics, evaluation, lineage in ((METRICS, EVALUATION, LINEAGE), ({}, {}, {}), ({"auc": math.inf}, {"fields": []}, {"a": None})):
        text = make(metrics, evaluation, lineage)
        assert not re.search(r"\b(nan|inf|none|null)\b", text, re.IGNORECASE)
        assert "AUC, parent" not in text


def test_a_run_without_a_verdict_has_no_section_for_it() -> None:
    assert "Verdict" not in Page(render(METRICS, {}, None, {})).words


def test_the_card_is_markdown_with_the_metrics_and_the_lineage() -> None:
    card = model_card(METRICS, EVALUATION, {"note": "a | b", **LINEAGE})
    assert card.startswith("# ")
    assert "| AUC, packed table | 0.7812 | what is served |" in card
    assert "| note | a \\| b |" in card
    assert "| rungs | kept 0.403339 share 0.4 |" in card
    assert "| skipped: 2026-01-02 | counted &lt;twice> |" in card
    for table in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


@pytest.mark.parametrize(
    ("warm_start", "said"),
    [
        ({"parent": {"version": 3}, "backbone": "carried in part: 2 of 2 layers"}, "Its backbone: carried in part: 2 of 2 layers."),
        ({"parent": "none"}, "A cold start: no parent; every row is new."),
        ({"parent": "none", "unfit_parent": "it predicts like, and today's label is click"}, "cannot be used, it predicts like"),
    ],
    ids=["warm", "cold", "unfit parent"],
)
def test_the_model_card_says_what_the_start_was(warm_start, said):
    fields = {"field0": {"carried": 0, "new": 1, "dropped": 0, "rows": 1}}
    assert said in model_card({}, {"warm_start": {"fields": fields, **warm_start}}, {})


def test_the_choice_of_sizes_and_the_walk_are_told(text: str) -> None:
    words = Page(text).words
    for sentence in (
        "sizes by rule",
        "4.2 bits a number",
        "Chosen: rule. On validation it loses nothing beside the control. 14,000 validation events tell it to ±0.0011 nats.",
        "control: fine-tuned 0.8100 0.4000 nats",
        "curvature, untrained 9 kB 0.8066 0.4321 nats",
        "rule, fine-tuned 9.001 kB 0.8101 0.4002 nats",
        "9.5 kB: rule, untrained 9.4 kB 0.8100 0.4000 nats nothing",
        "7.6 kB: rule, fine-tuned 7.599 kB 0.7000 0.5000 nats too much",
    ):
        assert sentence in words


def test_without_a_choice_there_is_no_table_of_it() -> None:
    bare = {key: value for key, value in EVALUATION.items() if key not in {"candidates", "control", "walk"}}
    words = Page(render(METRICS, bare, VERDICT, LINEAGE)).words
    assert "Choice of sizes" not in words
    assert "Walk down" not in words
