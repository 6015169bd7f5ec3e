"""Sizes by energy: a level of a row is worth the squares of the numbers that it adds, whatever they do to the loss.

The usual yardstick of pruning, here by whole rows' tails. Shapes: V rows of the table, L levels above 0, N rows of a chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amtl.sizing.costs import field_chunks


def magnitude_worth(table_VD: Tensor, field_V: Tensor, size_L1: Tensor) -> Tensor:
    """Sum of the squares of dimensions t_{l - 1} ... t_l - 1 of each row, float32 [V, L]."""
    worth_VL = torch.empty(len(table_VD), len(size_L1) - 1)
    for _, chunk in field_chunks(field_V):
        added = table_VD[chunk].square().split(size_L1.diff().tolist(), dim=1)
        worth_VL[chunk] = torch.stack([squares_NX.sum(1) for squares_NX in added], dim=1)
    return worth_VL
