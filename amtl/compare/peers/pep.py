"""Learned thresholds: plug-in embedding pruning (Liu et al. 2021, arXiv 2101.07577).

Every number v of the table has a threshold s of its own (the paper's finest grain) and is read as sign(v) relu(|v| - sigmoid(s)),
its equation 5. Both are trained together until the numbers that are left are within the budget; the model is then trained anew from
its initial weights with the others held at zero (the paper's section 3.4, after the lottery ticket hypothesis).

Deviations: in the released code the thresholds rise because Adam's weight decay pulls s from its start below zero towards zero, at
about one learning rate a step, over hundreds of epochs; here they rise by as much a step as leads them to zero within
`SEARCH_EPOCHS`. Where the last step leaves more or less than the budget, all thresholds are shifted by one constant until it is met.

Shapes: V rows, D dimensions, M looked-up values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amtl.compare.peers.sparse import SparseEmbedding, kept_within, sparse_bytes
from amtl.compare.task import Contender, Task

START = -8.0
"""Of s: a threshold of 0.0003, far below any number that matters; the paper starts at -15 and waits longer."""

SEARCH_EPOCHS = 10
"""At most, and at most as many as the full training has; fewer cut the table before its numbers mean anything."""

CHECKS = 50
"""How often an epoch the bytes are counted."""


class SoftThresholdEmbedding(nn.Module):
    """A table whose numbers shrink by a learned threshold each."""

    def __init__(self, embedding: nn.Embedding, start: float) -> None:
        super().__init__()
        self.embedding = embedding
        self.thresholds = nn.Embedding(embedding.num_embeddings, embedding.embedding_dim, sparse=True)
        nn.init.constant_(self.thresholds.weight, start)

    def forward(self, rows_M: Tensor) -> Tensor:
        """Shrunken vectors [M, D]."""
        values_MD = self.embedding(rows_M)
        return torch.sign(values_MD) * torch.relu(values_MD.abs() - torch.sigmoid(self.thresholds(rows_M)))

    @torch.no_grad()
    def margins_VD(self) -> Tensor:
        """How far s could rise before each number is 0; negative where it already is 0."""
        return torch.logit(self.embedding.weight.abs().double(), eps=1e-12) - self.thresholds.weight.double()


def pep(task: Task, budget: int, precision: str) -> Contender:
    """Numbers found by learned thresholds, trained from their initial values.

    Raises:
        BudgetError: a table of no number at all is over the budget.
    """
    rows_F = list(task.vocabulary.sizes.values())
    margins_VD, steps = search(task, budget, precision)
    kept_VD = kept_within(margins_VD, rows_F, budget, precision, "pep")
    model = task.fresh()
    lookup = model.embedder.lookup = SparseEmbedding(model.embedding, kept_VD)
    task.train(model, distilled=True)
    lookup.store(rows_F, precision)
    details = {"kept": float(kept_VD.float().mean()), "search_steps": steps}
    return Contender(model, sparse_bytes(kept_VD, rows_F, precision), details)


def search(task: Task, budget: int, precision: str) -> tuple[Tensor, int]:
    """Train table and thresholds until the numbers left are within the budget, or `SEARCH_EPOCHS` are over.

    Returns:
        Margins [V, D] on the CPU, and the steps it took.
    """
    rows_F, fit = list(task.vocabulary.sizes.values()), task.full_fit
    model = task.fresh()
    lookup = model.embedder.lookup = SoftThresholdEmbedding(model.embedding, START)
    trainer = task.trainer(model, fit, distilled=False)
    an_epoch = -(-len(task.training_rows) // fit.batch_size)
    epochs = min(SEARCH_EPOCHS, fit.epochs)
    rise, taken = -START / (epochs * an_epoch), 0
    for epoch in range(epochs):
        for batch in task.training_rows.shuffled(fit.batch_size, fit.seed, epoch):
            trainer.step(batch.to(task.device))
            with torch.no_grad():
                lookup.thresholds.weight += rise
            taken += 1
            if taken % max(an_epoch // CHECKS, 1) == 0 and sparse_bytes(lookup.margins_VD() > 0, rows_F, precision) <= budget:
                return lookup.margins_VD().cpu(), taken
    return lookup.margins_VD().cpu(), taken
