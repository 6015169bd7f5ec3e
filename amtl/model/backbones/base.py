"""The seam that backbones stand on: what they are built from, what they answer, and what their input columns mean.

By the meaning of columns the ones that two models share can be told from the others, whatever the order of fields: a warm
start carries these (`amtl/training/inherit.py`).

Shapes: B events, F fields, D dimensions, K numeric fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from amtl.params import MOST_CROSS_LAYERS


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the shape of a backbone depends on.

    Attributes:
        dim: width of a field's vector.
        fields: embedded fields.
        numbers: numeric fields.
        hidden: widths of the hidden layers of its perceptron.
        dropout: after each hidden layer.
        batch_norm: in each hidden layer.
        cross_layers: of `dcnv2`; the others ignore it.

    Raises:
        ValueError: there are no or too many cross layers (a damaged file may ask for any number).
    """

    dim: int
    fields: int
    numbers: int
    hidden: tuple[int, ...]
    dropout: float
    batch_norm: bool
    cross_layers: int

    def __post_init__(self) -> None:
        if type(self.cross_layers) is not int or not 1 <= self.cross_layers <= MOST_CROSS_LAYERS:
            raise ValueError(f"cross_layers must be a whole number from 1 to {MOST_CROSS_LAYERS}")

    @property
    def inputs(self) -> int:
        """Columns of all field vectors and numbers side by side."""
        return self.fields * self.dim + self.numbers


class InputColumn(NamedTuple):
    """What an input column of a part of a backbone means.

    Attributes:
        sources: a field, a number or (by its name) another part whose output it is. Two of them: their dot product, or what a
            part makes of a field or number.
        dimension: of the source's vector; 0 for numbers and dot products.
    """

    sources: frozenset[Hashable]
    dimension: int


def vector_columns(sources: Sequence[Hashable], dim: int) -> list[InputColumn]:
    """The columns of vectors side by side."""
    return [InputColumn(frozenset({source}), dimension) for source in sources for dimension in range(dim)]


class Backbone(nn.Module, ABC):
    """Field vectors and numbers to a logit.

    Its *parts* are child modules whose input columns have a meaning: perceptrons (`nn.Sequential`), `FactorizationMachine`s
    and `CrossNetwork`s, in the order of the data. A part's later layers work on what its earlier ones made.
    """

    @abstractmethod
    def forward(self, vectors_BFD: Tensor, numbers_BK: Tensor) -> Tensor:
        """Logits [B]."""

    @abstractmethod
    def inputs(self, fields: Sequence[Hashable], numbers: Sequence[Hashable]) -> dict[str, list[InputColumn]]:
        """The input columns of each part, for fields and numbers of these names (all different) in the model's order."""

    @abstractmethod
    def rescale(self, scale: float, shift: float) -> None:
        """Make the logit scale * logit + shift, scale > 0: fold a calibration into the last layers."""

    def absorb(self, basis_FDD: Tensor) -> bool:
        """Fold a rotation of each field's vectors into the first layers: afterwards they read z where they read z basis.

        Returns:
            Whether it was done. If not, nothing changed: interactions need all fields in one basis, in which they multiply
            dimension by dimension.
        """
        del basis_FDD
        return False
