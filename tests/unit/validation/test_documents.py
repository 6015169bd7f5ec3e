"""The Data Docs need nothing but themselves, and what stands in the data cannot become part of a page."""

import re
from html.parser import HTMLParser

import pytest

from amtl.validation.checks import Finding
from amtl.validation.documents import DayDocument, publish_index, publish_page, standalone
from amtl.validation.suite import Entry, Suite

HOSTILE = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"
PAGE = f"""<!doctype html><html><head><title>t</title><link rel="stylesheet" href="https://example.org/a.css"><style>a {{}}</style></head>
<body onload="run()"><nav><a href="https://example.org">Home</a></nav><script>if (1 < 2) document.write("<p>no</p>")</script>
<div class="sticky"><div>filter</div> folded</div><h2 id="x" onclick="y()">Found</h2><p>a &lt;b&gt; &amp; c<br/>d</p>{HOSTILE}
<p><a data-toggle="collapse" href="#z">Show more</a></p><div class="card collapse m-2">traceback</div>
<p class="text-danger">end</p></body></html>"""


class Page(HTMLParser):
    """Tags, references and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.words = [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references |= {value for name, value in attrs if name in {"href", "src", "data", "action"} or name.startswith("on")}

    def handle_data(self, data):
        self.words = " ".join([self.words, *data.split()])


@pytest.fixture
def page(tmp_path):
    """The index of four days, one of them refused for hostile values."""
    findings = [
        Finding("2026-01-03", "item", "critical", f"5 values are odd, such as {HOSTILE}; correct them; or else"),
        Finding("2026-01-03", "price", "warning", "205 values are NaN; they are read as null"),
    ]
    told = [
        DayDocument("2026-01-01", "accepted", 1000, judged_now=False),
        DayDocument("2026-01-02", "skipped", why=f"late {HOSTILE}"),
        DayDocument(
            "2026-01-03",
            "refused",
            1200,
            {"label is neither 0 nor 1": 7, "time is off the day": 3},
            [{"reason": "label is neither 0 nor 1", "item": HOSTILE + "x" * 200, "click": None}],
            findings,
            ("2026-01-01",),
        ),
        DayDocument("2026-01-04", "accepted", 1100, {"number is infinite": 2}),
    ]
    suite = Suite((Entry("entry 1", "expect_column_values_to_be_in_set", {"column": "item", "value_set": [HOSTILE]}, "warning", HOSTILE),))
    (tmp_path / "2026-01-03.html").touch()
    publish_index(tmp_path, "days", told, suite)
    return (tmp_path / "index.html").read_text()


def test_the_index_says_what_became_of_each_day(page):
    words = Page(page).words
    for expected in (
        "refused 1 day accepted 2 days skipped 1 day quarantined 12 rows",
        "critical item 5 values are odd",
        "correct them; or else",
        "warning price 205 values are NaN they are read as null",
        "label is neither 0 nor 1 7 time is off the day 3",
        "amtl skip-day 2026-01-03 --why TEXT",
        "2026-01-01 accepted judged before 1,000",
        "1 days from 2026-01-01 page",
        "Skipped: late",
        "expect_column_values_to_be_in_set",
    ):
        assert expected in words, expected
    assert words.index("5 values are odd") < words.index("Skipped: late")


def test_the_index_needs_nothing_else_and_shows_hostile_values_as_text(page):
    seen = Page(page)
    assert not {"script", "img", "link", "iframe", "object"} & set(seen.tags)
    assert {reference for reference in seen.references if not reference.startswith("#")} == {"2026-01-03.html"}
    assert not re.search(r"@import|url\(", page)
    assert HOSTILE[:40] in seen.words
    assert "x" * 60 not in page


def test_the_same_content_gives_the_same_index(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        publish_index(tmp_path / name, "days", [DayDocument("2026-01-01", "accepted", 5)], Suite())
    assert (tmp_path / "one" / "index.html").read_bytes() == (tmp_path / "two" / "index.html").read_bytes()


def test_only_content_is_left_of_a_page_from_elsewhere(tmp_path):
    kept = standalone(PAGE)
    assert not {"script", "img", "link", "a", "nav", "style"} & set(Page(kept).tags)
    assert Page(kept).references == set()
    assert Page(kept).words.split() == ["Found", "a", "<b>", "&", "c", "d", "end"]
    assert '<p class="text-danger">end</p>' in kept
    publish_page(tmp_path / "page.html", "A <day>", PAGE)
    assert Page((tmp_path / "page.html").read_text()).references == {"index.html"}
