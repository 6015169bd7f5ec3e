"""The paper's figure: field vectors and numbers side by side, then a perceptron.

Shapes: B events, F fields, D dimensions, K numeric fields, H hidden width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from amtl.model.backbones.base import Backbone, InputColumn, Shape, vector_columns
from amtl.model.backbones.perceptron import perceptron, rescale_last


class MLPBackbone(Backbone):
    """Field vectors and numbers side by side, then the perceptron `layers`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.fields, self.dim = shape.fields, shape.dim
        self.layers = perceptron(shape.inputs, shape.hidden, 1, shape.dropout, shape.batch_norm)

    def forward(self, vectors_BFD: Tensor, numbers_BK: Tensor) -> Tensor:
        """Logits [B]."""
        logits: Tensor = self.layers(torch.cat([vectors_BFD.flatten(1), numbers_BK], dim=1))
        return logits.squeeze(1)

    def inputs(self, fields: Sequence[Hashable], numbers: Sequence[Hashable]) -> dict[str, list[InputColumn]]:
        """The input columns of `layers`."""
        return {"layers": vector_columns(fields, self.dim) + vector_columns(numbers, 1)}

    def rescale(self, scale: float, shift: float) -> None:
        """Fold a calibration of the logit into the last layer."""
        rescale_last(self.layers, scale, shift)

    @torch.no_grad()
    def absorb(self, basis_FDD: Tensor) -> bool:
        """Fold a rotation of each field's vectors into the first layer, which is linear: always possible here."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        embedded = self.fields * self.dim
        weight_HFD = first.weight[:, :embedded].view(-1, self.fields, self.dim)
        first.weight[:, :embedded] = torch.einsum("hfe,fde->hfd", weight_HFD, basis_FDD).flatten(1)
        return True
