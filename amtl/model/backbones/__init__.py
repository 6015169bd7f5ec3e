"""What turns field vectors and numbers into a logit: one module a backbone, all over the seam that `base` describes."""

from collections.abc import Callable

from amtl.model.backbones.base import Backbone, InputColumn, Shape
from amtl.model.backbones.dcnv2 import DCNv2Backbone
from amtl.model.backbones.deepfm import DeepFMBackbone
from amtl.model.backbones.dlrm import DLRMBackbone
from amtl.model.backbones.interactions import CrossNetwork, FactorizationMachine
from amtl.model.backbones.mlp import MLPBackbone
from amtl.model.backbones.perceptron import perceptron

__all__ = [
    "BACKBONES",
    "Backbone",
    "CrossNetwork",
    "DCNv2Backbone",
    "DLRMBackbone",
    "DeepFMBackbone",
    "FactorizationMachine",
    "InputColumn",
    "MLPBackbone",
    "Shape",
    "build_backbone",
    "perceptron",
]

BACKBONES: dict[str, Callable[[Shape], Backbone]] = {
    "mlp": MLPBackbone,
    "dlrm": DLRMBackbone,
    "deepfm": DeepFMBackbone,
    "dcnv2": DCNv2Backbone,
}


def build_backbone(kind: str, shape: Shape) -> Backbone:
    """A fresh backbone of a kind in `BACKBONES`; initial values depend on torch's global seed."""
    return BACKBONES[kind](shape)
