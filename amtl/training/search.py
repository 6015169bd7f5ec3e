"""Sizes for values: learned under a budget (a ladder of them in one run), or jointly with the model as published.

Budget mode freezes the trained, rotated model and trains only the twins with the ordered head. The loss is the
cross-entropy under the masks plus `pressure * log(kept share)`; a proportional-integral controller sets the pressure so
that the kept share follows a target that falls from 1 through the rungs of the ladder. At the end of each rung the wanted
size of every group is recorded: that is the front, and any budget between two rungs is an interpolation.

Shapes: R rungs, G groups, V rows, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from amtl.data.batches import Batch
from amtl.errors import ArtifactError
from amtl.files import publish
from amtl.model.ctr_model import CTRModel
from amtl.model.masked_embedding import TwinsEmbedding
from amtl.model.twins import AdaptivelyMaskedTwins, OrderedTwins
from amtl.params import SearchParams

PROPORTIONAL, INTEGRAL = 0.3, 0.02
RAMP = 0.6  # share of a rung's steps in which the target falls; then it holds


@dataclass(frozen=True)
class Front:
    """What a search found.

    Attributes:
        share_R: kept share of each rung, falling. wanted_RG: real-valued size of each group at each rung.
        group_V: group of each table row. values_G: rows in each group.
        dim: D.
    """

    share_R: Tensor
    wanted_RG: Tensor
    group_V: Tensor
    values_G: Tensor
    dim: int

    def write(self, path: Path) -> None:
        """Write as safetensors."""
        tensors = {
            "share_R": self.share_R,
            "wanted_RG": self.wanted_RG,
            "group_V": self.group_V,
            "values_G": self.values_G,
            "dim": torch.tensor(self.dim),
        }
        publish(path, lambda temporary: save_file(tensors, temporary))

    @classmethod
    def read(cls, path: Path) -> Front:
        """Read what `write` wrote.

        Raises:
            ArtifactError: the file is missing or damaged.
        """
        try:
            tensors = load_file(path)
            return cls(**{**tensors, "dim": int(tensors["dim"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} cannot be read as a search result ({error}); rerun: dvc repro search") from None


def search_under_budget(
    model: CTRModel,
    train: Batch,
    counts_V: Tensor,
    field_V: Tensor,
    settings: SearchParams,
    batch_size: int,
    seed: int,
    device: torch.device,
    log: Callable[[str], None],
) -> Front:
    """Find the front of a trained model; its weights and its lookup are left as they were."""
    torch.manual_seed(seed)
    twins = OrderedTwins(
        counts_V, model.config.dim, field_V, hidden=settings.hidden, groups=settings.buckets, temperature=settings.temperature
    )
    embedding = model.embedding
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trainable:
        weight.requires_grad_(False)
    model.embedder.lookup = TwinsEmbedding(embedding, twins)
    model.to(device).eval()
    try:
        rungs = list(_descend(model, twins, train, settings, batch_size, seed, device, log))
    finally:
        model.embedder.lookup = embedding
        for weight in trainable:
            weight.requires_grad_(True)
    wanted_RG = torch.stack(rungs)
    return Front(torch.tensor(settings.ladder), wanted_RG, twins.group_V.cpu(), twins.values_G.cpu(), model.config.dim)


def _descend(
    model: CTRModel,
    twins: OrderedTwins,
    train: Batch,
    settings: SearchParams,
    batch_size: int,
    seed: int,
    device: torch.device,
    log: Callable[[str], None],
) -> Iterator[Tensor]:
    """Train the twins down the ladder; yields the wanted sizes at the end of each rung."""
    optimizer = torch.optim.Adam(twins.parameters(), lr=settings.learning_rate)
    batches = _endless(train, batch_size, seed)
    steps = max(1, math.ceil(settings.rows * settings.epochs / batch_size / len(settings.ladder)))
    controller = _Controller()
    previous = kept_share(twins)
    for share in settings.ladder:
        for step in range(steps):
            reached = min(1.0, (step + 1) / (RAMP * steps))
            target = previous ** (1 - reached) * share**reached
            batch = next(batches).to(device)
            pressure = controller.pressure(math.log(max(kept_share(twins), 1e-6) / target))
            loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch.labels_B)
            optimizer.zero_grad(set_to_none=True)
            (loss + pressure * torch.log(twins.expected_share())).backward()
            optimizer.step()
        previous = share
        sizes_G = twins.group_sizes()[twins.values_G > 0]
        log(f"rung {share:.0%}: kept {kept_share(twins):.1%}, {len(sizes_G.unique())} sizes, cross-entropy {float(loss.detach()):.4f}")
        yield twins.wanted_sizes_G().detach().cpu().clone()


class _Controller:
    """Proportional-integral: pressure from the error of the log kept share; never negative."""

    def __init__(self) -> None:
        self.integral = 0.0

    def pressure(self, error: float) -> float:
        self.integral = max(0.0, self.integral + INTEGRAL * error)
        return max(0.0, PROPORTIONAL * error + self.integral)


def kept_share(twins: AdaptivelyMaskedTwins) -> float:
    """Share of the table's numbers that the chosen sizes keep."""
    return float((twins.group_sizes() * twins.values_G).sum() / (twins.values_G.sum() * twins.dim))


def _endless(train: Batch, batch_size: int, seed: int) -> Iterator[Batch]:
    for epoch in count():
        yield from train.shuffled(batch_size, seed, epoch)


def put_layer_behind(model: CTRModel, counts_V: Tensor, field_V: Tensor, settings: SearchParams, seed: int) -> AdaptivelyMaskedTwins:
    """Put the layer as published behind the model's table (`paper` mode); train the model then as usual."""
    torch.manual_seed(seed)
    twins = AdaptivelyMaskedTwins(
        counts_V, model.config.dim, field_V, hidden=settings.hidden, groups=settings.buckets, temperature=settings.temperature
    )
    model.embedder.lookup = TwinsEmbedding(model.embedding, twins)
    return twins


def describe_sizes(sizes_V: Tensor, dim: int) -> dict[str, Any]:
    """Summary of a choice of sizes: mean, distinct count, kept share, histogram."""
    histogram = torch.bincount(sizes_V, minlength=dim + 1).tolist()
    return {
        "mean_size": float(sizes_V.double().mean()),
        "distinct_sizes": int((torch.tensor(histogram) > 0).sum()),
        "kept_share": float(sizes_V.double().mean() / dim),
        "histogram": {str(size): values for size, values in enumerate(histogram) if values},
    }
