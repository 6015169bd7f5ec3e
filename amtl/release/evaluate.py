"""How good probabilities are: over all test rows, by how frequent a value is, and what a model without embeddings reaches.

Shapes: N test rows (of a multi-valued field: values of test rows), V table rows, K numeric fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from amtl.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from amtl.data.batches import Batch
    from amtl.data.dataset import Rows

BASELINE_ROWS = 500_000
BASELINE_ITERATIONS = 200
BASELINE_CHUNK = 65_536


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The headline metrics of one model.

    Args:
        labels: 0 or 1, [N].
        probabilities: predicted probabilities of a 1, [N].

    Returns:
        `auc` (equal probabilities count half; absent when only one class occurs), `logloss` (nats a row) and `calibration`
        (mean predicted / mean observed; absent without a positive row).

    Raises:
        DataError: there is no row, or a probability is not a number between 0 and 1.
    """
    from sklearn.metrics import log_loss

    labels, probabilities = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    if not len(labels):
        raise DataError("there is no test row to score; give the split a larger test share (events.split.test)")
    wrong = int(np.sum(~((probabilities >= 0) & (probabilities <= 1))))
    if wrong:
        raise DataError(f"{wrong} of {len(labels)} predictions are no probabilities; training diverged, lower train.learning_rate")
    metrics = {"logloss": float(log_loss(labels, probabilities, labels=[0, 1]))}
    area = _auc(labels, probabilities)
    if area is not None:
        metrics["auc"] = area
    if labels.any():
        metrics["calibration"] = float(probabilities.mean() / labels.mean())
    return metrics


def frequency_bands(
    field: str,
    values_N: np.ndarray,
    counts_N: np.ndarray,
    labels_N: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    bands: int,
    sizes_N: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """One field's test rows, split by how often training saw their value.

    Band 0 holds the values that training never saw; bands 1, 2, ... have about equal numbers of rows, rarest values
    first. Values of one count stay together, so there can be fewer bands than asked for.

    Args:
        field: name of the field, repeated in every band.
        values_N: the row's value, any number that tells values apart, for example the table row.
        counts_N: training occurrences of that value; 0 for an unknown one.
        labels_N: 0 or 1.
        predictions: name of a metric to probabilities [N], for example {"auc": packed, "auc_fixed": fixed}.
        bands: most bands of seen values, 1 or more.
        sizes_N: embedding size of the row's value, dims.

    Returns:
        A dict a band: field, band, count_from, count_to (occurrences), rows, values (distinct), the named AUCs where both
        classes occur, and `mean_size` (dims, mean over the band's values) if sizes are given.
    """
    values_N, counts_N, labels_N = np.asarray(values_N), np.asarray(counts_N), np.asarray(labels_N)
    band_N = _band_of(counts_N, bands)
    result = []
    for band in np.unique(band_N):
        inside = band_N == band
        distinct, first = np.unique(values_N[inside], return_index=True)
        entry = {
            "field": field,
            "band": int(band),
            "count_from": int(counts_N[inside].min()),
            "count_to": int(counts_N[inside].max()),
            "rows": int(inside.sum()),
            "values": len(distinct),
        }
        areas = {name: _auc(labels_N[inside], np.asarray(guess)[inside]) for name, guess in predictions.items()}
        entry |= {name: area for name, area in areas.items() if area is not None}
        if sizes_N is not None:
            entry["mean_size"] = float(np.asarray(sizes_N)[inside][first].mean())
        result.append(entry)
    return result


def logistic_baseline(train: Rows, test: Rows, rows: int, most: int = BASELINE_ROWS) -> np.ndarray:
    """Test probabilities of a one-hot logistic regression: what is reachable without embeddings.

    Args:
        train: events in order of time.
        test: events to predict.
        rows: rows of the whole table, V: the width of the one-hot part.
        most: how many of the newest training events are used.

    Returns:
        Probabilities, float64 [N]. The same input gives the same output.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    newest = train.newest(most)
    labels = newest.labels_B.numpy()
    if len(np.unique(labels)) < 2:
        return np.full(len(test), float(labels.mean()) if len(labels) else 0.5)
    model = LogisticRegression(C=1.0, solver="lbfgs", max_iter=BASELINE_ITERATIONS, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_one_hot(newest, rows), labels)
    predicted = [model.predict_proba(_one_hot(batch, rows))[:, 1] for batch in test.in_order(BASELINE_CHUNK)]
    return np.concatenate([np.zeros(0), *predicted])


def _auc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, probabilities)) if len(np.unique(labels)) == 2 else None


def _band_of(counts: np.ndarray, bands: int) -> np.ndarray:
    """Band of each row: 0 for count 0, else by quantiles over the rows of seen values."""
    seen = np.sort(counts[counts > 0])
    if not len(seen):
        return np.zeros(len(counts), dtype=np.int64)
    last = np.ceil(len(seen) * np.arange(1, bands + 1) / bands).astype(np.int64) - 1
    upper = np.unique(seen[np.maximum(last, 0)])
    return np.where(counts > 0, np.searchsorted(upper, counts) + 1, 0)


def _one_hot(batch: Batch, rows: int) -> csr_matrix:
    """Sparse [N, V + K]: 1 for a field's value, 1 / length for each value of a list, then the numbers."""
    from scipy.sparse import csr_matrix, hstack

    ids = batch.ids_BF.numpy()
    starts = np.arange(len(batch) + 1, dtype=np.int64) * ids.shape[1]
    blocks = [csr_matrix((np.ones(ids.size), ids.ravel(), starts), shape=(len(batch), rows))]
    for bag in batch.bags:
        offsets = bag.offsets_N.numpy()
        lengths = np.diff(offsets)
        weights = np.repeat(1.0 / np.maximum(lengths, 1), lengths)
        blocks.append(csr_matrix((weights, bag.rows_M.numpy(), offsets), shape=(len(batch), rows)))
    one_hot = sum(blocks[1:], start=blocks[0])
    return hstack([one_hot, csr_matrix(batch.numbers_BK.numpy())], format="csr")
