"""Interactions of fields beyond a perceptron's: of pairs (factorization machine), of bounded degree (cross network).

Shapes: B events, F fields, D dimensions, X columns of all field vectors and numbers side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FactorizationMachine(nn.Module):
    """The sum over pairs of fields of <s_f e_f, s_g e_g> (second order of Rendle 2010; here each field has a scale s).

    By (sum_f s_f e_f)^2 - sum_f (s_f e_f)^2 = 2 sum_{f<g} s_f e_f s_g e_g in each dimension it costs F D, not F^2 D. Scales
    are 1 at first, which is the plain machine, and learned. They are there for warm starts: a field that the parent did
    not have comes in with scale 0, so that the model predicts at first what the parent did.
    """

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.scale_F = nn.Parameter(torch.ones(fields))

    def forward(self, vectors_BFD: Tensor) -> Tensor:
        """One number an event, [B]."""
        scaled_BFD = vectors_BFD * self.scale_F.unsqueeze(1)
        sum_BD = scaled_BFD.sum(1)
        return 0.5 * (sum_BD.square().sum(1) - scaled_BFD.square().sum((1, 2)))


class CrossNetwork(nn.ModuleList):
    """x_{l+1} = x_0 * (W_l x_l + b_l) + x_l, products by element (Wang et al. 2021, arXiv 2008.13535, equation 1)."""

    def __init__(self, columns: int, layers: int) -> None:
        super().__init__(nn.Linear(columns, columns) for _ in range(layers))

    def forward(self, inputs_BX: Tensor) -> Tensor:
        """The last x, [B, X]."""
        crossed_BX = inputs_BX
        for layer in self:
            crossed_BX = torch.addcmul(crossed_BX, inputs_BX, layer(crossed_BX))
        return crossed_BX
