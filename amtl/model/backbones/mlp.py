"""The paper's figure: field vectors and numbers side by side, then a perceptron.

Shapes: B events, F fields, D dimensions, K numeric fields, H hidden width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from amtl.model.backbones.parts import InputColumn, Shape, perceptron, rescale_last, vector_columns


class MLPBackbone(nn.Module):
    """Field vectors and numbers side by side, then a perceptron."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.fields, self.dim = shape.fields, shape.dim
        self.layers = perceptron(shape.fields * shape.dim + shape.numbers, shape.hidden, 1, shape.dropout, shape.batch_norm)

    def forward(self, vectors_BFD: Tensor, numbers_BK: Tensor) -> Tensor:
        """Logits [B]."""
        logits: Tensor = self.layers(torch.cat([vectors_BFD.flatten(1), numbers_BK], dim=1))
        return logits.squeeze(1)

    def inputs(self, fields: Sequence[Hashable], numbers: Sequence[Hashable]) -> dict[str, list[InputColumn]]:
        """The input columns of `layers`, for fields and numbers of these names (all different), in the model's order."""
        return {"layers": vector_columns(fields, self.dim) + vector_columns(numbers, 1)}

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
