"""Widths chosen by a controller that reads popularity: AutoEmb (Zhao et al. 2021, arXiv 2002.11252).

Search: every value has a vector of each candidate width; each is brought to the full width by a linear layer, batch norm and tanh, and
a field's controller, a perceptron of the value's popularity, weighs them by a softmax. Controllers learn on validation batches,
everything else on training batches, in turns (the paper's first-order bilevel scheme), in one pass over the rows, as in its streams.

The paper stops there: its table is larger than a fixed one. To have a smaller one (deviations): every value takes one width, the
argmax of log weight - price * width, at the lowest price whose table is within the budget; the model is then trained anew with these
widths. Batch norm is folded into the linear layer in the end, which leaves tanh(W e + b).

Further deviations: popularity is the standardised log count over all training rows, not a running one, and the controller reads
nothing else (the paper adds earlier weights and losses); batch norm goes over the different values of a batch.

Shapes: V rows, F fields, D dimensions, W candidate widths, N values of one field, B blocks (field, width).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import torch
from torch import Tensor, nn

from amtl.compare.peers.blocks import BlockEmbedding
from amtl.compare.peers.storage import BOUNDARY, linear_bytes, store_by_field, store_linear, stored_bytes, too_small
from amtl.compare.task import Contender, Task
from amtl.data.batches import Batch
from amtl.data.dataset import Rows
from amtl.model.ctr_model import CTRModel

SHARES = (1 / 32, 1 / 8, 1)
"""Candidate widths as shares of the full one; the paper has 2, 16 and 128 of 128."""

CONTROLLER_WIDTH = 16
CONTROLLER_RATE = 1e-3
BISECTIONS = 50


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that takes the running statistics where a batch has a single value."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalised values [N, D]."""
        if self.training and len(input) == 1:
            return nn.functional.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class Candidate(nn.Module):
    """Vectors of one width for `rows` values, brought to D dimensions: tanh(norm(linear(vector)))."""

    def __init__(self, rows: int, width: int, dim: int, init_std: float) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, width, sparse=True)
        nn.init.normal_(self.table.weight, 0, init_std)
        self.linear = nn.Linear(width, dim)
        self.norm = BatchNorm(dim)

    def forward(self, places_N: Tensor) -> Tensor:
        """Vectors [N, D]."""
        return torch.tanh(self.norm(self.linear(self.table(places_N))))

    @torch.no_grad()
    def served(self, precision: str) -> nn.Sequential:
        """With batch norm folded into the linear layer, as it is read back from a file."""
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        scale_D = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        folded = nn.Linear(self.linear.in_features, self.linear.out_features)
        folded.weight.copy_(self.linear.weight * scale_D.unsqueeze(1))
        folded.bias.copy_((self.linear.bias - self.norm.running_mean) * scale_D + self.norm.bias)
        store_by_field(self.table.weight, [self.table.num_embeddings], precision)
        store_linear(folded, precision)
        return nn.Sequential(self.table, folded, nn.Tanh())


class SoftChoice(nn.Module):
    """A field in the search: all candidates, weighed by the controller.

    Args:
        popularity_N: of the field's values, standardised.
    """

    def __init__(self, popularity_N: Tensor, widths: Sequence[int], dim: int, init_std: float) -> None:
        super().__init__()
        self.candidates = nn.ModuleList(Candidate(len(popularity_N), width, dim, init_std) for width in widths)
        self.controller = nn.Sequential(nn.Linear(1, CONTROLLER_WIDTH), nn.Tanh(), nn.Linear(CONTROLLER_WIDTH, len(widths)))
        self.register_buffer("popularity_N1", popularity_N.float().unsqueeze(1))

    popularity_N1: Tensor

    def log_weights(self, places_N: Tensor) -> Tensor:
        """Log weights of the candidates, [N, W]."""
        return torch.log_softmax(self.controller(self.popularity_N1[places_N]), dim=1)

    def forward(self, places_N: Tensor) -> Tensor:
        """Weighed vectors [N, D]."""
        weights_NW = self.log_weights(places_N).exp()
        vectors_NWD = torch.stack([part(places_N) for part in self.candidates], dim=1)
        return torch.einsum("nw,nwd->nd", weights_NW, vectors_NWD)


def autoemb(task: Task, budget: int, precision: str) -> Contender:
    """Widths by popularity, learned softly, chosen for the budget, trained anew.

    Raises:
        BudgetError: the narrowest width everywhere is over the budget.
    """
    dim = task.config.dim
    widths = sorted({max(1, round(share * dim)) for share in SHARES})
    choice_V = chosen_widths(search(task, widths), task.field_V, widths, dim, budget, precision)
    block_V, blocks = used_blocks(task.field_V, choice_V, len(widths))
    model = task.fresh()
    parts = [Candidate(rows, widths[choice], dim, task.settings.train.init_std) for rows, choice in blocks]
    model.embedder.lookup = BlockEmbedding(block_V, parts, dim)
    task.train(model, distilled=True)
    model.embedder.lookup = BlockEmbedding(block_V, [part.served(precision) for part in parts], dim)
    shares = (torch.bincount(choice_V, minlength=len(widths)) / len(choice_V)).tolist()
    details = {"share_of_values": dict(zip(map(str, widths), shares, strict=True))}
    return Contender(model, total_bytes(task.field_V, choice_V, widths, dim, precision), details)


