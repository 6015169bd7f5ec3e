"""Occurrences are those that a plain loop finds, of whatever length the text is."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.counting import partials
from amtl.counting.occurrences import occurrences

EXTREMES = [-(2**63), -1, 0, 1, 2**63 - 1]
LETTERS = st.sampled_from("ab \tä€𝄞")


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.none() | st.text(LETTERS, max_size=3) | st.text(LETTERS, min_size=7, max_size=9) | st.just("12345678")))
def test_text_is_counted_exactly(values):
    assert_counted(values, pl.String)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.none() | st.sampled_from(EXTREMES) | st.integers(-3, 3)))
def test_integers_are_counted_exactly(values):
    assert_counted(values, pl.Int64)


@pytest.mark.parametrize("values", [["12345678"] * 3 + ["1234567"], ["", None], [None], ["äöüß", "äöüßa"], ["12345678", "12345678 "]])
def test_text_about_as_long_as_an_integer(values):
    assert_counted(values, pl.String)


def assert_counted(values, dtype):
    found = occurrences(pl.Series(values, dtype=dtype))
    if any(isinstance(value, str) and len(value.encode()) > 8 for value in values):
        assert found is None
        return
    assert found.schema == {"value": dtype, "count": pl.Int64}
    assert dict(found.iter_rows()) == Counter(values)
    assert len(found) == len(set(values))


def test_chunks_add_up(monkeypatch):
    rows = pl.LazyFrame(
        {"user": [1, 2, 2, None, 3, 1, None, 1, 1, 2], "item": ["a", "b", "long enough", None, "a", "a", "b", "ab", "", ""]}
    )
    marks = pl.DataFrame({"train": [True, True, False, True, True, True, True, False, True, True]})
    fields = [partials.FieldParams(name="user", type="integer"), partials.FieldParams(name="item", type="string")]
    monkeypatch.setattr(partials, "CHUNK", 3)
    for field in fields:
        for chosen in (marks, pl.DataFrame()):
            found = partials._field_counts(rows, field, chosen, 10)
            values = rows.collect()[field.name]
            expected = Counter(values.filter(marks["train"]) if chosen.width else values)
            assert dict(found.iter_rows()) == expected
