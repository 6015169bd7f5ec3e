"""The vocabulary only ever grows: a value keeps its row, and the same counts give the same rows."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy

from amtl.data.vocabulary import SCHEMA, Vocabulary
from amtl.errors import ArtifactError
from amtl.params import EventsParams

EVENTS = EventsParams.model_validate(
    {
        "name": "two",
        "label": "click",
        "split": {"kind": "random"},
        "fields": [{"name": "tags", "kind": "ids"}, {"name": "user", "type": "integer"}, {"name": "age", "kind": "number"}],
    }
)
COLUMNS = {"field": pl.String, "value": pl.String, "count": pl.Int64}


def counted(**fields):
    """Counts as a frame, from {value: count} for each field."""
    rows = [(field, value, count) for field, values in fields.items() for value, count in values.items()]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def rows_of(vocabulary):
    """(field, value) to (row, count)."""
    return {(field, value): (row, count) for field, value, row, count, _ in vocabulary.frame.iter_rows()}


def test_an_empty_vocabulary_is_the_unknown_rows():
    vocabulary = Vocabulary.empty(EVENTS)
    assert rows_of(vocabulary) == {("tags", None): (0, 0), ("user", None): (0, 0)}
    assert vocabulary.sizes == {"user": 1, "tags": 1}
    assert vocabulary.offsets == {"user": 0, "tags": 1}


def test_rows_are_given_by_falling_count_and_then_by_value():
    vocabulary = Vocabulary.empty(EVENTS).grow(counted(user={"30": 5, "4": 9, "200": 5, None: 2}, tags={"b": 1, "a": 1}))
    found = rows_of(vocabulary)
    assert [found["user", value] for value in (None, "4", "30", "200")] == [(0, 2), (1, 9), (2, 5), (3, 5)]
    assert [found["tags", value] for value in (None, "a", "b")] == [(0, 0), (1, 1), (2, 1)]


def test_rare_values_share_the_unknown_row_but_a_value_that_has_a_row_keeps_it():
    first = Vocabulary.empty(EVENTS).grow(counted(user={"1": 5, "2": 2, None: 3}), min_count=3)
    assert rows_of(first)["user", None] == (0, 5)
    assert ("user", "2") not in rows_of(first)
    second = first.grow(counted(user={"1": 1, "2": 4}), min_count=3)
    assert rows_of(second)["user", "1"] == (1, 1)
    assert rows_of(second)["user", "2"] == (2, 4)
    assert rows_of(second)["user", None] == (0, 0)


values = st.dictionaries(st.integers(0, 30).map(str) | st.none(), st.integers(1, 9), max_size=12)


@settings(max_examples=60, deadline=None)
@given(days=st.lists(st.fixed_dictionaries({"user": values, "tags": values}), min_size=1, max_size=4), min_count=st.integers(1, 4))
def test_growth_keeps_every_row_and_leaves_no_gap(days, min_count):
    vocabulary = Vocabulary.empty(EVENTS)
    for day in days:
        before, vocabulary = rows_of(vocabulary), vocabulary.grow(counted(**day), min_count)
        after = rows_of(vocabulary)
        assert all(after[value][0] == row for value, (row, _) in before.items())
        for field, counts in day.items():
            rows = {value: row_count for (own, value), row_count in after.items() if own == field}
            assert sorted(row for row, _ in rows.values()) == list(range(len(rows)))
            assert sum(count for _, count in rows.values()) == sum(counts.values())
            assert all(rows[value][1] == counts.get(value, 0) for value in rows if value is not None)
            fresh = {value for value, count in counts.items() if value is not None and (count >= min_count or (field, value) in before)}
            assert set(rows) == fresh | {value for own, value in before if own == field}
        assert vocabulary.frame.schema == SCHEMA
        assert vocabulary.frame.equals(vocabulary.frame.sort("field", "row"))


@settings(max_examples=30, deadline=None)
@given(counts=st.fixed_dictionaries({"user": values, "tags": values}), seed=st.integers(0, 1000))
def test_the_order_of_counts_does_not_matter(counts, seed):
    rows = counted(**counts)
    one, other = (Vocabulary.empty(EVENTS).grow(frame) for frame in (rows, rows.sample(fraction=1, shuffle=True, seed=seed)))
    assert one.frame.equals(other.frame)


@pytest.mark.parametrize(("field", "in_order"), [("user", list), ("tags", sorted)], ids=["numbers", "text"])
def test_many_new_values_of_one_count_get_rows_in_the_order_of_their_values(field, in_order):
    values = [str(value) for value in range(5000)]
    counts = counted(**{field: dict.fromkeys(values, 1)}).sample(fraction=1, shuffle=True, seed=1)
    found = Vocabulary.empty(EVENTS).grow(counts).frame.filter(pl.col("field") == field)
    assert found["value"].to_list() == [None, *in_order(values)]


def test_counts_of_undeclared_fields_are_left_out():
    assert set(Vocabulary.empty(EVENTS).grow(counted(user={"1": 1}, other={"x": 9})).sizes) == {"user", "tags"}


@pytest.fixture
def vocabulary():
    return Vocabulary.empty(EVENTS).grow(counted(user={"7": 5, "8": 4, None: 3}, tags={"a": 2}))


def test_the_one_table_stacks_the_fields_in_table_order(vocabulary):
    assert vocabulary.rows == 5
    assert vocabulary.sizes == {"user": 3, "tags": 2}
    assert vocabulary.offsets == {"user": 0, "tags": 3}
    assert vocabulary.counts_V.tolist() == [3, 5, 4, 0, 2]
    assert vocabulary.fields_V.tolist() == [0, 0, 0, 1, 1]
    assert vocabulary.table_rows()["value"].to_list() == [None, "7", "8", None, "a"]
    assert vocabulary.table_rows()["table_row"].to_list() == [0, 1, 2, 3, 4]


def test_exposure_adds_what_training_hides_behind_the_unknown_rows(vocabulary):
    assert vocabulary.exposures_V(0.1, 40).tolist() == [7, 5, 4, 4, 2]
    assert vocabulary.counts_V.tolist() == [3, 5, 4, 0, 2]


@pytest.mark.parametrize(
    "users",
    [
        pl.Series([7, 8, None, 99]),
        pl.Series([7, 8, None, 99], dtype=pl.UInt16),
        pl.Series(["7", "8", None, "word"]),
        pl.Series([7.0, 8.0, None, 1e300]),
        pl.Series([7.0, 8.0, float("nan"), float("inf")]),
        pl.Series(["7", "8", None, "7.5"], dtype=pl.Categorical),
    ],
)
def test_raw_integers_of_any_type_find_their_rows(vocabulary, users):
    assert vocabulary.lookup.rows("user", users).tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize("tags", [pl.Series([7, 8]), pl.Series([7.0, 8.5]), pl.Series(["7", "8.5"])], ids=["integers", "floats", "words"])
def test_numbers_find_the_rows_of_their_words(tags):
    """A column that is text in one place may hold numbers in another."""
    vocabulary = Vocabulary.empty(EVENTS).grow(counted(tags={"7": 2}))
    assert vocabulary.lookup.rows("tags", tags).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("name", "kind"), [("user", "string"), ("tags", "integer")], ids=["integers that are text now", "text that are integers now"]
)
def test_a_field_of_another_type_starts_anew(vocabulary, tmp_path, name, kind):
    vocabulary.write(tmp_path / "vocabulary.parquet")
    fields = [field | ({"type": kind} if field["name"] == name else {}) for field in EVENTS.model_dump(mode="json")["fields"]]
    changed = Vocabulary.read(
        tmp_path / "vocabulary.parquet", EventsParams.model_validate(EVENTS.model_dump(mode="json") | {"fields": fields})
    )
    other = {"user": "tags", "tags": "user"}[name]
    assert changed.sizes[name] == 1
    assert changed.sizes[other] == vocabulary.sizes[other]
    assert changed.types[name] == kind


def test_raw_words_find_their_rows_and_an_empty_column_is_fine(vocabulary):
    assert vocabulary.lookup.rows("tags", pl.Series(["a", "A", "", None, "a"])).tolist() == [4, 3, 3, 3, 4]
    assert vocabulary.lookup.rows("tags", pl.Series([], dtype=pl.Null)).tolist() == []


def test_every_value_of_a_grown_vocabulary_is_found():
    problem = toy()
    for field in problem.settings.events.embedded:
        rows = problem.vocabulary.table_rows().filter((pl.col("field") == field.name) & pl.col("value").is_not_null())
        assert problem.vocabulary.lookup.rows(field.name, rows["value"]).tolist() == rows["table_row"].to_list()


def test_a_vocabulary_survives_the_disk(vocabulary, tmp_path):
    vocabulary.write(tmp_path / "a [b]" / "vocabulary.parquet")
    again = Vocabulary.read(tmp_path / "a [b]" / "vocabulary.parquet", EVENTS)
    assert again.frame.equals(vocabulary.frame)
    assert again.types == vocabulary.types


def test_fields_that_came_or_went_are_added_or_left_out(vocabulary, tmp_path):
    vocabulary.write(tmp_path / "vocabulary.parquet")
    changed = EVENTS.model_dump(mode="json") | {"fields": [{"name": "fresh"}, {"name": "user", "type": "integer"}]}
    again = Vocabulary.read(tmp_path / "vocabulary.parquet", EventsParams.model_validate(changed))
    assert again.sizes == {"fresh": 1, "user": 3}
    assert rows_of(again)["user", "8"] == (2, 4)
    assert rows_of(again)["user", None] == (0, 3)


def test_what_is_no_vocabulary_is_refused(tmp_path):
    path = tmp_path / "vocabulary.parquet"
    with pytest.raises(ArtifactError, match="vocabulary"):
        Vocabulary.read(path, EVENTS)
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(ArtifactError, match="vocabulary"):
        Vocabulary.read(path, EVENTS)
    pl.DataFrame({"field": ["user"], "value": ["1"], "row": ["1"], "count": [1]}).write_parquet(path)
    with pytest.raises(ArtifactError, match="vocabulary"):
        Vocabulary.read(path, EVENTS)


def test_a_file_without_frequencies_reads_as_if_nothing_was_decayed(vocabulary, tmp_path):
    vocabulary.frame.drop("frequency").write_parquet(tmp_path / "vocabulary.parquet")
    assert Vocabulary.read(tmp_path / "vocabulary.parquet", EVENTS).frame.equals(vocabulary.frame)


def test_what_the_layer_reads_is_the_frequency():
    counts = counted(user={"7": 8, "8": 2, None: 10}).with_columns(frequency=pl.Series([2.0, 1.5, 1.5]))
    vocabulary = Vocabulary.empty(EVENTS).grow(counts)
    assert vocabulary.counts_V.tolist() == [10, 8, 2, 0]
    assert vocabulary.frequencies_V.tolist() == [1.5, 2.0, 1.5, 0.0]
    assert vocabulary.exposures_V(0.4, 20).tolist() == [1.5 + 2, 2.0, 1.5, 8.0]


def test_rows_and_offsets_do_not_end_at_31_bits():
    far = 2**31 + 5
    rows = [("user", None, 0, 0, 0.0), ("user", "7", far, 1, 1.0), ("tags", None, 0, 0, 0.0), ("tags", "a", far, 1, 1.0)]
    vocabulary = Vocabulary(pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("field", "row"), {"user": "integer", "tags": "string"})
    grown = vocabulary.grow(counted(user={"7": 1, "9": 1}, tags={"a": 1, "b": 2}))
    assert rows_of(grown)["user", "9"] == (far + 1, 1)
    assert grown.offsets == {"user": 0, "tags": far + 2}
    assert grown.rows == 2 * (far + 2)
    assert grown.lookup.rows("tags", pl.Series(["b", "c"])).tolist() == [2 * far + 3, far + 2]


EXTREME = {
    "user": [-(2**63), 2**63 - 1, 0, -1, 2**53 + 1, 2**53],
    "tags": ["", " ", "null", "None", "\U0001f600", "é", "e\u0301", "\u202e", "a" * 5000, "A"],
}


@pytest.mark.parametrize("field", EXTREME)
def test_every_id_and_every_text_has_a_row_of_its_own(field, tmp_path):
    values = EXTREME[field]
    Vocabulary.empty(EVENTS).grow(counted(**{field: {str(value): 1 for value in values}})).write(tmp_path / "vocabulary.parquet")
    lookup = Vocabulary.read(tmp_path / "vocabulary.parquet", EVENTS).lookup
    found = lookup.rows(field, pl.Series([*values, None], dtype=pl.Int64 if field == "user" else pl.String)).tolist()
    assert len(set(found)) == len(values) + 1
    assert found[-1] == min(found)
