"""What backbones are made of: perceptrons whose input columns have a meaning.

By the meaning of columns the ones that two models share can be told from the others, whatever the order of fields: a warm
start carries these (`amtl/training/inherit.py`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn


@dataclass(frozen=True)
class Shape:
    """What the shape of a backbone depends on.

    Attributes:
        fields: embedded fields, each a vector of `dim` numbers; numbers: numeric fields.
        hidden: widths of the hidden layers of its perceptron.
    """

    dim: int
    fields: int
    numbers: int
    hidden: tuple[int, ...]
    dropout: float
    batch_norm: bool


class InputColumn(NamedTuple):
    """What an input column of a perceptron means.

    Attributes:
        sources: a field, a number or (by its name) another part whose output it is; two of them for their dot product.
        dimension: of the source's vector; 0 for numbers and dot products.
    """

    sources: frozenset[Hashable]
    dimension: int


def vector_columns(sources: Sequence[Hashable], dim: int) -> list[InputColumn]:
    """The columns of vectors side by side."""
    return [InputColumn(frozenset({source}), dimension) for source in sources for dimension in range(dim)]


def perceptron(inputs: int, hidden: Sequence[int], outputs: int | None, dropout: float, batch_norm: bool) -> nn.Sequential:
    """Linear, optional batch norm, ReLU, dropout for every hidden width; then a last linear layer if `outputs` is given."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), *([nn.BatchNorm1d(width)] if batch_norm else []), nn.ReLU(), nn.Dropout(dropout)]
        inputs = width
    if outputs is not None:
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


@torch.no_grad()
def rescale_last(layers: nn.Sequential, scale: float, shift: float) -> None:
    """Make a perceptron with a linear end give scale * output + shift."""
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    last.weight *= scale
    last.bias.mul_(scale).add_(shift)
