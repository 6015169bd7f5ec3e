"""Great Expectations judges sampled rows by the user's suite: what it takes, what it says, and the pages it leaves."""

import re
from html.parser import HTMLParser
from pathlib import Path

import days
import polars as pl
import pytest

from amtl.errors import ParamsError
from amtl.params import EventsParams, ValidateParams
from amtl.sources.sample import EVENTS
from amtl.validation import expectations
from amtl.validation.checks import checks
from amtl.validation.profile import profile
from amtl.validation.suite import Entry, Suite

ROOT = Path(__file__).resolve().parents[3]

HOSTILE = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"


class Tags(HTMLParser):
    """Names of a page's tags, and what their attributes refer to."""

    def __init__(self, page):
        super().__init__()
        self.names, self.references = set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.references |= {value for name, value in attrs if name in {"href", "src", "srcset", "data", "action"} or name.startswith("on")}


def entry(number, name, severity="critical", note="", **arguments):
    return Entry(f"expectations.yaml entry {number} of days", name, arguments, severity, note)


def verify(name, **arguments):
    expectations.verify(Suite((entry(1, name, **arguments),)), days.events())


def judge(tmp_path, suite, samples):
    """The findings of the suite about days of sound rows, of which only these samples are odd."""
    parts = days.days(tmp_path / "events", len(samples), rows=200)
    profiles = pl.concat([profile(part, days.events()).lines for part in parts])
    given = {part.day: sample for part, sample in zip(parts, samples, strict=True)}
    params = ValidateParams(max_null_share=1.0, label_rate=(0.0, 1.0))
    (tmp_path / "documents").mkdir()
    found = expectations.judge(profiles, given, checks(days.events(), params), Suite(suite), days.events(), tmp_path / "documents")
    return [finding for finding in found if "NaN" not in finding.text]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("expect_column_values_to_mach_regex", {"column": "item"}, "did you mean expect_column_values_to_match_regex"),
        ("expect_table_row_count_to_be_between", {"min_value": 1}, "not one of Great Expectations' expectations of columns"),
        ("expect_column_values_to_match_regex", {"column": "item", "regx": "a"}, r"takes no regx; it takes .*did you mean regex\?"),
        ("expect_column_values_to_match_regex", {"column": "item", "result_format": "BASIC"}, "takes no result_format"),
        ("expect_column_values_to_match_regex", {"column": "item", "row_condition": "user > 5"}, "takes no row_condition"),
        ("expect_column_values_to_match_regex", {"column": "item", "mostly": 2}, "mostly: ensure this value is less than or equal to 1.0"),
        ("expect_column_values_to_match_regex", {"regex": "a"}, "column: field required"),
        ("expect_column_values_to_match_regex", {"column": "item", "regex": "("}, "cannot be judged: .*regular expression"),
        ("expect_column_values_to_be_between", {"column": "user"}, "cannot both be None"),
        ("expect_column_mean_to_be_between", {"column": "item", "min_value": 1}, "cannot be judged"),
        ("expect_column_values_to_match_like_pattern", {"column": "item", "like_pattern": "i%"}, "cannot be judged"),
    ],
)
def test_an_entry_that_cannot_work_is_refused_before_any_day_is_read(name, arguments, said):
    with pytest.raises(ParamsError, match=said) as raised:
        verify(name, **arguments)
    assert str(raised.value).startswith(f"expectations.yaml entry 1 of days ({name})")
    assert "\n" not in str(raised.value)


def test_entries_that_can_work_pass():
    verify("expect_column_values_to_match_regex", column="item", regex="^item [0-9]+$", mostly=0.5)
    verify("expect_column_values_to_match_regex", column="tags", regex="tag")
    verify("expect_column_values_to_be_between", column="at", min_value="2026-01-01")
    verify("expect_column_values_to_be_in_set", column="not declared", value_set=["a"])
    expectations.verify(Suite(), days.events())


