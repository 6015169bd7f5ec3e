"""The sizes that a row may have: few enough that a cost for each of them fits beside the table, close enough to lose little."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

STEPS = (4, 5, 6)  # quarters: between two powers of two lie 1.25 and 1.5 times the lower one


def size_levels(dim: int, most: int = 16) -> Tensor:
    """Sizes from 0 to `dim`, rising: every size up to `most` / 2, then roughly geometric; every size where `dim` is at most `most`.

    Of round numbers (a power of two times 1, 1.25 or 1.5) as many are kept as there may be, dropping first what leaves the
    smallest gap. For 64: 0 1 2 3 4 5 6 7 8 10 12 16 20 24 32 48 64.

    Args:
        dim: D, at least 1.
        most: most levels above 0, at least 1.

    Returns:
        int64 [L + 1].
    """
    if dim <= most:
        return torch.arange(dim + 1)
    dense = most // 2
    round_numbers = {step * 2**power // 4 for power in range(dim.bit_length()) for step in STEPS if step * 2**power % 4 == 0}
    sizes = sorted({0, dim, *range(dense + 1), *(size for size in round_numbers if size < dim)})
    while len(sizes) > most + 1:
        del sizes[min(reversed(range(dense + 1, len(sizes) - 1)), key=lambda place: _gap_without(sizes, place))]
    return torch.tensor(sizes)


def _gap_without(sizes: list[int], place: int) -> float:
    return sizes[place + 1] / max(sizes[place - 1], 0.5)


def describe_sizes(sizes_V: Tensor, dim: int) -> dict[str, Any]:
    """Summary of a choice of sizes: mean, distinct count, kept share, histogram."""
    histogram = torch.bincount(sizes_V, minlength=dim + 1).tolist()
    return {
        "mean_size": float(sizes_V.double().mean()),
        "distinct_sizes": int((torch.tensor(histogram) > 0).sum()),
        "kept_share": float(sizes_V.double().mean() / dim),
        "histogram": {str(size): values for size, values in enumerate(histogram) if values},
    }
