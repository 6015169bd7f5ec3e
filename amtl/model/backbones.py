"""What turns field vectors and numbers into a logit.

A backbone says by `inputs` what each input column of its perceptrons means, so that the columns of fields that two models
share can be told from the others, whatever the order of fields.

Shapes: B events, F fields, D dimensions, K numeric fields.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn


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


class InputColumn(NamedTuple):
    """What an input column of a perceptron means.

    Attributes:
        sources: a field, a number or (by its name) another perceptron whose output it is; two of them for their dot product.
        dimension: of the source's vector; 0 for numbers and dot products.
    """

    sources: frozenset[Hashable]
    dimension: int


def _vector_columns(sources: Sequence[Hashable], dim: int) -> list[InputColumn]:
    """The columns of vectors side by side."""
    return [InputColumn(frozenset({source}), dimension) for source in sources for dimension in range(dim)]


class MLPBackbone(nn.Module):
    """The paper's figure: field vectors and numbers side by side, then an MLP."""

    def __init__(self, fields: int, dim: int, numbers: int, hidden: Sequence[int], dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.fields, self.dim = fields, dim
        self.layers = perceptron(fields * dim + numbers, hidden, 1, dropout, batch_norm)

    def forward(self, vectors_BFD: Tensor, numbers_BK: Tensor) -> Tensor:
        """Logits [B]."""
        logits: Tensor = self.layers(torch.cat([vectors_BFD.flatten(1), numbers_BK], dim=1))
        return logits.squeeze(1)

    def inputs(self, fields: Sequence[Hashable], numbers: Sequence[Hashable]) -> dict[str, list[InputColumn]]:
        """The input columns of `layers`, for fields and numbers of these names (all different), in the model's order."""
        return {"layers": _vector_columns(fields, self.dim) + _vector_columns(numbers, 1)}

    def rescale(self, scale: float, shift: float) -> None:
        """Fold a calibration of the logit into the last layer."""
        rescale_last(self.layers, scale, shift)

    @torch.no_grad()
    def absorb(self, basis_FDD: Tensor) -> bool:
        """Fold a per-field rotation into the first layer: afterwards it reads z where it read z basis. Always possible here."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        embedded = self.fields * self.dim
        weight_HFD = first.weight[:, :embedded].view(-1, self.fields, self.dim)
        first.weight[:, :embedded] = torch.einsum("hfe,fde->hfd", weight_HFD, basis_FDD).flatten(1)
        return True


class DLRMBackbone(nn.Module):
    """Dot interactions (Naumov et al. 2019, arXiv 1906.00091).

    numbers -> bottom MLP -> one more vector of width D; dots of all pairs of vectors; (bottom vector, field vectors, dots)
    -> top MLP. Unlike the original the field vectors themselves also enter the top MLP: without numeric fields it would
    see nothing but dots.
    """

    def __init__(self, fields: int, dim: int, numbers: int, hidden: Sequence[int], dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.dim = dim
        self.bottom = perceptron(numbers, [*hidden[:1], dim], None, dropout, batch_norm) if numbers else None
        vectors = fields + (1 if numbers else 0)
        self.register_buffer("pairs_2P", torch.triu_indices(vectors, vectors, offset=1), persistent=False)
        self.top = perceptron(vectors * dim + vectors * (vectors - 1) // 2, hidden, 1, dropout, batch_norm)

    pairs_2P: Tensor

    def forward(self, vectors_BFD: Tensor, numbers_BK: Tensor) -> Tensor:
        """Logits [B]."""
        if self.bottom is not None:
            vectors_BFD = torch.cat([self.bottom(numbers_BK).unsqueeze(1), vectors_BFD], dim=1)
        dots_BFF = vectors_BFD @ vectors_BFD.transpose(1, 2)
        dots_BP = dots_BFF[:, self.pairs_2P[0], self.pairs_2P[1]]
        logits: Tensor = self.top(torch.cat([vectors_BFD.flatten(1), dots_BP], dim=1))
        return logits.squeeze(1)

    def inputs(self, fields: Sequence[Hashable], numbers: Sequence[Hashable]) -> dict[str, list[InputColumn]]:
        """The input columns of `bottom` (if there are numbers) and `top`, for fields and numbers of these names (all different)."""
        bottom = {"bottom": _vector_columns(numbers, 1)} if numbers else {}
        vectors = [*bottom, *fields]
        dots = [InputColumn(frozenset(pair), 0) for pair in combinations(vectors, 2)]
        return {**bottom, "top": _vector_columns(vectors, self.dim) + dots}

    def rescale(self, scale: float, shift: float) -> None:
        """Fold a calibration of the logit into the last layer."""
        rescale_last(self.top, scale, shift)

    def absorb(self, basis_FDD: Tensor) -> bool:
        """Dots need all fields in one basis: nothing is absorbed."""
        return False


Backbone = MLPBackbone | DLRMBackbone
BACKBONES: dict[str, type[Backbone]] = {"mlp": MLPBackbone, "dlrm": DLRMBackbone}
