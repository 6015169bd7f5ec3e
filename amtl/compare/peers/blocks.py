"""A lookup put together from blocks of values, each with a module of its own from places in the block to vectors.

Shapes: V values, D dimensions, M looked-up values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BlockEmbedding(nn.Module):
    """Sends every looked-up value to its block's module.

    Args:
        block_V: block of each value, int64; the k-th value of a block is place k of its module.
        parts: one module a block, from places int64 [N] to vectors [N, D].
    """

    def __init__(self, block_V: Tensor, parts: Sequence[nn.Module], dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.parts = nn.ModuleList(parts)
        self.register_buffer("block_V", block_V)
        self.register_buffer("place_V", places_within(block_V))

    block_V: Tensor
    place_V: Tensor

    def forward(self, rows_M: Tensor) -> Tensor:
        """Vectors [M, D]."""
        block_M, place_M = self.block_V[rows_M], self.place_V[rows_M]
        chosen = [(block_M == block).nonzero().flatten() for block in range(len(self.parts))]
        vectors = [part(place_M[index_N]) for part, index_N in zip(self.parts, chosen, strict=True) if len(index_N)]
        if not vectors:
            return next(self.parameters()).new_zeros(0, self.dim)
        return torch.empty_like(torch.cat(vectors)).index_copy(0, torch.cat(chosen), torch.cat(vectors))


def places_within(block_V: Tensor) -> Tensor:
    """How many values of the same block come before each value, int64 [V]."""
    order_V = torch.sort(block_V, stable=True).indices
    sizes = torch.bincount(block_V)
    starts = sizes.cumsum(0) - sizes
    place_V = torch.empty_like(block_V)
    place_V[order_V] = torch.arange(len(block_V), device=block_V.device) - starts[block_V[order_V]]
    return place_V
