"""Values in groups of (nearly) equal frequency: what the layer reads, once a group instead of once a value.

Shapes: V values (rows of the table), F fields, G = F * N groups (N a field), S features, E energies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """Values grouped by field and count, and perhaps more.

    Attributes:
        group_V: group of each value, int64, in 0 ... G - 1.
        features_GS: what the twins read of each group, means over its values. The frequency vector: log1p(count) over the
            largest of all, its z-score within the field, rank percentile within the field (1 = most frequent); then, if
            given, the z-scored logs of the energies.
        alpha_G: sigmoid of the group's normalised count (`Norm`).
        values_G: how many values the group holds; 0 for the padding of fields with fewer than N groups.
        fields: F.
    """

    group_V: Tensor
    features_GS: Tensor
    alpha_G: Tensor
    values_G: Tensor
    fields: int


Norm = Literal["log", "raw", "rank"]
"""What is z-scored within the field to mix the twins: log1p(count), the count, or how many values of the field are rarer."""


def group_by_frequency(counts_V: Tensor, field_V: Tensor, groups: int, norm: Norm = "log") -> Groups:
    """Group each field's values by log count into at most `groups` groups; equal counts are never split.

    A field with at most `groups` different counts gets one group a count, so grouping loses nothing there; otherwise
    its range of log counts is cut into `groups` equal intervals.
    """
    fields = int(field_V.max()) + 1 if len(field_V) else 0
    log_V = torch.log1p(counts_V.double())
    group_V = torch.zeros_like(field_V)
    features_VS = torch.zeros(len(counts_V), 3, dtype=torch.float64)
    normalised_V = torch.zeros(len(counts_V), dtype=torch.float64)
    for field in range(fields):
        rows = (field_V == field).nonzero().flatten()
        log = log_V[rows]
        group_V[rows] = field * groups + _group_one_field(log, groups)
        features_VS[rows] = _frequency_features(log, float(log_V.max()))
        normalised_V[rows] = _z_score({"log": log, "raw": counts_V[rows].double(), "rank": features_VS[rows, 2]}[norm])
    return _averaged(group_V, features_VS, normalised_V, fields * groups, fields)


def group_by_frequency_and_energy(
    counts_V: Tensor, field_V: Tensor, energies_VE: Tensor, frequency_groups: int, energy_groups: int
) -> Groups:
    """Group each field's values into quantiles of their count, and within these into quantiles of their first energy.

    Args:
        energies_VE: non-negative; how much of a value's trained row lies in its dimensions from t on, for a few t, the first
            of which is 0: the whole row.
    """
    fields, size = int(field_V.max()) + 1, frequency_groups * energy_groups
    log_V = torch.log1p(counts_V.double())
    group_V = torch.zeros_like(field_V)
    features_VS = torch.zeros(len(counts_V), 3 + energies_VE.shape[1], dtype=torch.float64)
    for field in range(fields):
        rows = (field_V == field).nonzero().flatten()
        by_count = _quantile(counts_V[rows], frequency_groups)
        within = torch.zeros_like(by_count)
        for quantile in by_count.unique():
            inside = by_count == quantile
            within[inside] = _quantile(energies_VE[rows[inside], 0], energy_groups)
        group_V[rows] = field * size + by_count * energy_groups + within
        features_VS[rows] = torch.cat(
            [_frequency_features(log_V[rows], float(log_V.max())), _z_score((energies_VE[rows].double() + 1e-12).log())], dim=1
        )
    return _averaged(group_V, features_VS, features_VS[:, 1], fields * size, fields)


def _averaged(group_V: Tensor, features_VS: Tensor, normalised_V: Tensor, groups: int, fields: int) -> Groups:
    values_G = torch.bincount(group_V, minlength=groups)
    weight_G = 1 / values_G.clamp(min=1).double()
    sums_GS = torch.zeros(groups, features_VS.shape[1], dtype=torch.float64).index_add_(0, group_V, features_VS)
    normalised_G = torch.zeros(groups, dtype=torch.float64).index_add_(0, group_V, normalised_V) * weight_G
    return Groups(group_V, (sums_GS * weight_G.unsqueeze(1)).float(), torch.sigmoid(normalised_G).float(), values_G, fields)


def _quantile(numbers: Tensor, quantiles: int) -> Tensor:
    """Quantile of each number, 0 ... quantiles - 1; ties by position."""
    ranks = torch.empty(len(numbers), dtype=torch.int64)
    ranks[torch.sort(numbers, stable=True).indices] = torch.arange(len(numbers))
    return ranks * quantiles // max(len(numbers), 1)


def _z_score(numbers: Tensor) -> Tensor:
    """Z-score of each column; 0 where all its numbers are equal (whose standard deviation need not come out as exactly 0)."""
    if len(numbers) == 0:
        return numbers
    z_score = (numbers - numbers.mean(dim=0)) / numbers.std(dim=0, correction=0)
    return torch.where(numbers.amax(dim=0) > numbers.amin(dim=0), z_score, 0.0)


def _group_one_field(log: Tensor, groups: int) -> Tensor:
    distinct, index = torch.unique(log, return_inverse=True)
    if len(distinct) <= groups:
        return index
    low, high = distinct[0], distinct[-1]
    return ((log - low) / (high - low) * groups).long().clamp(max=groups - 1)


def _frequency_features(log: Tensor, largest: float) -> Tensor:
    _, index, counts = torch.unique(log, return_inverse=True, return_counts=True)
    middle_rank = counts.cumsum(0) - (counts - 1) / 2
    return torch.stack([log / max(largest, 1e-12), _z_score(log), (middle_rank / len(log))[index]], dim=1)
