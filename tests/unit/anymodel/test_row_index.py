import pytest
import torch

from amtl.anymodel.row_index import ROWS_A_CODE, RowIndex, index_bytes


def naive(bucket_V, buckets):
    """Packed row of each table row: by bucket, then by table order."""
    packed = {}
    for bucket in range(buckets):
        for row, own in enumerate(bucket_V.tolist()):
            if own == bucket:
                packed[row] = len(packed)
    return torch.tensor([packed[row] for row in range(len(bucket_V))])


@pytest.mark.parametrize("buckets", [1, 2, 3, 4, 5, 16, 17])
@pytest.mark.parametrize("rows", [1, 7, 64, 65, 1000])
def test_rows_lie_by_bucket_and_then_by_table_order(buckets, rows):
    bucket_V = torch.randint(buckets, (rows,), generator=torch.Generator().manual_seed(rows))
    index = RowIndex.of(bucket_V, buckets)
    rows_V = torch.arange(rows)
    assert torch.equal(index(rows_V), naive(bucket_V, buckets))
    assert torch.equal(index(rows_V.flip(0)), naive(bucket_V, buckets).flip(0))


def test_sixteen_buckets_take_five_eighths_of_a_byte_a_row():
    rows = 16 * ROWS_A_CODE * 20
    index = RowIndex.of(torch.arange(rows) % 16, 16)
    assert sum(buffer.nbytes for buffer in index.state_dict().values()) == index_bytes(rows, 16) == rows * 5 // 8


def test_no_rows_looked_up():
    index = RowIndex.of(torch.tensor([0, 1, 1]), 2)
    assert index(torch.empty(0, dtype=torch.int64)).shape == (0,)
