"""Widths by a rule on cardinality: mixed dimension embeddings (Ginart et al. 2019, arXiv 1909.11810).

Field f with n_f values has the width d_f = base (n_min / n_f)^alpha, at least 1 (the paper's algorithm with p_f = 1 / n_f; the
base goes to the smallest field), and a linear projection without bias from d_f to the base where it is narrower. The base, at
which the model is built, is the largest within the budget at the paper's temperature; where even the full width leaves bytes
unused, the temperature falls to the lowest at which it fits.

Deviations: blocks are whole fields (the paper's popularity blocks within a field are left out, as in its released code for
click models). Widths are not rounded to powers of two. Initial numbers are normal like those of all other tables here,
projections Xavier-uniform as in the released code.

Shapes: F fields, N values of one field, D dimensions.
"""

from __future__ import annotations

from torch import Tensor, nn

from amtl.compare.peers.blocks import BlockEmbedding
from amtl.compare.peers.storage import largest_within, linear_bytes, store_by_field, store_linear, stored_bytes
from amtl.compare.task import Contender, Task

ALPHA = 0.3
"""Temperature; the paper's recommendation."""
COOLER = [step / 100 for step in range(30)]
"""Lower temperatures, from equal widths on."""


def widths_at(rows_F: list[int], base: int, alpha: float) -> list[int]:
    """Width of each field where the smallest field has the width `base`."""
    return [max(1, round(base * (min(rows_F) / rows) ** alpha)) for rows in rows_F]


def mixed_bytes(rows_F: list[int], widths_F: list[int], base: int, precision: str) -> int:
    """Bytes of all tables and projections."""
    tables = sum(stored_bytes(rows, width, precision) for rows, width in zip(rows_F, widths_F, strict=True))
    return tables + sum(linear_bytes(width, base, False, precision) for width in widths_F if width < base)


def fitted(rows_F: list[int], dim: int, budget: int, precision: str) -> tuple[int, float]:
    """The base, at most D, and the temperature that use a budget best.

    Raises:
        BudgetError: width 1 everywhere is over the budget.
    """

    def total(base: int, alpha: float) -> int:
        return mixed_bytes(rows_F, widths_at(rows_F, base, alpha), base, precision)

    base = largest_within(budget, dim, lambda base: total(base, ALPHA), "mde")
    lowest = next((alpha for alpha in COOLER if total(dim, alpha) <= budget), ALPHA) if base == dim else ALPHA
    return base, lowest


class Projected(nn.Module):
    """A field's table, and its projection to the base if it is narrower."""

    def __init__(self, rows: int, width: int, base: int, init_std: float) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, width, sparse=True)
        nn.init.normal_(self.table.weight, 0, init_std)
        self.projection = nn.Linear(width, base, bias=False) if width < base else None
        if self.projection is not None:
            nn.init.xavier_uniform_(self.projection.weight)

    def forward(self, places_N: Tensor) -> Tensor:
        """Vectors [N, base]."""
        vectors_ND: Tensor = self.table(places_N)
        return vectors_ND if self.projection is None else self.projection(vectors_ND)

    def store(self, precision: str) -> None:
        """Replace table and projection by what is read back from a file."""
        store_by_field(self.table.weight, [self.table.num_embeddings], precision)
        if self.projection is not None:
            store_linear(self.projection, precision)


def mde(task: Task, budget: int, precision: str) -> Contender:
    """Mixed dimensions, trained like all others.

    Raises:
        BudgetError: width 1 everywhere is over the budget.
    """
    rows_F = list(task.vocabulary.sizes.values())
    base, alpha = fitted(rows_F, task.config.dim, budget, precision)
    widths_F = widths_at(rows_F, base, alpha)
    model = task.fresh(base)
    parts = [Projected(rows, width, base, task.settings.train.init_std) for rows, width in zip(rows_F, widths_F, strict=True)]
    model.embedder.lookup = BlockEmbedding(task.field_V, parts, base)
    task.train(model, distilled=True)
    for part in parts:
        part.store(precision)
    widths = dict(zip(task.vocabulary.sizes, widths_F, strict=True))
    return Contender(model, mixed_bytes(rows_F, widths_F, base, precision), {"alpha": alpha, "base": base, "widths": widths})
