"""DeepFM: first order, pairs and a perceptron over the same vectors, added up (Guo et al. 2017, arXiv 1703.04247).

Two deviations. The original keeps a second table with one weight a value for the first order; here that weight is read off
the value's own vector by a linear map a field, so that one table holds all there is of a value. The vectors of pairs are
scaled by field (see `FactorizationMachine`). Numbers, which the original turns into categories, enter the first order and
the perceptron.

Shapes: B events, F fields, D dimensions, K numeric fields, X columns of all field vectors and numbers side by side.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from amtl.model.backbones.base import Backbone, InputColumn, Shape, vector_columns
from amtl.model.backbones.interactions import FactorizationMachine
from amtl.model.backbones.perceptron import perceptron, rescale_last


class DeepFMBackbone(Backbone):
    """The sum of `first` (linear), `pairs` (a factorization machine) and `layers` (a perceptron)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dim = shape.dim
        self.first = perceptron(shape.inputs, (), 1, shape.dropout, shape.batch_norm)
        self.pairs = FactorizationMachine(shape.fields)
        self.layers = perceptron(shape.inputs, shape.hidden, 1, shape.dropout, shape.batch_norm)

    def forward(self, vectors_BFD: Tensor, numbers_BK: Tensor) -> Tensor:
        """Logits [B]."""
        inputs_BX = torch.cat([vectors_BFD.flatten(1), numbers_BK], dim=1)
        logits: Tensor = (self.first(inputs_BX) + self.layers(inputs_BX)).squeeze(1) + self.pairs(vectors_BFD)
        return logits

    def inputs(self, fields: Sequence[Hashable], numbers: Sequence[Hashable]) -> dict[str, list[InputColumn]]:
        """The input columns of `first` and `layers`; the fields of `pairs`."""
        columns = vector_columns(fields, self.dim) + vector_columns(numbers, 1)
        return {"first": columns, "pairs": vector_columns(fields, 1), "layers": columns}

    @torch.no_grad()
    def rescale(self, scale: float, shift: float) -> None:
        """Fold a calibration of the logit into its three summands."""
        rescale_last(self.first, scale, shift)
        self.pairs.scale_F.mul_(scale**0.5)
        rescale_last(self.layers, scale, 0.0)
