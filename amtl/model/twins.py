"""The Adaptively-Masked Twins-based Layer: how many leading dimensions a value deserves, read from its frequency.

Source: Yan et al., "Learning Effective and Efficient Embedding via an Adaptively-Masked Twins-based Layer" (CIKM 2021,
arXiv 2108.11513). For a value i with frequency vector s_i and frequency value q_i (a count):

    alpha_i = sigmoid(norm(q_i))                                     norm: z-score of the log count within the field
    h_i     = alpha_i * hAML(s_i) + (1 - alpha_i) * lAML(s_i)        two MLPs, no shared weights
    that_i  = softmax(h_i / T)                                       over the size options 1 ... D
    t_i     = one_hot(argmax that_i)
    ttilde  = that_i + stop_gradient(t_i - that_i)                   straight-through: hard forward, soft backward
    m_i     = ttilde M                                               M[j, p] = 1 where p <= j: k ones, then zeros
    e_i     = e_i * m_i

The paper leaves norm() open (`norm`). On raw counts alpha is about 0.5 for 99% of a Zipf field's values and the twins collapse into
one averaged MLP, so counts enter as logarithms by default. Values of one field with (nearly) equal counts form a group and share
their frequency vector, so masks are computed once a group and step, never per looked-up value.

Shapes: V values (rows of the table), F fields, G = F * N groups (N a field), S features, D dimensions, O size options.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from amtl.model.frequency import Groups, Norm, group_by_frequency


class FieldwiseMLP(nn.Module):
    """One MLP a field, evaluated for all fields at once: [F, N, inputs] -> [F, N, outputs]. ReLU between layers."""

    def __init__(self, fields: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in pairwise(widths):
            bound = 1 / math.sqrt(inputs)
            self.weights.append(nn.Parameter(torch.empty(fields, inputs, outputs).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(fields, 1, outputs).uniform_(-bound, bound)))

    def forward(self, x_FNS: Tensor) -> Tensor:
        """Outputs of the last layer, without an activation."""
        for index, (weight_FIO, bias_F1O) in enumerate(zip(self.weights, self.biases, strict=True)):
            x_FNS = torch.baddbmm(bias_F1O, x_FNS if index == 0 else torch.relu(x_FNS), weight_FIO)
        return x_FNS


class AdaptivelyMaskedTwins(nn.Module):
    """AMTL as published: put it behind any `nn.Embedding`.

        embedding = nn.Embedding(len(counts), 64)
        layer = AdaptivelyMaskedTwins(counts, dim=64)
        masked = layer(embedding(ids), ids)          # same shape as embedding(ids); each row k numbers, then zeros
        sizes = layer.sizes()                        # k for every value, int64 [V]

    Args:
        counts_V: training occurrences of each value, [V].
        dim: D, the embedding's width.
        field_V: field of each value, int64 [V]; None: one field.
        hidden: widths of the twins' hidden layers.
        groups: most groups a field (see `group_by_frequency`).
        temperature: T > 0 of the softmax.
        full_bias: initial bias of the option D, so that training starts from (nearly) full sizes; 0 for flat logits.
        norm: what is z-scored in alpha: the logarithm of the count, the count itself (`raw`) or its rank.
        single: one MLP in place of the twins, the ablation of the paper; alpha is then not used.
        grouped: ready groups of the values, where not frequency alone decides them; `groups` and `norm` are then ignored.
    """

    def __init__(
        self,
        counts_V: Tensor,
        dim: int,
        field_V: Tensor | None = None,
        *,
        hidden: Sequence[int] = (64, 32),
        groups: int = 64,
        temperature: float = 1.0,
        full_bias: float = 3.0,
        norm: Norm = "log",
        single: bool = False,
        grouped: Groups | None = None,
    ) -> None:
        super().__init__()
        if len(counts_V) == 0 or bool((counts_V < 0).any()):
            raise ValueError("counts must hold one non-negative count for every value of the table")
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        field_V = torch.zeros(len(counts_V), dtype=torch.int64) if field_V is None else field_V
        grouped = grouped or group_by_frequency(counts_V, field_V, groups, norm)
        self.dim, self.temperature, self.fields = dim, temperature, grouped.fields
        self.register_buffer("group_V", grouped.group_V)
        self.register_buffer("features_FNS", grouped.features_GS.view(grouped.fields, -1, grouped.features_GS.shape[1]))
        self.register_buffer("alpha_FN1", grouped.alpha_G.view(grouped.fields, -1, 1))
        self.register_buffer("values_G", grouped.values_G)
        self.register_buffer("option_O", self._options())
        self.register_buffer("triangle_OD", (torch.arange(dim) < self.option_O.unsqueeze(1)).float())
        widths = [grouped.features_GS.shape[1], *hidden, self._outputs()]
        self.high = FieldwiseMLP(grouped.fields, widths)
        self.low = None if single else FieldwiseMLP(grouped.fields, widths)
        for twin in filter(None, (self.high, self.low)):
            self._initialise(twin, full_bias)

    group_V: Tensor
    features_FNS: Tensor
    alpha_FN1: Tensor
    values_G: Tensor
    option_O: Tensor
    triangle_OD: Tensor

    def _options(self) -> Tensor:
        return torch.arange(1, self.dim + 1)

    def _outputs(self) -> int:
        return self.dim

    def _initialise(self, twin: FieldwiseMLP, full_bias: float) -> None:
        with torch.no_grad():
            twin.biases[-1][..., -1] = full_bias

    def blended_GX(self) -> Tensor:
        """The blend alpha * hAML(s) + (1 - alpha) * lAML(s) for every group; of a single MLP, its output."""
        if self.low is None:
            return self.high(self.features_FNS).flatten(0, 1)
        blended = self.alpha_FN1 * self.high(self.features_FNS) + (1 - self.alpha_FN1) * self.low(self.features_FNS)
        return blended.flatten(0, 1)

    def logits_GO(self) -> Tensor:
        """One logit for every group and size option."""
        return self.blended_GX()

    def choices_GO(self) -> Tensor:
        """Soft choice of each group over the size options: softmax(logits / T)."""
        return torch.softmax(self.logits_GO() / self.temperature, dim=1)

    def masks_GD(self) -> Tensor:
        """Mask of every group: exactly k ones, then zeros; gradients flow through the softmax (straight-through)."""
        soft_GO = self.choices_GO()
        hard_GO = torch.nn.functional.one_hot(soft_GO.argmax(dim=1), len(self.option_O)).to(soft_GO)
        through_GO = hard_GO if not torch.is_grad_enabled() else soft_GO + (hard_GO - soft_GO).detach()
        mask_GD = through_GO @ self.triangle_OD
        return mask_GD + (mask_GD.round() - mask_GD).detach()  # soft + (hard - soft) is hard only up to rounding

    def forward(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """Cut each vector to its value's size.

        Args:
            vectors: [..., D], the embedding's output.
            ids: [...], the values looked up, each in 0 ... V - 1.
        """
        return vectors * nn.functional.embedding(self.group_V[ids], self.masks_GD())

    @torch.no_grad()
    def group_sizes(self) -> Tensor:
        """Chosen size of every group, int64 [G]."""
        return self.option_O[self.choices_GO().argmax(dim=1)]

    def sizes(self) -> Tensor:
        """Chosen size of every value, int64 [V]."""
        return self.group_sizes()[self.group_V]

    def expected_share(self) -> Tensor:
        """Differentiable share of the table's numbers that is kept: sum of expected sizes over V * D."""
        expected_G = self.choices_GO() @ self.option_O.to(self.alpha_FN1)
        return (expected_G * self.values_G).sum() / (self.values_G.sum() * self.dim)


class OrderedTwins(AdaptivelyMaskedTwins):
    """The twins with an ordered head, for searches under a budget.

    The published softmax over unordered sizes collapses under a size penalty: whole groups jump at once, four to nine
    sizes remain. Here the twins give one number a group, a wanted size mu, and

        logit(t) = -(t - mu)^2 / (2 sigma^2)        for t = 0 ... D,    mu = D * sigmoid(blend)

    with the same straight-through mask. Size 0 (the value is dropped) is allowed: budgets below 1/D need it.
    """

    def _options(self) -> Tensor:
        return torch.arange(self.dim + 1)

    def _outputs(self) -> int:
        return 1

    def wanted_sizes_G(self) -> Tensor:
        """mu: the size that each group wants, a real number in (0, D)."""
        return self.dim * torch.sigmoid(self.blended_GX().squeeze(1))

    def logits_GO(self) -> Tensor:
        """The Gaussian bump around the wanted size."""
        sigma = max(1.0, self.dim / 16)
        return -((self.option_O - self.wanted_sizes_G().unsqueeze(1)) ** 2) / (2 * sigma**2)
