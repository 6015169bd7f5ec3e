import math

import pytest
import torch

from amtl.anymodel.row_index import RowIndex, index_bytes


def naive(bucket_V, buckets):
    """Packed row of each table row: by bucket, then by table order."""
    packed = {}
    for bucket in range(buckets):
        for row, own in enumerate(bucket_V.tolist()):
            if own == bucket:
                packed[row] = len(packed)
    return torch.tensor([packed[row] for row in range(len(bucket_V))])


def skewed(rows, buckets):
    return (torch.rand(rows, generator=torch.Generator().manual_seed(rows)) ** 4 * buckets).long()


@pytest.mark.parametrize("buckets", [1, 2, 3, 5, 17])
@pytest.mark.parametrize("rows", [1, 63, 64, 65, 511, 512, 513, 3000])
def test_rows_lie_by_bucket_and_then_by_table_order(buckets, rows):
    bucket_V = skewed(rows, buckets)
    index = RowIndex.of(bucket_V, buckets)
    rows_V = torch.arange(rows)
    assert torch.equal(index(rows_V), naive(bucket_V, buckets))
    assert torch.equal(index(rows_V.flip(0)), naive(bucket_V, buckets).flip(0))


@pytest.mark.parametrize("buckets", [1, 2, 7])
def test_it_takes_what_it_says_and_little_more_than_the_entropy(buckets):
    rows = 50_000
    bucket_V = skewed(rows, buckets)
    rows_K = torch.bincount(bucket_V, minlength=buckets)
    taken = sum(tensor.nbytes for tensor in RowIndex.of(bucket_V, buckets).state_dict().values())
    entropy = -sum(count / rows * math.log2(count / rows) for count in rows_K.tolist())
    assert taken == index_bytes(rows_K)
    assert entropy * rows / 8 <= taken <= (max(1.12 * entropy, 1.0) * rows / 8) * (1 + 1 / 16) + 100 if buckets > 1 else taken == 0


def test_no_rows_looked_up():
    assert RowIndex.of(torch.tensor([0, 1, 1]), 2)(torch.empty(0, dtype=torch.int64)).shape == (0,)


def test_an_index_of_other_buckets_is_refused():
    index = RowIndex.of(torch.tensor([0, 1, 1] * 10), 2)
    with pytest.raises(ValueError, match="does not fit"):
        RowIndex(index.words, index.ones, torch.tensor([10, 100]))
