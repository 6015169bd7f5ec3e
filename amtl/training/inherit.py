"""What a backbone takes over from a parent's: layers that do the same work, and in the first ones the columns of shared inputs.

A layer does the same work if the layers before it do and it is of the same kind and width; from the first difference on,
layers start fresh. Columns of inputs that the parent did not have start at zero, so the child computes what the parent did;
they learn from the first step on, since their inputs are not zero. Columns of inputs that are gone are dropped.

The result is applied to weights and optimizer moments alike.

Shapes: C shared columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from amtl.model.backbones import Backbone, InputColumn


@dataclass(frozen=True)
class Labels:
    """Names of the fields and numbers that a model reads, in its order; two models mean the same by the same name."""

    fields: Sequence[Hashable]
    numbers: Sequence[Hashable]


@dataclass
class Inheritance:
    """Which tensors of a backbone's `state_dict` are the parent's.

    Attributes:
        whole: tensors that are taken as they are.
        columns: weights of which shared columns are taken: (ours, the parent's), int64 [C] each; all others are zero.
        inputs: how many input columns of all perceptrons are "carried", "new" and "dropped": carried + new = ours,
            carried + dropped = the parent's.
        layers: how many of our linear layers are "carried" and "new".
    """

    whole: list[str] = field(default_factory=list)
    columns: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
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
        our_C, their_C = self.columns[name]
        taken = torch.zeros_like(ours)
        taken[:, our_C] = theirs[:, their_C]
        return taken


def inherit(ours: Backbone, our_labels: Labels, theirs: Backbone, their_labels: Labels) -> Inheritance:
    """What `ours` can take from `theirs`, a backbone of any shape (its weights are not read: it may lie on the device meta)."""
    our_inputs = ours.inputs(our_labels.fields, our_labels.numbers)
    their_inputs = theirs.inputs(their_labels.fields, their_labels.numbers)
    found, fresh = Inheritance(), set[Hashable]()
    for part, columns in our_inputs.items():  # in the order of the data: whether `bottom` is the parent's decides of columns of `top`
        layers, known = getattr(ours, part), their_inputs.get(part, [])
        shared = _shared(columns, known, fresh)
        alike = _alike(layers, getattr(theirs, part)) if shared else 0
        if alike:
            _take(found, part, layers[:alike], shared)
        else:
            fresh.add(part)
        carried = len(shared) if alike else 0
        linear = _linear(layers[:alike])
        found.inputs.update(carried=carried, new=len(columns) - carried, dropped=len(known) - carried)
        found.layers.update(carried=linear, new=_linear(layers) - linear)
    found.inputs["dropped"] += sum(len(columns) for part, columns in their_inputs.items() if part not in our_inputs)
    return found


def _shared(ours: Sequence[InputColumn], theirs: Sequence[InputColumn], fresh: set[Hashable]) -> list[tuple[int, int]]:
    """(our, their) positions of the columns that mean the same; outputs of fresh perceptrons mean nothing the parent knew."""
    position = {column: place for place, column in enumerate(theirs)}
    return [(place, position[column]) for place, column in enumerate(ours) if column in position and not column.sources & fresh]


def _alike(ours: nn.Sequential, theirs: nn.Sequential) -> int:
    """How many modules from the start are of the same kind and width; the first may differ in its inputs."""
    count = 0
    for own, other in zip(ours, theirs, strict=False):
        if type(own) is not type(other) or _shapes(own, first=count == 0) != _shapes(other, first=count == 0):
            break
        count += 1
    return count


def _shapes(module: nn.Module, first: bool) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape[:1] if first else tensor.shape) for name, tensor in module.state_dict().items()}


def _take(found: Inheritance, part: str, layers: nn.Sequential, shared: list[tuple[int, int]]) -> None:
    """Note the layers that a perceptron begins with as taken, the first one in its shared columns."""
    weight = f"{part}.0.weight"
    names = [f"{part}.{name}" for name in layers.state_dict()]
    found.whole += [name for name in names if name != weight]
    our_C, their_C = torch.tensor(shared).unbind(1)
    found.columns[weight] = (our_C, their_C)


def _linear(layers: nn.Sequential) -> int:
    return sum(isinstance(layer, nn.Linear) for layer in layers)
