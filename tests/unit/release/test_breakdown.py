"""The tables of the report, against loops over values and rows."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import toy

from amtl.data.batches import encode
from amtl.data.vocabulary import Vocabulary
from amtl.release.breakdown import describe

BYTES = {"user": 700, "item": 300, "tags": 0}


@pytest.fixture(scope="module")
def problem():
    """The toy with a vocabulary that leaves rare values out, so that the unknown rows have counts."""
    whole = toy()
    counts = whole.vocabulary.frame.select("field", "value", "count")
    vocabulary = Vocabulary.empty(whole.settings.events).grow(counts, min_count=9)
    assert vocabulary.counts_V[0] > 0
    validation = encode(whole.raw, whole.settings.events, vocabulary.lookup, whole.scaling)
    return replace(whole, vocabulary=vocabulary, validation=validation)


@pytest.fixture(scope="module")
def sizes(problem):
    return torch.randint(0, 7, (problem.vocabulary.rows,), generator=torch.Generator().manual_seed(1)).numpy()


@pytest.fixture(scope="module")
def predictions(problem):
    random = np.random.default_rng(0)
    return {"auc": random.random(len(problem.validation)), "auc_fixed": random.random(len(problem.validation))}


def described(problem, sizes, predictions):
    return describe(problem.vocabulary, sizes, BYTES, problem.validation, predictions, 6, 3)


def test_fields_have_their_bytes_beside_dense_ones(problem, sizes, predictions):
    fields = described(problem, sizes, predictions)["fields"]
    assert [entry["field"] for entry in fields] == list(problem.vocabulary.sizes)
    for index, entry in enumerate(fields):
        own = [int(size) for size, field in zip(sizes, problem.vocabulary.fields_V, strict=True) if field == index]
        assert entry["values"] == len(own)
        assert entry["dense_bytes"] == len(own) * 6 * 4
        assert entry["table_bytes"] == BYTES[entry["field"]]
        assert entry["mean_size"] == pytest.approx(sum(own) / len(own))


def test_the_histogram_counts_every_row_once(problem, sizes, predictions):
    histogram = described(problem, sizes, predictions)["sizes"]
    assert {entry["size"]: entry["values"] for entry in histogram} == {int(size): int((sizes == size).sum()) for size in set(sizes)}
    assert [entry["size"] for entry in histogram] == sorted(entry["size"] for entry in histogram)


def test_size_by_frequency_is_the_mean_of_values_of_like_counts(problem, sizes, predictions):
    points = described(problem, sizes, predictions)["size_by_frequency"]
    expected = {}
    for row, field, value, count in problem.vocabulary.table_rows().select("table_row", "field", "value", "count").iter_rows():
        if value is not None:
            expected.setdefault((field, (count + 1).bit_length() - 1), []).append((count, int(sizes[row])))
    assert len(points) == len(expected)
    for point in points:
        members = expected[point["field"], math.floor(math.log2(point["count"] + 1))]
        assert point["values"] == len(members)
        assert point["count"] == pytest.approx(sum(count for count, _ in members) / len(members))
        assert point["mean_size"] == pytest.approx(sum(size for _, size in members) / len(members))


def test_bands_cover_the_test_rows_of_each_single_valued_field(problem, sizes, predictions):
    bands = described(problem, sizes, predictions)["bands"]
    counts, unknown = problem.vocabulary.counts_V, set(problem.vocabulary.offsets.values())
    assert {band["field"] for band in bands} == {"user", "item"}
    for column, field in enumerate(["user", "item"]):
        own = [band for band in bands if band["field"] == field]
        assert sum(band["rows"] for band in own) == len(problem.validation)
        rows = problem.validation.ids_BF[:, column].tolist()
        for band in own:
            seen = [0 if row in unknown else int(counts[row]) for row in rows]
            inside = [row for row, count in zip(rows, seen, strict=True) if band["count_from"] <= count <= band["count_to"]]
            assert band["rows"] == len(inside)
            assert band["values"] == len(set(inside))
            assert band["mean_size"] == pytest.approx(np.mean([sizes[row] for row in set(inside)]))


def test_the_unknown_row_counts_as_never_seen(problem, sizes, predictions):
    """However often training hid values behind it."""
    bands = [band for band in described(problem, sizes, predictions)["bands"] if band["band"] == 0]
    assert all(band["count_from"] == band["count_to"] == 0 for band in bands)
    rows = problem.validation.ids_BF[:, 0]
    unknown = int((rows == problem.vocabulary.offsets["user"]).sum())
    assert sum(band["rows"] for band in bands if band["field"] == "user") == unknown


def test_all_of_it_is_json(problem, sizes, predictions):
    assert json.loads(json.dumps(described(problem, sizes, predictions), allow_nan=False))
