"""What each level of each row costs: slopes of the row's lower convex hull, so that one threshold gives nested sizes.

A row that buys level l pays its bits and gains its worth. Levels that are a bad bargain on their own are bought together with
later ones: prices are made non-increasing in l by pooling neighbours, which is antitonic regression with bits as weights:

    price_l = min over a < l of max over b >= l of (worth of levels a + 1 ... b) / (bits of levels a + 1 ... b)

(Barlow et al., Statistical Inference under Order Restrictions, 1972, section 1.4).

Shapes: V rows, L levels above 0, F fields, O open levels of a field, R rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_ROWS = 1 << 16
NEVER = -1.0
"""The price of a level that no budget buys."""


def prices(worth_RL: Tensor, bits_L1: Tensor) -> Tensor:
    """Worth of each level for each bit, made non-increasing in the level, float32 [R, L].

    Args:
        worth_RL: worth of level l over level l - 1, not negative.
        bits_L1: bits of a row at each level, rising.
    """
    levels, bits = worth_RL.shape[1], bits_L1.tolist()
    beyond_L1R = worth_RL.new_zeros(levels + 1, len(worth_RL))
    for level in range(levels - 1, -1, -1):  # worth of the levels behind, added from the right: exact where little is left
        torch.add(beyond_L1R[level + 1], worth_RL[:, level], out=beyond_L1R[level])
    result_LR = torch.full_like(beyond_L1R[1:], torch.inf)
    for low in range(levels):
        best_R = torch.full_like(beyond_L1R[0], -torch.inf)
        for high in range(levels, low, -1):
            slope_R = (beyond_L1R[low] - beyond_L1R[high]).div_(bits[high] - bits[low])
            torch.maximum(best_R, slope_R, out=best_R)
            torch.minimum(result_LR[high - 1], best_R, out=result_LR[high - 1])
    return result_LR.T.contiguous()


def prices_of_open(worth_VL: Tensor, bits_FL1: Tensor, open_FL: Tensor, ends_F: list[int]) -> Tensor:
    """Prices where some levels of a field are closed: such a level is bought together with the next open one, or never.

    Args:
        bits_FL1: bits of a row of each field at each level, rising over the open ones. open_FL: which levels above 0 are open.
        ends_F: one past each field's last row.

    Returns:
        float32 [V, L]; `NEVER` where no open level follows.
    """
    result_VL = torch.full(worth_VL.shape, NEVER)
    for field, rows in field_chunks(ends_F):
        open_O = torch.nonzero(open_FL[field]).flatten()
        if len(open_O) == 0:
            continue
        levels = int(open_O[-1]) + 1
        owner_L = torch.searchsorted(open_O, torch.arange(levels))
        worth_RO = torch.zeros(rows.stop - rows.start, len(open_O)).index_add_(1, owner_L, worth_VL[rows, :levels])
        bits_O1 = bits_FL1[field, torch.cat([torch.zeros(1, dtype=torch.int64), open_O + 1])]
        result_VL[rows, :levels] = prices(worth_RO, bits_O1)[:, owner_L]
    return result_VL


def field_chunks(ends_F: list[int]) -> Iterator[tuple[int, slice]]:
    """The rows of each field in chunks."""
    start = 0
    for field, end in enumerate(ends_F):
        for first in range(start, end, CHUNK_ROWS):
            yield field, slice(first, min(first + CHUNK_ROWS, end))
        start = end
