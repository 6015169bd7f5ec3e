"""expectations.yaml is read without Great Expectations; what is wrong in it is said by entry."""

import days
import pytest

from amtl.errors import ParamsError
from amtl.validation.suite import Suite

GOOD = """
days:
  - expect_column_values_to_match_regex: {column: item, regex: "^item", mostly: 0.9}
    severity: warning
    note: |
      from the
      catalogue
  - expect_column_pair_values_to_be_equal: {column_A: user, column_B: click}
  - expect_column_values_to_be_between: {column: at, min_value: 2026-01-01T00:00:00Z}
others: [{expect_nothing: {column: unknown}}]
"""


def read(tmp_path, text):
    path = tmp_path / "expectations.yaml"
    path.write_text(text)
    return Suite.read(path, days.events())


def test_entries_are_read_in_order_with_their_severities_and_notes(tmp_path):
    first, second, third = read(tmp_path, GOOD).entries
    assert (first.expectation, first.severity, first.note) == ("expect_column_values_to_match_regex", "warning", "from the catalogue")
    assert first.arguments == {"column": "item", "regex": "^item", "mostly": 0.9}
    assert str(first).endswith("expectations.yaml entry 1 of days (expect_column_values_to_match_regex)")
    assert (second.severity, second.columns) == ("critical", ("user", "click"))
    assert third.columns == ("at",)


@pytest.mark.parametrize("text", [None, "", "# nothing\n", "others: [{expect_x: {column: a}}]", "days:", "days: []"])
def test_nothing_is_expected_of_a_data_set_that_is_not_named(tmp_path, text):
    suite = Suite.read(tmp_path / "none.yaml", days.events()) if text is None else read(tmp_path, text)
    assert suite.entries == ()


def test_the_digest_is_of_what_is_expected_and_not_of_how_it_is_written(tmp_path):
    digest = read(tmp_path, GOOD).digest
    assert read(tmp_path, "# a comment\n" + GOOD.replace("mostly: 0.9", "mostly:   0.90")).digest == digest
    for old, new in (("0.9", "0.8"), ("warning", "critical"), ("from the", "from a"), ("2026-01-01", "2026-01-02"), ("user", "price")):
        assert read(tmp_path, GOOD.replace(old, new)).digest != digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("days: [", "cannot be read as YAML"),
        ("- expect_x: {column: a}", "under the name of its data set, here days"),
        ("days: {expect_x: {column: a}}", "under the name of its data set, here days"),
        ("days: [expect_x]", "entry 1 of days must name one expectation"),
        ("days: [{severity: warning}]", "entry 1 of days must name one expectation"),
        ("days: [{expect_x: {column: a}, expect_y: {column: a}}]", "entry 1 of days must name one expectation"),
        ("days: [{expect_x: {column: a}}, {expect_y: item}]", r"entry 2 of days \(expect_y\) needs its arguments"),
        ("days: [{expect_x: {column: a}, severty: warning}]", r"entry 1 of days \(expect_x\): severty is not a known key"),
        ("days: [{expect_x: {column: a}, severity: fatal}]", "severity is critical or warning .got 'fatal'"),
        ("days: [{expect_x: {column: a}, note: [b]}]", "note is a text"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_entry(tmp_path, text, said):
    with pytest.raises(ParamsError, match=said) as raised:
        read(tmp_path, text)
    assert "expectations.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)
