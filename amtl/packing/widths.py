"""How many bits each dimension of each bucket deserves, by the same curvature that says what cutting costs.

A code of b bits leaves a mean squared error of about `codes.GAUSSIAN_ERROR[b]` times the dimension's mean square, near c * 4^-b. In nats an
event a bucket's dimension then costs rows * lookups * noise * error, and another bit for all its rows saves three quarters of that; so
at one price of a bit (reverse water-filling, Cover and Thomas, Elements of Information Theory, section 10.3.3)

    bits = 1/2 log2(lookups * noise * mean square / theta),

rounded, within 2 ... 8. Theta is set by the mean bits of a number.

Shapes: V rows, F fields, L levels above 0, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amtl.packing.costing import kept_LD
from amtl.packing.layout import LEAST_BITS, MOST_BITS
from amtl.sizing.front import Front

SAMPLE_ROWS = 1 << 20  # rows that the mean squares are taken from, evenly spread


@dataclass(frozen=True)
class Stakes:
    """What is at stake in the numbers of each field's rows at each level.

    Attributes:
        rows_FL1: rows of each field at each level.
        nats_FLD: nats an event that a row's dimension would cost if it were lost: lookups * noise * mean square, float32 [F, L + 1, D];
            of the nearest level that has rows, where a level has none.
        kept_LD: which dimensions each level keeps.
    """

    rows_FL1: Tensor
    nats_FLD: Tensor
    kept_LD: Tensor

    @classmethod
    def of(cls, front: Front, table_VD: Tensor, level_V: Tensor) -> Stakes:
        """Measure the rows at their levels."""
        fields, levels = len(front.noise_FD), len(front.size_L1)
        place_V = front.field_V * levels + level_V
        rows_FL1 = torch.bincount(place_V, minlength=fields * levels).view(fields, levels)
        sample = slice(None, None, max(1, -(-len(table_VD) // SAMPLE_ROWS)))
        place_N, squares_ND = place_V[sample], table_VD[sample].detach().cpu().float().square()
        sampled = torch.bincount(place_N, minlength=fields * levels)
        square = torch.zeros(fields * levels, squares_ND.shape[1]).index_add_(0, place_N, squares_ND)
        lookups = torch.zeros(fields * levels).index_add_(0, place_N, front.lookups_V[sample])
        mean_FLD = ((square / sampled.unsqueeze(1)) * (lookups / sampled).unsqueeze(1)).view(fields, levels, -1)
        nearest_FL1 = _nearest(sampled.view(fields, levels) > 0)
        nats_FLD = mean_FLD[torch.arange(fields).unsqueeze(1), nearest_FL1] * front.noise_FD.unsqueeze(1)
        return cls(rows_FL1, nats_FLD.nan_to_num(0.0), kept_LD(front.size_L1))

    def bits_FLD(self, mean_bits: float) -> Tensor:
        """Bits of each dimension at each level such that the table's numbers have so many on average, int64 [F, L + 1, D]."""
        wanted_FLD = 0.5 * torch.log2(self.nats_FLD.clamp(min=1e-37))
        numbers_FLD = self.rows_FL1.unsqueeze(2) * self.kept_LD
        low, high = -80.0, 80.0
        for _ in range(40):
            middle = (low + high) / 2
            bits_FLD = (wanted_FLD + middle).clamp(LEAST_BITS, MOST_BITS)
            enough = float((bits_FLD * numbers_FLD).sum()) >= mean_bits * float(numbers_FLD.sum())
            low, high = (low, middle) if enough else (middle, high)
        return (wanted_FLD + high).round().clamp(LEAST_BITS, MOST_BITS).long() * self.kept_LD


def price_bits(bits_FLD: Tensor, rows_FL1: Tensor, size_L1: Tensor) -> Tensor:
    """Bits of a row at each level by which rows choose, float32 [F, L + 1]: the field's mean width of each dimension, added up.

    A bucket's own widths would not do: they say what the rows that are there deserve, and need not rise with the level.
    """
    numbers_FLD = rows_FL1.unsqueeze(2) * (bits_FLD > 0)
    mean_FD = ((bits_FLD * numbers_FLD).sum(1) / numbers_FLD.sum(1)).nan_to_num(float(LEAST_BITS)).clamp(min=LEAST_BITS)
    return torch.nn.functional.pad(mean_FD.cumsum(1), (1, 0))[:, size_L1]


def _nearest(has_FL1: Tensor) -> Tensor:
    """The nearest level with rows in the same field, int64 [F, L + 1]."""
    levels = torch.arange(has_FL1.shape[1])
    distance_LL = (levels.unsqueeze(1) - levels).abs()
    return torch.where(has_FL1.unsqueeze(1), distance_LL, len(levels) + 1).argmin(2)