def test_samples_are_judged_day_by_day_with_the_severity_of_the_entry(tmp_path):
    suite = (
        entry(1, "expect_column_values_to_match_regex", column="item", regex="^item [0-9]+$", mostly=0.9, note="catalogue"),
        entry(2, "expect_column_values_to_be_between", "warning", column="user", min_value=0, max_value=50),
        entry(3, "expect_column_mean_to_be_between", column="price", max_value=80),
        entry(4, "expect_column_values_to_match_regex", "warning", column="tags", regex='^\\[("tag [0-9]"(, )?)*\\]$'),
        entry(
            5,
            "expect_column_quantile_values_to_be_between",
            column="price",
            quantile_ranges={"quantiles": [0.5], "value_ranges": [[0, 90]]},
        ),
    )
    plain = days.frame(40)
    few = plain.with_columns(item=pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("x")).otherwise("item"))
    found = judge(
        tmp_path,
        suite,
        [
            plain,
            few,
            plain.with_columns(item=pl.lit(HOSTILE), user=pl.when(pl.int_range(pl.len()) > 0).then(99)),
            plain.with_columns(price=pl.lit(95.0), tags=[["bad, tag"]]),
        ],
    )
    assert [(finding.day[-2:], finding.column, finding.severity) for finding in found] == [
        ("03", "item", "critical"),
        ("04", "price", "critical"),
        ("04", "price", "critical"),
        ("03", "user", "warning"),
        ("04", "tags", "warning"),
    ]
    item, user = found[0].text, found[3].text
    assert "40 of 40 sampled values are unexpected, such as '<script>" in item
    assert item.endswith("mostly: 0.9 (catalogue); mend the day, or change expectations.yaml entry 1 of days")
    assert user.startswith("39 of 40 sampled values are unexpected, such as 99; expect_column_values_to_be_between with min_value: 0")
    assert found[1].text.startswith("in the sample it is 95.0; expect_column_mean_to_be_between with max_value: 80")


def test_pages_open_offline_and_values_stand_for_themselves(tmp_path):
    suite = (entry(1, "expect_column_values_to_match_regex", column="item", regex="^item [0-9]+$"),)
    hostile = days.frame(40).with_columns(item=pl.lit(HOSTILE))
    judge(tmp_path, suite, [hostile, days.frame(40), days.frame(40)])
    pages = {page.name: page.read_text() for page in (tmp_path / "documents").iterdir()}
    assert sorted(pages) == ["2026-01-01.html", "2026-01-03.html", "profiles.html"]
    for page in pages.values():
        seen = Tags(page)
        assert not {"script", "img", "link", "iframe", "object"} & seen.names
        assert seen.references <= {"index.html"}
        assert not any(word in page for word in ("@import", "url("))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages["2026-01-01.html"]
    assert "values must match this regular expression" in pages["2026-01-01.html"]


def test_columns_that_are_not_declared_can_be_judged_and_unknown_ones_are_refused(tmp_path):
    odd = days.frame(20).with_columns(country=pl.lit("xx"))
    suite = (entry(1, "expect_column_values_to_be_in_set", column="country", value_set=["de", "fr"]),)
    found, missing = judge(tmp_path / "known", suite, [odd, days.frame(20)])
    assert [(finding.day[-2:], finding.column, finding.severity) for finding in (found, missing)] == [
        ("01", "country", "critical"),
        ("02", "country", "critical"),
    ]
    assert missing.text.startswith("the column is missing, so expectations.yaml entry 1 of days")
    with pytest.raises(ParamsError, match=r"column contry is neither declared .* did you mean country"):
        judge(tmp_path / "unknown", (entry(1, "expect_column_values_to_not_be_null", column="contry"),), [odd])


def test_what_cannot_be_judged_on_a_day_refuses_it(tmp_path):
    suite = (entry(1, "expect_column_values_to_be_between", "warning", column="extra", min_value=5),)
    (found,) = judge(tmp_path, suite, [days.frame(20).with_columns(extra=pl.lit("a"))])
    assert found.severity == "critical"
    assert "cannot be judged: Column values, min_value, and max_value must" in found.text


@pytest.mark.parametrize("source", ["expectations.yaml", "docs/validation.md"])
def test_what_is_bundled_and_what_is_shown_works(tmp_path, source):
    text = (ROOT / source).read_text()
    text = text if source.endswith(".yaml") else re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "expectations.yaml").write_text(text)
    events = EventsParams.model_validate(EVENTS)
    suite = Suite.read(tmp_path / "expectations.yaml", events)
    assert suite.entries
    expectations.verify(suite, events)
