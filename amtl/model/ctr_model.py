"""The whole model: field embedder and backbone, built from settings or from what a bundle's manifest says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from amtl.data.batches import Batch
from amtl.model.backbones import Shape, build_backbone
from amtl.model.masked_embedding import FieldEmbedder
from amtl.params import EventsParams, TrainParams

TABLE = "embedder.lookup.weight"  # name of the full-width table among the weights


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Shape):
    """What the shape of a model depends on, besides the table's rows."""

    backbone: str

    @classmethod
    def of(cls, events: EventsParams, train: TrainParams) -> ModelConfig:
        """The configuration that params.yaml asks for."""
        return cls(
            backbone=train.backbone,
            dim=train.dim,
            fields=len(events.embedded),
            numbers=len(events.numbers),
            hidden=train.hidden,
            dropout=train.dropout,
            batch_norm=train.batch_norm,
            cross_layers=train.cross_layers,
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_json`."""
        return cls(**{**raw, "hidden": tuple(raw["hidden"])})


class CTRModel(nn.Module):
    """Events to logits: `embedder` looks up and pools, `backbone` scores."""

    def __init__(self, config: ModelConfig, lookup: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.embedder = FieldEmbedder(lookup)
        self.backbone = build_backbone(config.backbone, config)

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B]."""
        logits: Tensor = self.backbone(self.embedder(batch), batch.numbers_BK)
        return logits

    @property
    def embedding(self) -> nn.Embedding:
        """The full-width table behind the lookup."""
        lookup = self.embedder.lookup
        found = lookup if isinstance(lookup, nn.Embedding) else getattr(lookup, "embedding", None)
        if not isinstance(found, nn.Embedding):
            raise TypeError(f"{type(lookup).__name__} holds no full-width table")
        return found


def build(config: ModelConfig, rows: int, init_std: float, sparse: bool = True) -> CTRModel:
    """A fresh full-width model; initial values depend on torch's global seed."""
    embedding = nn.Embedding(rows, config.dim, sparse=sparse)
    with torch.no_grad():
        embedding.weight.normal_(0, init_std)
    return CTRModel(config, embedding)


def restore(config: ModelConfig, weights: dict[str, Tensor]) -> CTRModel:
    """The full-width model that `weights_of` described, a stored rotation included.

    Raises:
        ValueError: the weights are not those of such a model.
    """
    if TABLE not in weights:
        raise ValueError("the weights hold no table")
    model = build(config, len(weights[TABLE]), init_std=1.0)
    model.embedder.register_buffer("basis_FDD", weights.get("embedder.basis_FDD"))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return model


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Every weight and buffer, detached, on the CPU, contiguous: what goes into a safetensors file."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
