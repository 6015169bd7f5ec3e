"""What evaluation.json holds: bands, bytes by field, sizes against frequency. Pure functions of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.release.evaluate import frequency_bands

CHUNK = 65_536


def describe(
    vocabulary: Vocabulary,
    sizes_V: np.ndarray,
    field_bytes: Mapping[str, int],
    test: Rows,
    predictions: Mapping[str, np.ndarray],
    dim: int,
    bands: int,
) -> dict[str, Any]:
    """The tables and curves of the report.

    Args:
        sizes_V: size of every table row, [V]. field_bytes: bytes of the packed table that each field takes.
        test: the test rows, encoded with `vocabulary` (table rows).
        predictions: name to test probabilities, e.g. {"auc": packed, "auc_fixed": fixed}.
        dim: D. bands: frequency bands a field.

    Returns:
        {"bands": ..., "fields": ..., "sizes": ..., "size_by_frequency": ...}, lists of JSON objects.
    """
    rows = vocabulary.table_rows().with_columns(pl.Series("size", sizes_V))
    histogram = rows.group_by("size").len("values").sort("size")
    return {
        "bands": _bands(vocabulary, sizes_V, test, predictions, bands),
        "fields": _fields(rows, dim, field_bytes),
        "sizes": histogram.to_dicts(),
        "size_by_frequency": _size_by_frequency(rows),
    }


def _bands(
    vocabulary: Vocabulary, sizes_V: np.ndarray, test: Rows, predictions: Mapping[str, np.ndarray], bands: int
) -> list[dict[str, Any]]:
    """Bands of the single-valued fields: a list of values has no one frequency."""
    counts_V = vocabulary.counts_V.copy()
    counts_V[list(vocabulary.offsets.values())] = 0
    result = []
    first = next(test.in_order(1))
    for column, field in enumerate(list(vocabulary.types)[: first.ids_BF.shape[1]]):  # one column at a time in memory
        rows_N = np.concatenate([batch.ids_BF[:, column].numpy() for batch in test.in_order(CHUNK)])
        result += frequency_bands(field, rows_N, counts_V[rows_N], test.labels.numpy(), predictions, bands, sizes_V[rows_N])
    return result


def _fields(rows: pl.DataFrame, dim: int, field_bytes: Mapping[str, int]) -> list[dict[str, Any]]:
    grouped = rows.group_by("field", maintain_order=True)
    fields = grouped.agg(values=pl.len(), dense_bytes=pl.len() * dim * 4, mean_size=pl.col("size").mean())
    return [{**entry, "table_bytes": field_bytes[entry["field"]]} for entry in fields.to_dicts()]


def _size_by_frequency(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """One point for a field and power of two of the count, at the mean count of its values."""
    bucket = (pl.col("count") + 1).log(2).floor().alias("bucket")
    seen = rows.filter(pl.col("value").is_not_null()).group_by("field", bucket)
    points = seen.agg(count=pl.col("count").mean(), mean_size=pl.col("size").mean(), values=pl.len())
    return points.sort("field", "bucket").drop("bucket").to_dicts()
