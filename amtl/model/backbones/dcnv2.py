"""DCN-V2: a cross network beside a perceptron, both over all vectors and numbers (Wang et al. 2021, arXiv 2008.13535).

The parallel structure: the logit is linear in (last layer of the cross network, last hidden layer of the perceptron), which
is written here as a sum. W_l are full matrices, not of low rank.

Shapes: B events, F fields, D dimensions, K numeric fields, X columns of all field vectors and numbers side by side.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from amtl.model.backbones.base import Backbone, InputColumn, Shape, vector_columns
from amtl.model.backbones.interactions import CrossNetwork
from amtl.model.backbones.perceptron import perceptron, rescale_last


class DCNv2Backbone(Backbone):
    """The sum of `head`, linear in what `cross` makes of the inputs, and of `layers`, a perceptron over the inputs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dim = shape.dim
        self.cross = CrossNetwork(shape.inputs, shape.cross_layers)
        self.head = perceptron(shape.inputs, (), 1, shape.dropout, shape.batch_norm)
        self.layers = perceptron(shape.inputs, shape.hidden, 1, shape.dropout, shape.batch_norm)

    def forward(self, vectors_BFD: Tensor, numbers_BK: Tensor) -> Tensor:
        """Logits [B]."""
        inputs_BX = torch.cat([vectors_BFD.flatten(1), numbers_BK], dim=1)
        logits: Tensor = self.head(self.cross(inputs_BX)) + self.layers(inputs_BX)
        return logits.squeeze(1)

    def inputs(self, fields: Sequence[Hashable], numbers: Sequence[Hashable]) -> dict[str, list[InputColumn]]:
        """The input columns of `cross`, `head` and `layers`."""
        columns = vector_columns(fields, self.dim) + vector_columns(numbers, 1)
        crossed = [InputColumn(column.sources | {"cross"}, column.dimension) for column in columns]
        return {"cross": columns, "head": crossed, "layers": columns}

    def rescale(self, scale: float, shift: float) -> None:
        """Fold a calibration of the logit into its two summands."""
        rescale_last(self.head, scale, shift)
        rescale_last(self.layers, scale, 0.0)
