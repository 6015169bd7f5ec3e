"""Where a table row lies among packed rows, at a fraction of a byte to a byte a row.

Packed rows are sorted by bucket, and by table order within a bucket. A user's ids are table rows, so the way from one to the other is
part of the packed table. A permutation would take four bytes a row: more than is left of a row when 98% is saved. Instead each
row's bucket is kept in 1, 2, 4 or 8 bits, with the number of rows of each bucket before every block of rows; the rank within the block
is counted when a row is looked up (Jacobson's rank directory, FOCS 1989, with one level).

Shapes: V rows, K buckets, C blocks, M looked-up rows, R rows of a block.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ROWS_A_CODE = 32
"""Rows of a block for each code that its bits can tell: counts, of four bytes, then take at most an eighth of a byte a row."""


class RowIndex(nn.Module):
    """Table rows to packed rows. Its buffers are empty where there is one bucket: rows then lie as they were.

    Args:
        codes: uint8, bucket of each row, `bits` each, the first row in the lowest bits.
        before_CK: int32 (int64 from 2^31 rows), rows of each bucket before each block.
        rows_K: rows of each bucket (they are the packed table's, and not stored again).
    """

    def __init__(self, codes: Tensor, before_CK: Tensor, rows_K: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        self.register_buffer("before_CK", before_CK)
        self.register_buffer("first_K", rows_K.long().cumsum(0) - rows_K, persistent=False)

    codes: Tensor
    before_CK: Tensor
    first_K: Tensor

    @classmethod
    def of(cls, bucket_V: Tensor, buckets: int) -> RowIndex:
        """The index of rows that lie in these buckets."""
        rows_K = torch.bincount(bucket_V, minlength=buckets)
        if buckets == 1:
            return cls(torch.empty(0, dtype=torch.uint8), torch.empty(0, 1, dtype=torch.int32), rows_K)
        rows = _rows_of_block(buckets)
        blocks = -(-len(bucket_V) // rows)
        in_block_CK = torch.bincount(torch.arange(len(bucket_V)) // rows * buckets + bucket_V, minlength=blocks * buckets).view(
            blocks, buckets
        )
        before_CK = in_block_CK.cumsum(0) - in_block_CK
        narrow = torch.int32 if len(bucket_V) < 2**31 else torch.int64
        return cls(_packed(bucket_V, _bits(buckets)), before_CK.to(narrow), rows_K)

    def forward(self, rows_M: Tensor) -> Tensor:
        """Packed rows int64 [M]."""
        buckets = len(self.first_K)
        if buckets == 1:
            return rows_M
        bits, rows = _bits(buckets), _rows_of_block(buckets)
        block_M = rows_M // rows
        place_R = torch.arange(rows * bits // 8, device=rows_M.device)
        byte_MR = block_M.unsqueeze(1) * len(place_R) + place_R
        code_MR = _unpacked(self.codes[byte_MR.clamp(max=len(self.codes) - 1)], bits)
        within_M1 = (rows_M % rows).unsqueeze(1)
        own_M1 = code_MR.gather(1, within_M1)
        earlier_MR = torch.arange(rows, device=rows_M.device) < within_M1
        rank_M = ((code_MR == own_M1) & earlier_MR).sum(1)
        own_M = own_M1.squeeze(1).long()
        return self.first_K[own_M] + self.before_CK[block_M, own_M].long() + rank_M


def index_bytes(rows: int, buckets: int) -> int:
    """Bytes of the index of so many rows in so many buckets: more buckets never take less."""
    if buckets == 1:
        return 0
    blocks, of_a_count = -(-rows // _rows_of_block(buckets)), 4 if rows < 2**31 else 8
    return -(-rows * _bits(buckets) // 8) + blocks * buckets * of_a_count


def _rows_of_block(buckets: int) -> int:
    return ROWS_A_CODE << _bits(buckets)


def _bits(buckets: int) -> int:
    """Bits of a bucket's number, such that no number straddles two bytes."""
    if buckets > 256:
        raise ValueError(f"{buckets} buckets in one table; at most 256 can be told apart")
    return next(bits for bits in (1, 2, 4, 8) if buckets <= 2**bits)


def _packed(code_V: Tensor, bits: int) -> Tensor:
    """Codes of `bits` bits, back to back, uint8."""
    a_byte = 8 // bits
    padded = torch.nn.functional.pad(code_V, (0, -len(code_V) % a_byte)).view(-1, a_byte)
    shifts = torch.arange(a_byte) * bits
    return (padded << shifts).sum(1).to(torch.uint8)


def _unpacked(byte_MX: Tensor, bits: int) -> Tensor:
    """Codes of bytes [M, X], uint8 [M, X * codes a byte]."""
    shifts = torch.arange(0, 8, bits, device=byte_MX.device, dtype=torch.uint8)
    codes = (byte_MX.unsqueeze(2) >> shifts) & (2**bits - 1)
    return codes.flatten(1)
