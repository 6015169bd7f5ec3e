"""Samples of values: what they hold, and what is estimated from them against what is counted."""

import numpy as np
import polars as pl
import pytest

from amtl.validation import values


def sample_of(numbers, pieces=1):
    hashes = pl.Series(numbers).hash()
    sample = values.empty()
    for piece in np.array_split(np.arange(len(hashes)), pieces):
        sample = values.grown(sample, hashes.gather(piece))
    return sample


def zipf(seed, rows=60_000, shift=0):
    return (np.exp(np.random.default_rng(seed).random(rows) * np.log(30_000)) + shift).astype(np.int64)


def test_a_sample_holds_the_smallest_hashes_with_all_their_occurrences_however_it_came_in():
    numbers = pl.Series(zipf(0))
    whole = pl.DataFrame({"hash": numbers.hash()}).group_by("hash").agg(pl.len().cast(pl.Int64).alias("occurrences")).sort("hash")
    assert len(whole) > values.SIZE
    for pieces in (1, 7, 100):
        assert sample_of(numbers, pieces).equals(whole.head(values.SIZE))


def test_few_values_are_all_there_and_nulls_are_none():
    sample = values.grown(values.empty(), pl.Series([5, None, 5, 9], dtype=pl.UInt64))
    assert sample.rows() == [(5, 2), (9, 1)]
    assert values.threshold(sample) is None
    assert values.distinct(sample) == 2


def test_different_values_are_counted_to_a_few_percent():
    assert values.distinct(sample_of(range(1_000_000), pieces=4)) == pytest.approx(1_000_000, rel=0.05)


def test_the_share_of_new_values_is_exact_while_samples_hold_every_value():
    found = values.new_share(sample_of([1, 1, 2, 3]), 4, [sample_of([1, 7]), sample_of([3])])
    assert (found.share, found.error) == (0.25, 0.0)
    assert values.new_share(sample_of([1, 2]), 2, [sample_of([1]), sample_of([2])]).share == 0.0
    assert values.new_share(sample_of([1, 2]), 2, [sample_of([8])]).share == 1.0


def test_the_estimate_is_unbiased_and_its_error_is_as_told(monkeypatch):
    """Over many hash functions (here: renamed values), the mean is the true share, and the spread is the error that is told."""
    monkeypatch.setattr(values, "SIZE", 256)
    numbers, earlier = zipf(1, 4000), zipf(2, 4000)
    true = np.isin(numbers, earlier, invert=True).mean()
    found = [values.new_share(sample_of(numbers * 10**6 + key), 4000, [sample_of(earlier * 10**6 + key)]) for key in range(60)]
    shares, errors = np.array([one.share for one in found]), np.array([one.error for one in found])
    assert 0.05 < true < 0.9
    assert abs(shares.mean() - true) < 4 * shares.std() / len(shares) ** 0.5
    assert shares.std() == pytest.approx(errors.mean(), rel=0.4)


def test_values_shared_with_another_sample():
    numbers = np.arange(50_000)
    assert values.shared(sample_of(numbers), sample_of(numbers)) == 1.0
    assert values.shared(sample_of(numbers), sample_of(numbers + 25_000)) == pytest.approx(0.5, abs=0.05)
    assert values.shared(sample_of(numbers), sample_of(-numbers - 1)) == 0.0
    assert values.shared(values.empty(), sample_of(numbers)) == 0.0
