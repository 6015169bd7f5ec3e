"""The index of values, against a dictionary."""

import numpy as np
import polars as pl
import pytest

from amtl.data import value_index
from amtl.data.value_index import NOWHERE, ValueIndex

EXTREMES = [0, 1, -1, 2**63 - 1, -(2**63), 2**32, 2**62]


def dictionary(values, asked):
    known = {value: position for position, value in enumerate(values.to_list())}
    return [known.get(value, NOWHERE) for value in asked.to_list()]


@pytest.mark.parametrize("kind", [pl.Int64(), pl.String()], ids=["integers", "texts"])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 1000])
def test_every_value_is_found_where_it_stands_and_nothing_else_is(kind, length):
    random = np.random.default_rng(length)
    drawn = np.unique(np.concatenate([random.integers(-(2**63), 2**63, 2000, dtype=np.int64), np.arange(500) * 2**20, EXTREMES]))
    shuffled = pl.Series(random.permutation(drawn)).cast(kind)
    values, asked = shuffled[:length], pl.concat([shuffled, pl.Series([None], dtype=kind), shuffled[:5]])
    assert ValueIndex(values).find(asked).tolist() == dictionary(values, asked)
    assert ValueIndex(values).find(asked[:0]).tolist() == []


@pytest.mark.parametrize("texts", [["", "a", "A", "ä", "a ", "0", "00"], ["none"], [f"{'x' * 500}{number}" for number in range(300)]])
def test_texts_are_told_apart(texts):
    values = pl.Series(texts)
    asked = pl.concat([values, values + "x", pl.Series([None, "no"], dtype=pl.String)])
    assert ValueIndex(values).find(asked).tolist() == dictionary(values, asked)


def test_texts_of_one_hash_are_hashed_anew_and_strangers_of_a_known_hash_stay_unknown(monkeypatch):
    """Under seed 0 all texts share a hash; under seed 1 only those of one length."""
    monkeypatch.setattr(
        value_index, "_hashes", lambda values, seed: values.str.len_bytes().fill_null(0).to_numpy().astype(np.uint64) * np.uint64(seed)
    )
    index = ValueIndex(pl.Series(["a", "bb", "ccc"]))
    assert index.find(pl.Series(["bb", "xx", "a", None, "ccc", "dddd"])).tolist() == [1, NOWHERE, 0, NOWHERE, 2, NOWHERE]


def test_values_whose_hashes_crowd_together_are_found():
    """Integers whose hashes all begin with the same bits: one run holds them all."""
    inverse = pow(0x9E3779B97F4A7C15, -1, 2**64)
    mixed = [(number * inverse) % 2**64 for number in range(300)]
    values = pl.Series(np.array([number ^ (number >> 32) for number in mixed], dtype=np.uint64).view(np.int64))
    asked = pl.concat([values, values + 1])
    assert ValueIndex(values).find(asked).tolist() == dictionary(values, asked)
