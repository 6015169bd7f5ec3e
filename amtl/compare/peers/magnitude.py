"""The numbers of the largest magnitude: unstructured pruning of the trained table (Han et al. 2015, arXiv 1506.02626).

The control's table is cut to its largest numbers, wherever they are, and fine-tuned under the mask.

Deviations: one cut and one fine-tuning, the one that all methods get, where the paper may repeat both; one threshold for the whole
table, where the paper has one a layer; other layers stay whole.

Shapes: V rows, D dimensions.
"""

from __future__ import annotations

from amtl.compare.peers.sparse import SparseEmbedding, kept_within, sparse_bytes
from amtl.compare.task import Contender, Task


def magnitude(task: Task, budget: int, precision: str) -> Contender:
    """The control, cut to its largest numbers and fine-tuned.

    Raises:
        BudgetError: a table of no number at all is over the budget.
    """
    rows_F = list(task.vocabulary.sizes.values())
    model = task.control
    kept_VD = kept_within(model.embedding.weight.detach().abs(), rows_F, budget, precision, "magnitude")
    lookup = model.embedder.lookup = SparseEmbedding(model.embedding, kept_VD)
    task.finetune(model, distilled=True)
    lookup.store(rows_F, precision)
    return Contender(model, sparse_bytes(kept_VD, rows_F, precision), {"kept": float(kept_VD.float().mean())})
