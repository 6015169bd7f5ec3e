"""Levels that are not worth a bucket of their own in a field.

At a price x of a bit, a row is best off at the level with the least lost worth + x * bits. A bucket costs bits too (its scales and
widths), and the widest level of a field those of the basis. A level is closed where that saves more than its rows lose at the next best
open level, up or down; the most useless first (greedy, as in the uncapacitated facility location problem).

Shapes: R rows, L levels above 0, F fields, V rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amtl.packing.costing import Costing
from amtl.packing.prices import field_chunks
from amtl.sizing.front import lost_worth

SMALL_BUCKET = 4096  # rows of a bucket beside which its metadata do not count


def worthwhile(
    worth_VL: Tensor, bits_FL1: Tensor, open_FL: Tensor, rows_FL1: Tensor, ends_F: list[int], price: float, costing: Costing
) -> Tensor:
    """The levels of each field that stay open, bool [F, L].

    Args:
        bits_FL1: bits of a row at each level, by which rows choose. open_FL: the levels that are open.
        rows_FL1: rows of each field at each level, about. price: x.
    """
    result_FL = open_FL.clone()
    total: list[list[Tensor]] = [[] for _ in ends_F]
    shut_FL1 = ~torch.cat([torch.ones(len(open_FL), 1, dtype=torch.bool), open_FL], dim=1)
    big_FL1 = rows_FL1 > SMALL_BUCKET
    for field, rows in field_chunks(ends_F):
        total_RL1 = (lost_worth(worth_VL[rows]) + price * bits_FL1[field]).masked_fill_(shut_FL1[field], torch.inf)
        total[field].append(total_RL1[~big_FL1[field, total_RL1.argmin(1)]])
    for field, parts in enumerate(total):
        if parts:
            result_FL[field] = _closed(torch.cat(parts), big_FL1[field, 1:], price, costing)
    return result_FL


def _closed(total_RL1: Tensor, big_L: Tensor, price: float, costing: Costing) -> Tensor:
    """The levels of one field that stay open, bool [L]: the big buckets', and those that are used in the end.

    Args:
        total_RL1: what each level costs the rows of the field's small buckets. big_L: levels of big buckets.
    """
    while True:
        best_R2, level_R2 = total_RL1.topk(2, dim=1, largest=False)
        used_L = torch.bincount(level_R2[:, 0], minlength=total_RL1.shape[1])[1:] > 0
        extra_L = torch.zeros(total_RL1.shape[1]).index_add_(0, level_R2[:, 0], best_R2[:, 1] - best_R2[:, 0])[1:]
        gain_L = (price * _saved(used_L, costing) - extra_L).masked_fill(~used_L, -torch.inf)
        if float(gain_L.max()) <= 0:
            return used_L | big_L
        total_RL1[:, int(gain_L.argmax()) + 1] = torch.inf


def _saved(used_L: Tensor, costing: Costing) -> Tensor:
    """Bits that closing each level saves beside its rows' numbers, [L]."""
    saved_L = costing.bucket_bits_L1[1:]
    levels = torch.nonzero(used_L).flatten()
    if costing.stored_basis and len(levels):
        saved_L, sizes = saved_L.clone(), torch.cat([torch.zeros(1, dtype=torch.int64), costing.size_L1[1:][levels]])
        saved_L[levels[-1]] += costing.basis_bits(sizes[-2:]).diff().item()
    return saved_L