def search(task: Task, widths: Sequence[int]) -> Tensor:
    """One pass over the rows, weights and controllers in turns; log weights of each value's candidates, [V, W] on the CPU."""
    model, fit = task.fresh(), task.full_fit
    popularity_F = [_standardised(torch.log1p(shown_N)) for shown_N in task.shown_V.split(list(task.vocabulary.sizes.values()))]
    choices = [SoftChoice(popularity_N, widths, task.config.dim, task.settings.train.init_std) for popularity_N in popularity_F]
    model.embedder.lookup = BlockEmbedding(task.field_V, choices, task.config.dim)
    controllers = [weight for choice in choices for weight in choice.controller.parameters()]
    for weight in controllers:
        weight.requires_grad_(False)  # the trainer leaves them out
    trainer = task.trainer(model, fit, distilled=False)
    optimizer = torch.optim.Adam(controllers, CONTROLLER_RATE)
    held_out = endless(task.validation_rows, fit.batch_size, fit.seed)
    for batch in task.training_rows.shuffled(fit.batch_size, fit.seed, 0):
        trainer.step(batch.to(task.device))
        step_controllers(model, controllers, optimizer, next(held_out).to(task.device))
    with torch.no_grad():
        weights = [choice.log_weights(torch.arange(len(choice.popularity_N1), device=task.device)).cpu() for choice in choices]
    return torch.cat(weights)


def step_controllers(model: CTRModel, controllers: list[nn.Parameter], optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """One step of the controllers alone, on a validation batch."""
    for weight in controllers:
        weight.requires_grad_(True)
    loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch.labels_B)
    for weight, gradient in zip(controllers, torch.autograd.grad(loss, controllers), strict=True):
        weight.grad = gradient
    optimizer.step()
    for weight in controllers:
        weight.requires_grad_(False)


def endless(rows: Rows, size: int, seed: int) -> Iterator[Batch]:
    """Batches of one epoch after the other."""
    for epoch in count():
        yield from rows.shuffled(size, seed, epoch)


def chosen_widths(log_weights_VW: Tensor, field_V: Tensor, widths: Sequence[int], dim: int, budget: int, precision: str) -> Tensor:
    """The candidate of each value, int64 [V], at the lowest price of a dimension whose table is within the budget.

    Raises:
        BudgetError: the narrowest width everywhere is over the budget.
    """
    width_W = torch.tensor(widths, dtype=log_weights_VW.dtype)

    def choice_at(price: float) -> Tensor:
        return (log_weights_VW - price * width_W).argmax(1)

    def total(choice_V: Tensor) -> int:
        return total_bytes(field_V, choice_V, widths, dim, precision)

    if total(choice_at(0.0)) <= budget:
        return choice_at(0.0)
    narrowest_V = torch.zeros(len(field_V), dtype=torch.int64)
    if total(narrowest_V) > budget:
        raise too_small("autoemb", total(narrowest_V), budget)
    # Above this price no value takes a wider candidate than the narrowest.
    low, high = 0.0, 1.0 + float((log_weights_VW.amax(1) - log_weights_VW.amin(1)).max())
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if total(choice_at(middle)) <= budget else (middle, high)
    return choice_at(high)


def used_blocks(field_V: Tensor, choice_V: Tensor, candidates: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """Block of each value, int64 [V], and each block's (values, candidate): the pairs of field and candidate that occur."""
    used, block_V, sizes = torch.unique(field_V * candidates + choice_V, return_inverse=True, return_counts=True)
    return block_V, list(zip(sizes.tolist(), (used % candidates).tolist(), strict=True))


def total_bytes(field_V: Tensor, choice_V: Tensor, widths: Sequence[int], dim: int, precision: str) -> int:
    """Bytes of all blocks: their rows, their linear layer, a boundary."""
    _, blocks = used_blocks(field_V, choice_V, len(widths))
    return sum(
        stored_bytes(rows, widths[choice], precision) + linear_bytes(widths[choice], dim, True, precision) + BOUNDARY
        for rows, choice in blocks
    )


def _standardised(numbers_N: Tensor) -> Tensor:
    spread = numbers_N.std(correction=0)
    return (numbers_N - numbers_N.mean()) / spread.clamp(min=1e-12)
