"""Models as users bring them, and their batches: plain torch, nothing of amtl's."""

from __future__ import annotations

from unittest import mock

import torch
from torch import Tensor, nn

USERS, ITEMS, TAGS = 400, 150, 60


class TwoTables(nn.Module):
    """Users and items of different widths, a linear weight a user, and a bag of tags: the logit of a click."""

    def __init__(self, mode: str = "mean", width: int = 12) -> None:
        super().__init__()
        self.user = nn.Embedding(USERS, width)
        self.item = nn.Embedding(ITEMS, 6)
        self.weight = nn.Embedding(USERS, 1)
        self.tags = nn.EmbeddingBag(TAGS, 5, mode=mode, padding_idx=0)
        self.net = nn.Sequential(nn.Linear(width + 6 + 5, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))

    def forward(self, user_B: Tensor, item_B: Tensor, tags_BT: Tensor) -> Tensor:
        """Logits [B]."""
        vectors = torch.cat([self.user(user_B), self.item(item_B), self.tags(tags_BT)], dim=1)
        return (self.net(vectors) + self.weight(user_B)).squeeze(1)


def events(count: int = 600, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Users, items, four tags (0 is none) and a click, for each event; low numbers are frequent."""
    generator = torch.Generator().manual_seed(seed)

    def skewed(values: int, *shape: int) -> Tensor:
        return (torch.rand(count, *shape, generator=generator) ** 3 * values).long()

    clicks = torch.randint(2, (count,), generator=generator).float()
    return skewed(USERS), skewed(ITEMS), skewed(TAGS, 4), clicks


def batches(size: int = 150, **options: int) -> list[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
    """The events as ((user, item, tags), click)."""
    columns = [column.split(size) for column in events(**options)]
    return [((user, item, tags), click) for user, item, tags, click in zip(*columns, strict=True)]


def two_tables(mode: str = "mean") -> TwoTables:
    """The model with weights that matter, in training mode."""
    torch.manual_seed(3)
    return TwoTables(mode)


def predicted(model: nn.Module, **options: int) -> Tensor:
    """Logits of all events."""
    training = model.training
    with torch.no_grad():
        logits = model.eval()(*events(**options)[:3])
    model.train(training)
    return logits


def import_deepctr() -> None:
    """Import deepctr-torch, which asks PyPI for a newer version in a thread that it starts: without that thread."""
    import sklearn.metrics  # noqa: F401 - may start threads of its own
    import tqdm  # noqa: F401

    with mock.patch("threading.Thread.start"):
        import deepctr_torch  # noqa: F401
