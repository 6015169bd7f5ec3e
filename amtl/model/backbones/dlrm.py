"""Dot interactions (Naumov et al. 2019, arXiv 1906.00091).

numbers -> bottom MLP -> one more vector of width D; dots of all pairs of vectors; (bottom vector, field vectors, dots)
-> top MLP. Unlike the original the field vectors themselves also enter the top MLP: without numeric fields it would see
nothing but dots.

Shapes: B events, F fields, D dimensions, K numeric fields, P pairs of vectors.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from amtl.model.backbones.base import Backbone, InputColumn, Shape, vector_columns
from amtl.model.backbones.perceptron import perceptron, rescale_last


class DLRMBackbone(Backbone):
    """Field vectors, the vector that `bottom` makes of numbers, and the dots of all pairs of them, then the perceptron `top`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dim = shape.dim
        numbers, style = shape.numbers, (shape.dropout, shape.batch_norm)
        self.bottom = perceptron(numbers, [*shape.hidden[:1], shape.dim], None, *style) if numbers else None
        vectors = shape.fields + (1 if numbers else 0)
        self.register_buffer("pairs_2P", torch.triu_indices(vectors, vectors, offset=1), persistent=False)
        self.top = perceptron(vectors * shape.dim + vectors * (vectors - 1) // 2, shape.hidden, 1, *style)

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
        """The input columns of `bottom` (if there are numbers) and `top`."""
        bottom = {"bottom": vector_columns(numbers, 1)} if numbers else {}
        vectors = [*bottom, *fields]
        dots = [InputColumn(frozenset(pair), 0) for pair in combinations(vectors, 2)]
        return {**bottom, "top": vector_columns(vectors, self.dim) + dots}

    def rescale(self, scale: float, shift: float) -> None:
        """Fold a calibration of the logit into the last layer."""
        rescale_last(self.top, scale, shift)
