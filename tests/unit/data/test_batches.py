"""Frames to tensors and tensors to batches, event by event."""

import numpy as np
import polars as pl
import pytest
import torch
from toy import toy

from amtl.data.batches import Scaling, _standardised, encode
from amtl.data.vocabulary import RowLookup


@pytest.fixture(scope="module")
def problem():
    return toy()


def events_of(batch):
    """Each event as plain values: ids, bags, numbers, label."""
    return [
        (
            batch.ids_BF[event].tolist(),
            [bag.rows_M[bag.offsets_N[event] : bag.offsets_N[event + 1]].tolist() for bag in batch.bags],
            batch.numbers_BK[event].tolist(),
            float(batch.labels_B[event]),
        )
        for event in range(len(batch))
    ]


def by_hand(problem, rows):
    """What encoding should give, value by value."""
    table = {(field, value): row for row, field, value in problem.vocabulary.table_rows().select("table_row", "field", "value").iter_rows()}

    def row_of(field, value):
        return table.get((field, None if value is None else str(value)), table[field, None])

    result = []
    for row in rows.iter_rows(named=True):
        age = 40.0 if row["age"] is None or np.isnan(row["age"]) else row["age"]
        ids = [row_of("user", row["user"]), row_of("item", row["item"])]
        tags = [row_of("tags", tag) for tag in (row["tags"] or [None])]
        result.append((ids, [tags], [pytest.approx((age - 40) / 10, abs=1e-6)], float(row["click"])))
    return result


def test_encoding_is_row_by_row_what_the_vocabulary_says(problem):
    odd = pl.DataFrame(
        {
            "user": [None, 10**9, 3],
            "item": ["never", None, "item 1"],
            "tags": [None, [], ["tag 1", None, "never"]],
            "age": [None, float("nan"), 1.0],
            "click": [1, 0, 1],
        },
        schema=problem.raw.schema,
    )
    rows = pl.concat([problem.raw, odd])
    batch = encode(rows, problem.settings.events, problem.vocabulary.lookup, problem.scaling)
    assert events_of(batch) == by_hand(problem, rows)
    assert batch.ids_BF.dtype == torch.int64
    assert batch.numbers_BK.dtype == batch.labels_B.dtype == torch.float32


def test_absent_columns_are_unknown_mean_and_zero(problem):
    batch = encode(problem.raw.select("user"), problem.settings.events, problem.vocabulary.lookup, problem.scaling)
    offsets = problem.vocabulary.offsets
    for ids, bags, numbers, label in events_of(batch):
        assert (ids[1], bags, numbers, label) == (offsets["item"], [[offsets["tags"]]], [0.0], 0.0)


def test_columns_of_nulls_alone_are_read(problem):
    empty = pl.DataFrame({name: [None, None] for name in ("user", "item", "tags", "age")})
    (one, other) = events_of(encode(empty, problem.settings.events, problem.vocabulary.lookup, problem.scaling))
    assert one == other == (list(problem.vocabulary.offsets.values())[:2], [[problem.vocabulary.offsets["tags"]]], [0.0], 0.0)


def test_a_number_that_does_not_vary_is_not_divided_by_nothing(problem):
    batch = encode(problem.raw, problem.settings.events, problem.vocabulary.lookup, Scaling({"age": 40.0}, {"age": 0.0}))
    assert torch.isfinite(batch.numbers_BK).all()


def test_taking_events_takes_all_their_parts_in_order(problem):
    whole, index = events_of(problem.validation), [5, 0, 199, 5, 17]
    assert events_of(problem.validation.take(torch.tensor(index))) == [whole[event] for event in index]
    assert events_of(problem.validation.take(torch.zeros(0, dtype=torch.int64))) == []


@pytest.mark.parametrize("size", [1, 7, 200, 1000])
def test_in_order_is_every_event_once(problem, size):
    batches = list(problem.validation.in_order(size))
    assert [event for batch in batches for event in events_of(batch)] == events_of(problem.validation)
    assert all(len(batch) == size for batch in batches[:-1])


@pytest.mark.parametrize("size", [7, 64, 600, 1000])
def test_shuffled_is_every_event_once_in_another_order(problem, size):
    found = [event for batch in problem.train.shuffled(size, 0, 0) for event in events_of(batch)]
    assert found != events_of(problem.train)
    assert sorted(found, key=repr) == sorted(events_of(problem.train), key=repr)


def test_a_device_holds_all_parts(problem):
    moved = problem.train.to(torch.device("meta"))
    assert all(tensor.is_meta for tensor in (moved.ids_BF, moved.numbers_BK, moved.labels_B))
    assert all(tensor.is_meta for bag in moved.bags for tensor in (bag.rows_M, bag.offsets_N))


def test_numbers_that_no_model_can_read_are_the_mean():
    series = pl.Series("age", [30.0, float("inf"), float("-inf"), float("nan"), 1e300, None])
    assert _standardised(series, "age", Scaling({"age": 20.0}, {"age": 5.0})).tolist() == [2.0, 0, 0, 0, 0, 0]


def test_an_integer_that_is_not_whole_is_no_known_value():
    lookup = RowLookup(pl.DataFrame({"field": ["u", "u"], "value": [None, "3"], "row": [0, 1]}), {"u": "integer"})
    assert lookup.rows("u", pl.Series([3.0, 3.7, None])).tolist() == [1, 0, 0]
