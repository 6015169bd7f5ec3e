"""Perceptrons: what all backbones end in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


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
