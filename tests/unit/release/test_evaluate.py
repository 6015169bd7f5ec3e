from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from amtl.data.batches import Bag, Batch
from amtl.errors import DataError
from amtl.release.evaluate import frequency_bands, logistic_baseline, score


def naive_auc(labels: np.ndarray, guesses: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, ties half."""
    pairs = [(p, n) for p in guesses[labels == 1] for n in guesses[labels == 0]]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


def test_score_is_the_textbook_s_with_ties() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 60)
    guesses = generator.integers(1, 6, 60) / 8
    metrics = score(labels, guesses)
    assert metrics["auc"] == pytest.approx(naive_auc(labels, guesses), abs=1e-12)
    losses = [-math.log(guess if label else 1 - guess) for label, guess in zip(labels, guesses, strict=True)]
    assert metrics["logloss"] == pytest.approx(sum(losses) / 60, abs=1e-12)
    assert metrics["calibration"] == pytest.approx(guesses.mean() / labels.mean(), abs=1e-12)


def test_one_class_has_a_log_loss_and_no_auc() -> None:
    assert set(score(np.ones(3), np.full(3, 0.5))) == {"logloss", "calibration"}
    assert set(score(np.zeros(3), np.full(3, 0.5))) == {"logloss"}


def test_certain_and_wrong_is_finite() -> None:
    assert math.isfinite(score(np.array([0, 1]), np.array([1.0, 0.0]))["logloss"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="1 of 2 predictions"):
        score(np.array([0, 1]), np.array([0.5, bad]))


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no test row"):
        score(np.array([]), np.array([]))


def test_bands_hold_equal_rows_and_unseen_values_apart() -> None:
    counts = np.array([0, 0, 1, 2, 3, 4, 5, 6])
    labels = np.array([0, 1, 0, 1, 0, 1, 1, 1])
    guesses = np.array([0.2, 0.8, 0.4, 0.3, 0.1, 0.9, 0.5, 0.5])
    bands = frequency_bands("user", np.arange(8), counts, labels, {"auc": guesses, "auc_fixed": 1 - guesses}, 3)
    assert [(band["band"], band["count_from"], band["count_to"], band["rows"]) for band in bands] == [
        (0, 0, 0, 2),
        (1, 1, 2, 2),
        (2, 3, 4, 2),
        (3, 5, 6, 2),
    ]
    assert [band.get("auc") for band in bands] == [1.0, 0.0, 1.0, None]
    assert [band.get("auc_fixed") for band in bands] == [0.0, 1.0, 0.0, None]
    assert {band["field"] for band in bands} == {"user"}


def test_bands_keep_values_of_one_count_together_and_average_sizes_over_values() -> None:
    values = np.array([7, 7, 7, 7, 8, 9])
    counts = np.array([5, 5, 5, 5, 5, 9])
    sizes = np.array([2, 2, 2, 2, 4, 8])
    bands = frequency_bands("item", values, counts, np.array([0, 1] * 3), {}, 4, sizes)
    assert [(band["count_from"], band["rows"], band["values"], band["mean_size"]) for band in bands] == [(5, 5, 2, 3.0), (9, 1, 1, 8.0)]


def test_bands_of_values_that_are_all_unseen() -> None:
    bands = frequency_bands("user", np.zeros(3), np.zeros(3, dtype=int), np.array([0, 1, 1]), {"auc": np.array([0.1, 0.2, 0.3])}, 5)
    assert [(band["band"], band["rows"], band["values"], band["auc"]) for band in bands] == [(0, 3, 1, 1.0)]


def planted(rows: int, seed: int) -> Batch:
    """The label follows single value 1 (against 0), bag value 3 (against 2) and the number."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, 2, (rows, 1))
    lengths = generator.integers(1, 4, rows)
    values = generator.integers(2, 4, lengths.sum())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    share = np.add.reduceat(values == 3, offsets[:-1]) / lengths
    numbers = generator.normal(size=(rows, 1)).astype(np.float32)
    logit = 2 * ids[:, 0] + 2 * share + numbers[:, 0] - 2
    labels = (generator.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    bag = Bag(torch.from_numpy(values), torch.from_numpy(offsets))
    return Batch(torch.from_numpy(ids), (bag,), torch.from_numpy(numbers), torch.from_numpy(labels))


def test_baseline_recovers_planted_logits() -> None:
    test = planted(200, 1)
    guesses = logistic_baseline(planted(4000, 0), test, rows=4)
    lengths = np.diff(test.bags[0].offsets_N.numpy())
    share = np.add.reduceat(test.bags[0].rows_M.numpy() == 3, test.bags[0].offsets_N.numpy()[:-1]) / lengths
    logit = 2 * test.ids_BF.numpy()[:, 0] + 2 * share + test.numbers_BK.numpy()[:, 0] - 2
    assert np.abs(guesses - 1 / (1 + np.exp(-logit))).max() < 0.08
    assert np.array_equal(guesses, logistic_baseline(planted(4000, 0), test, rows=4))


def test_baseline_of_one_class_is_its_rate() -> None:
    train = planted(10, 0)
    ones = Batch(train.ids_BF, train.bags, train.numbers_BK, torch.ones(10))
    assert logistic_baseline(ones, planted(5, 1), rows=4).tolist() == [1.0] * 5


def test_baseline_takes_the_newest_rows() -> None:
    train, test = planted(600, 0), planted(50, 1)
    old = replace(train, labels_B=torch.where(torch.arange(600) < 300, 1 - train.labels_B, train.labels_B))
    newest = logistic_baseline(train.take(torch.arange(300, 600)), test, rows=4)
    assert np.array_equal(logistic_baseline(old, test, rows=4, most=300), newest)
    assert not np.array_equal(logistic_baseline(old, test, rows=4), newest)
