"""The Data Docs: pages that open offline, without scripts, and of one run only.

`index.html` is ours: every day with its verdict, what was found, what was quarantined and why. Beside it lie Great
Expectations' own pages, reduced to what can be read without the network: it loads its styles and scripts from elsewhere, so
tags and attributes that are not on a list are dropped, and our style takes the place of theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, get_args

from amtl.files import publish_text
from amtl.validation.checks import Finding
from amtl.validation.suite import Suite

_TEXT = {
    "b",
    "br",
    "code",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "mark",
    "p",
    "pre",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "u",
}
_BLOCKS = {"caption", "dd", "div", "dl", "dt", "li", "ol", "table", "tbody", "td", "th", "thead", "tr", "ul"}
KEPT_TAGS = frozenset(_TEXT | _BLOCKS)
DROPPED_WHOLE = frozenset({"head", "script", "style", "nav", "button", "label", "svg", "iframe", "object", "noscript", "template"})
VOID_TAGS = frozenset({"br", "hr"})
KEPT_ATTRIBUTES = frozenset({"class", "colspan", "rowspan"})
DROPPED_CLASSES = frozenset({"sticky", "collapse"})
"""Their filter and contents, which need scripts, and what they fold away: load times, tracebacks."""
LONGEST_VALUE = 80

Judgement = Literal["refused", "accepted", "skipped"]


@dataclass(frozen=True)
class DayDocument:
    """What there is to say of a day.

    Attributes:
        day: such as "2026-01-31".
        judgement: what became of it.
        rows: rows in its files; None if they could not be read.
        quarantined: reason to the number of rows that were left out for it.
        examples: some of the quarantined rows, column to value, `reason` among them.
        findings: what was found, critical or not.
        preceding: the days that it was compared with.
        why: the reason of a skipped day.
        judged_now: whether it was judged in this run, so that Great Expectations' pages are of it too.
    """

    day: str
    judgement: Judgement
    rows: int | None = None
    quarantined: Mapping[str, int] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Finding] = ()
    preceding: Sequence[str] = ()
    why: str = ""
    judged_now: bool = True

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return sum(finding.severity == "warning" for finding in self.findings)


def publish_index(folder: Path, name: str, days: Sequence[DayDocument], suite: Suite) -> None:
    """Write `index.html`: the days of a run, the refused ones first; same content, same page.

    Args:
        folder: where Great Expectations' pages lie; those that are there are linked.
        name: of the data set.
        days: all days.
        suite: what the user expects.
    """
    listed = sorted(days, key=lambda day: day.day, reverse=True)
    told = [day for day in listed if day.findings or day.quarantined or day.why]
    text = _template().render(
        kind="index",
        title=f"Data Docs: {name}",
        days=listed,
        told=told,
        counts={judgement: sum(day.judgement == judgement for day in days) for judgement in get_args(Judgement)},
        quarantined=sum(sum(day.quarantined.values()) for day in days),
        suite=suite,
        pages={page.name for page in folder.glob("*.html")},
    )
    publish_text(folder / "index.html", text)


def publish_page(path: Path, title: str, page: str) -> None:
    """Write a page of Great Expectations' so that it opens offline; see `standalone`."""
    from markupsafe import Markup

    publish_text(path, _template().render(kind="page", title=title, content=Markup(standalone(page))))


def standalone(page: str) -> str:
    """The content of an HTML page without scripts, styles, navigation, links and anything that the network would be asked for."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return "".join(reader.kept)


class _Reader(HTMLParser):
    """Keeps the text, and the tags and attributes that are on the lists above."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []
        self._dropping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = set((dict(attrs).get("class") or "").split())
        if self._dropping:
            self._dropping += [tag] if tag == self._dropping[-1] else []
        elif tag in DROPPED_WHOLE or classes & DROPPED_CLASSES or (tag == "a" and "data-toggle" in dict(attrs)):
            self._dropping.append(tag)
        elif tag in KEPT_TAGS:
            kept = "".join(f' {name}="{escape(value or "")}"' for name, value in attrs if name in KEPT_ATTRIBUTES)
            self.kept.append(f"<{tag}{kept}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID_TAGS:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._dropping:
            if tag == self._dropping[-1]:
                self._dropping.pop()
        elif tag in KEPT_TAGS - VOID_TAGS:
            self.kept.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._dropping:
            self.kept.append(escape(data, quote=False))


def shown(value: Any) -> str:
    """A value of a row in a few characters."""
    text = "null" if value is None else str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


@functools.cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["shown"] = shown
    return environment.get_template("data_docs.html.j2")
