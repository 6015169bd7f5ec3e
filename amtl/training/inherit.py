"""What a backbone takes over from a parent's: layers that do the same work, and of what has labelled columns the shared ones.

A layer does the same work if the layers before it do and it is of the same kind and width; from the first difference on,
layers start fresh. Columns of inputs that the parent did not have start at zero, so the child computes what the parent did;
they learn from the first step on, since their inputs are not zero. Columns of inputs that are gone are dropped.

A perceptron's labelled columns are those of its first layer's inputs; in a cross network every layer has as outputs, too, what
the inputs mean; a factorization machine has a scale a field.

The result is applied to weights and optimizer moments alike.

Shapes: C shared columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from amtl.model.backbones import Backbone, CrossNetwork, FactorizationMachine, InputColumn


@dataclass(frozen=True)
class Labels:
    """Names of the fields and numbers that a model reads, in its order; two models mean the same by the same name."""

    fields: Sequence[Hashable]
    numbers: Sequence[Hashable]


class Shared(NamedTuple):
    """Where in a tensor shared columns lie: along which axes, and at which places of ours and the parent's, int64 [C] each."""

    axes: tuple[int, ...]
    our_C: Tensor
    their_C: Tensor


@dataclass
class Inheritance:
    """Which tensors of a backbone's `state_dict` are the parent's.

    Attributes:
        whole: tensors that are taken as they are.
        columns: tensors of which shared columns are taken; all else in them is zero.
        inputs: how many input columns of all parts are "carried", "new" and "dropped": carried + new = ours,
            carried + dropped = the parent's.
        layers: how many of our linear layers are "carried" and "new".
    """

    whole: list[str] = field(default_factory=list)
    columns: dict[str, Shared] = field(default_factory=dict)
    inputs: Counter[str] = field(default_factory=lambda: Counter(carried=0, new=0, dropped=0))
    layers: Counter[str] = field(default_factory=lambda: Counter(carried=0, new=0))

    @property
    def names(self) -> list[str]:
        """Tensors of which anything is taken."""
        return [*self.whole, *self.columns]

    @property
    def complete(self) -> bool:
        """Whether the backbone is the parent's in everything."""
        return not (self.inputs["new"] or self.inputs["dropped"] or self.layers["new"])

    def taken(self, name: str, ours: Tensor, theirs: Tensor) -> Tensor:
        """What becomes of a tensor in `names`, or of a moment of it: shaped like `ours`, filled from the parent's."""
        if name in self.whole:
            return theirs.clone()
        axes, our_C, their_C = self.columns[name]
        taken = torch.zeros_like(ours)
        taken[_along(axes, our_C)] = theirs[_along(axes, their_C)]
        return taken


def _along(axes: tuple[int, ...], places_C: Tensor) -> tuple[slice | Tensor, ...]:
    """The index of the given places along one axis, or of all pairs of them along the axes 0 and 1."""
    if axes == (0, 1):
        return places_C.unsqueeze(1), places_C
    return (places_C,) if axes == (0,) else (slice(None), places_C)


def inherit(ours: Backbone, our_labels: Labels, theirs: Backbone, their_labels: Labels) -> Inheritance:
    """What `ours` can take from `theirs`, a backbone of any shape (its weights are not read: it may lie on the device meta)."""
    our_inputs = ours.inputs(our_labels.fields, our_labels.numbers)
    their_inputs = theirs.inputs(their_labels.fields, their_labels.numbers)
    found, fresh = Inheritance(), set[Hashable]()
    for part, columns in our_inputs.items():  # in the order of the data: whether `bottom` is the parent's decides of columns of `top`
        pieces, known = _pieces(getattr(ours, part)), their_inputs.get(part, [])
        their_pieces = _pieces(getattr(theirs, part)) if known else []
        shared = _shared(columns, known, fresh)
        alike = _alike(pieces, their_pieces) if shared else 0
        if alike:
            _take(found, part, pieces[:alike], shared)
        if not alike == len(pieces) == len(their_pieces):
            fresh.add(part)
        carried = len(shared) if alike else 0
        linear = _linear(pieces[:alike])
        found.inputs.update(carried=carried, new=len(columns) - carried, dropped=len(known) - carried)
        found.layers.update(carried=linear, new=_linear(pieces) - linear)
    found.inputs["dropped"] += sum(len(columns) for part, columns in their_inputs.items() if part not in our_inputs)
    return found


class _Piece(NamedTuple):
    """A step of a part: its name within the part, and the axes of its tensors that run over the part's input columns."""

    prefix: str
    module: nn.Module
    labelled: dict[str, tuple[int, ...]]

    def unlabelled_shapes(self) -> dict[str, list[int]]:
        """Its tensors' shapes without the labelled axes."""
        return {
            name: [length for axis, length in enumerate(tensor.shape) if axis not in self.labelled.get(name, ())]
            for name, tensor in self.module.state_dict().items()
        }


def _pieces(part: nn.Module) -> list[_Piece]:
    """The steps of a part, in the order of the data."""
    if isinstance(part, FactorizationMachine):
        return [_Piece("", part, {"scale_F": (0,)})]
    if isinstance(part, CrossNetwork):
        return [_Piece(f"{place}.", layer, {"weight": (0, 1), "bias": (0,)}) for place, layer in enumerate(part)]
    assert isinstance(part, nn.Sequential)
    return [_Piece(f"{place}.", layer, {} if place else {"weight": (1,)}) for place, layer in enumerate(part)]


def _shared(ours: Sequence[InputColumn], theirs: Sequence[InputColumn], fresh: set[Hashable]) -> list[tuple[int, int]]:
    """(our, their) positions of the columns that mean the same; outputs of parts that are not the parent's mean nothing it knew."""
    position = {column: place for place, column in enumerate(theirs)}
    return [(place, position[column]) for place, column in enumerate(ours) if column in position and not column.sources & fresh]


def _alike(ours: Sequence[_Piece], theirs: Sequence[_Piece]) -> int:
    """How many pieces from the start are of the same kind and width."""
    count = 0
    for own, other in zip(ours, theirs, strict=False):
        if type(own.module) is not type(other.module) or own.unlabelled_shapes() != other.unlabelled_shapes():
            break
        count += 1
    return count


def _take(found: Inheritance, part: str, pieces: Sequence[_Piece], shared: list[tuple[int, int]]) -> None:
    """Note the tensors of these pieces as taken, the labelled ones in their shared columns."""
    our_C, their_C = torch.tensor(shared).unbind(1)
    for piece in pieces:
        for name in piece.module.state_dict():
            whole_name = f"{part}.{piece.prefix}{name}"
            if name in piece.labelled:
                found.columns[whole_name] = Shared(piece.labelled[name], our_C, their_C)
            else:
                found.whole.append(whole_name)


def _linear(pieces: Sequence[_Piece]) -> int:
    return sum(isinstance(piece.module, nn.Linear) for piece in pieces)
