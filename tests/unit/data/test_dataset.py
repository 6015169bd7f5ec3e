"""From day partitions to encoded rows on disk: the same events as reading everything at once, kept by what they depend on."""

from dataclasses import replace

import days
import numpy as np
import polars as pl
import pytest
from toy import vocabulary_of

from amtl.data import dataset
from amtl.data.batches import Scaling, encode
from amtl.data.dataset import Encoding, encoded_rows, raw_rows
from amtl.data.events import partitions, scan
from amtl.data.split import PARTS, membership, split_bounds
from amtl.errors import DataError

EVENTS = days.events()


@pytest.fixture
def encoding(tmp_path):
    """Five days of 60 rows, the vocabulary of all of them."""
    parts = days.days(tmp_path / "events")
    vocabulary = vocabulary_of(EVENTS, scan(parts, EVENTS).collect())
    bounds = split_bounds(parts, EVENTS)
    return Encoding(parts, EVENTS, bounds, Scaling({"price": 50.0}, {"price": 30.0}), vocabulary.lookup, vocabulary.rows, "digest")


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    monkeypatch.setattr(dataset, "GROUP_ROWS", 16)


def encoded(encoding, part, tmp_path):
    """The rows, and what was logged."""
    lines = []
    return encoded_rows(encoding, part, tmp_path / "cache", lines.append), lines


@pytest.mark.parametrize("part", PARTS)
def test_a_part_on_disk_is_the_part_read_at_once(encoding, tmp_path, part):
    whole = scan(encoding.partitions, EVENTS).filter(membership(EVENTS, encoding.bounds, part)).collect()
    expected = encode(whole, EVENTS, encoding.lookup, encoding.scaling)
    rows, _ = encoded(encoding, part, tmp_path)
    assert [batch.digest for batch in rows.in_order(50)] == [batch.digest for batch in expected.in_order(50)]
    assert len(rows) == len(whole) > 16


def test_a_part_is_encoded_once_and_kept_alone(encoding, tmp_path):
    first, said = encoded(encoding, "train", tmp_path)
    encoded(encoding, "test", tmp_path)
    again, silent = encoded(encoding, "train", tmp_path)
    assert (again, said, silent) == (first, ["encoding the train rows"], [])
    (tmp_path / "cache" / "train" / ".killed.tmp").mkdir()
    other, _ = encoded(replace(encoding, vocabulary_digest="other"), "train", tmp_path)
    assert [path.name for path in (tmp_path / "cache" / "train").iterdir()] == [other.path.parent.name]
    assert other.path.parent.name != first.path.parent.name


def test_damaged_rows_are_encoded_again(encoding, tmp_path):
    first, _ = encoded(encoding, "train", tmp_path)
    first.path.write_bytes(first.path.read_bytes()[:-1])
    again, said = encoded(encoding, "train", tmp_path)
    assert (again, said) == (first, ["encoding the train rows"])


def test_whatever_decides_the_rows_is_in_their_key(encoding):
    priced = days.events(fields=[field | ({"range": [0, 50]} if field["name"] == "price" else {}) for field in days.FIELDS])
    others = [
        replace(encoding, partitions=encoding.partitions[1:]),
        replace(encoding, partitions=[replace(encoding.partitions[0], digest="other"), *encoding.partitions[1:]]),
        replace(encoding, events=priced),
        replace(encoding, bounds=replace(encoding.bounds, test_from=encoding.bounds.validation_from)),
        replace(encoding, scaling=Scaling({"price": 50.0}, {"price": 31.0})),
        replace(encoding, vocabulary_digest="other"),
    ]
    assert len({other.key() for other in [encoding, *others]}) == 7
    assert replace(encoding).key() == encoding.key()


def test_a_part_without_events(encoding, tmp_path):
    never = encoding.bounds.validation_from.replace(year=2100)
    rows, _ = encoded(replace(encoding, bounds=replace(encoding.bounds, test_from=never)), "test", tmp_path)
    assert (len(rows), list(rows.in_order(5)), rows.labels.tolist()) == (0, [], [])


def test_raw_rows_come_in_order_in_chunks_over_the_borders_of_days(encoding):
    wanted = pl.col("click") == 1
    expected = scan(encoding.partitions, EVENTS).filter(wanted).collect()
    for size in (7, 60, 1000):
        chunks = list(raw_rows(encoding.partitions, EVENTS, wanted, size))
        assert {len(chunk) for chunk in chunks[:-1]} <= {size}
        assert pl.concat(chunks).equals(expected)


def test_a_failed_encoding_leaves_nothing(encoding, tmp_path):
    encoding.partitions[-1].files[0].write_bytes(b"PAR1 no more")
    with pytest.raises(DataError):
        encoded(encoding, "train", tmp_path)
    assert not any((tmp_path / "cache" / "train").iterdir())


def test_a_file_that_breaks_after_the_first_rows_is_an_error_of_the_data(encoding, tmp_path):
    content = bytearray(encoding.partitions[-1].files[0].read_bytes())
    content[4 : len(content) // 2] = np.random.default_rng(0).bytes(len(content) // 2 - 4)
    encoding.partitions[-1].files[0].write_bytes(content)
    assert partitions(tmp_path / "events")
    with pytest.raises(DataError, match="cannot be read"):
        list(raw_rows(encoding.partitions, EVENTS, pl.lit(True), 16))
