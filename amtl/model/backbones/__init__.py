"""What turns field vectors and numbers into a logit: one module a backbone, all over the same seam.

A backbone is built from a `Shape`. It has
    forward(vectors_BFD, numbers_BK) -> logits [B];
    inputs(fields, numbers): what the input columns of each of its parts mean, for warm starts;
    rescale(scale, shift): fold a calibration of the logit into its last layer;
    absorb(basis_FDD): fold a rotation of each field's vectors into its first layers if that is exact, and say whether it was.
"""

from amtl.model.backbones.dlrm import DLRMBackbone
from amtl.model.backbones.mlp import MLPBackbone
from amtl.model.backbones.parts import InputColumn, Shape, perceptron

__all__ = ["BACKBONES", "Backbone", "DLRMBackbone", "InputColumn", "MLPBackbone", "Shape", "perceptron"]

Backbone = MLPBackbone | DLRMBackbone
BACKBONES: dict[str, type[Backbone]] = {"mlp": MLPBackbone, "dlrm": DLRMBackbone}
