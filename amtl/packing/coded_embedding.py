"""An embedding that is trained as it will be served: every looked-up number coded and read back.

Backward, coding counts as doing nothing (the straight-through estimator: Bengio et al. 2013, arXiv 1308.3432; of quantised networks:
Jacob et al. 2018, arXiv 1712.05877), so rows move until their codes change, and the layers behind learn to live with what codes can say.

Shapes: V table rows, K buckets, D dimensions, M looked-up rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing.codes import every, fit_scales, nearest, scale_of
from amtl.packing.layout import MOST_BITS, Layout

REFIT_STEPS = 200
"""Steps of training after which scales are fitted anew."""


class CodedEmbedding(MaskedEmbedding):
    """A table of codes of a layout, over full-precision rows that can be trained."""

    def __init__(self, embedding: nn.Embedding, layout: Layout) -> None:
        super().__init__(embedding, layout.sizes_V)
        self.register_buffer("bucket_V", layout.bucket_V, persistent=False)
        self.register_buffer("bits_KD", layout.bits_KD.long(), persistent=False)
        self.register_buffer("scale_KD", torch.zeros(layout.bits_KD.shape))
        self.register_buffer("steps", torch.tensor(0))

    bucket_V: Tensor
    bits_KD: Tensor
    scale_KD: Tensor
    steps: Tensor

    @torch.no_grad()
    def fit(self) -> None:
        """Fit the scales to the rows as they are now."""
        order_V = torch.sort(self.bucket_V, stable=True).indices
        for bucket, rows_R in enumerate(order_V.split(torch.bincount(self.bucket_V, minlength=len(self.bits_KD)).tolist())):
            bits_S = self.bits_KD[bucket][self.bits_KD[bucket] > 0].cpu()
            numbers_RS = self.embedding.weight[rows_R[every(len(rows_R))], : len(bits_S)].cpu()
            self.scale_KD[bucket, : len(bits_S)] = scale_of(fit_scales(numbers_RS, bits_S)).to(self.scale_KD)

    def forward(self, rows_M: Tensor) -> Tensor:
        """Masked vectors as codes give them, [M, D]."""
        if self.training:
            self.steps += 1
            if int(self.steps) % REFIT_STEPS == 0:
                self.fit()
        vectors_MD, bucket_M = super().forward(rows_M), self.bucket_V[rows_M]
        coded_MD = nearest(vectors_MD.detach(), self.scale_KD[bucket_M], self.bits_KD[bucket_M])
        return vectors_MD + (coded_MD - vectors_MD).detach() if torch.is_grad_enabled() else coded_MD


def as_served(embedding: nn.Embedding, layout: Layout) -> MaskedEmbedding:
    """What a table of this layout is trained with: masked, and coded where numbers are stored as codes."""
    if int(layout.bits_KD.max()) > MOST_BITS:
        return MaskedEmbedding(embedding, layout.sizes_V)
    coded = CodedEmbedding(embedding, layout)
    coded.fit()
    return coded
