"""What a search writes, once for all budgets and precisions: what every row is worth at every size.

A row holds level l at a threshold x iff price(l) >= x, where price = worth / (bits of level l - bits of level l - 1), made
non-increasing in l (the slopes of the row's lower convex hull). One number x therefore moves along the whole front, and sizes are
nested over budgets; `amtl.packing.allocation` finds the x of a budget.

A *selector* is a way to say what a level is worth, in a unit of its own: only the order of prices counts. `curvature`, `rule` and
`uniform` follow from the front's own figures; others (`twins`, `magnitude`, ...) are stored with it.

Shapes: V rows of the table, F fields, D dimensions, L levels above 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from amtl.errors import ArtifactError
from amtl.files import publish_tensors, read_tensors

COLD = "twins-cold"
"""The selector whose worth was learned together with a fresh model (`amtl.sizing.joint`) and owes nothing to the trained table."""
UNSEEN = 0.5
"""Occurrences that a row without history is taken to have."""


@dataclass(frozen=True)
class Front:
    """What every row is worth at every size.

    Attributes:
        size_L1: the sizes that a row may have, from 0 to D, rising, int64 [L + 1].
        costs_VL1: estimated cross-entropy, nats an event, that cutting this row to that size costs, float32 [V, L + 1]; does not rise
            with the size, and the last column is 0.
        noise_FD: nats that a lookup in field f costs for each unit of squared error in dimension j: mean over lookups of
            p (1 - p) J_j^2 / 2, float32 [F, D].
        lookups_V: lookups of the row an event, float32 [V]; at least `UNSEEN` / `events`.
        field_V: field of each row, int64 [V], rising.
        events: training events; lookups_V * events are occurrences.
        worth: selector to what level l is worth over level l - 1, float32 [V, L], not negative.
    """

    size_L1: Tensor
    costs_VL1: Tensor
    noise_FD: Tensor
    lookups_V: Tensor
    field_V: Tensor
    events: int
    worth: dict[str, Tensor] = field(default_factory=dict)

    @property
    def selectors(self) -> tuple[str, ...]:
        """The selectors that this front knows."""
        return (*_COMPUTED, *self.worth)

    def worth_of(self, selector: str) -> Tensor:
        """What level l is worth over level l - 1 to a selector, float32 [V, L].

        Raises:
            ValueError: the front does not know the selector.
        """
        if selector in self.worth:
            return self.worth[selector]
        if selector not in _COMPUTED:
            raise ValueError(f"the front holds no worth by {selector}; it knows {', '.join(self.selectors)}")
        return _COMPUTED[selector](self)

    def lost_by(self, selector: str) -> Tensor:
        """What a row at a level goes without, float32 [V, L + 1]: the costs, or its worth to a selector that costs do not concern."""
        return lost_worth(self.worth_of(selector)) if selector == COLD else self.costs_VL1

    def with_worth(self, selector: str, worth_VL: Tensor) -> Front:
        """The same front with one more selector."""
        return replace(self, worth={**self.worth, selector: worth_VL})

    def write(self, path: Path) -> None:
        """Write as safetensors."""
        named = {name: getattr(self, name) for name in _TENSORS}
        worth = {f"worth.{selector}": tensor.contiguous() for selector, tensor in self.worth.items()}
        publish_tensors(path, {**named, "events": torch.tensor(self.events), **worth})

    @classmethod
    def read(cls, path: Path) -> Front:
        """Read what `write` wrote.

        Raises:
            ArtifactError: the file is missing, damaged or not a front.
        """
        tensors = read_tensors(path)
        try:
            worth = {name.removeprefix("worth."): tensor for name, tensor in tensors.items() if name.startswith("worth.")}
            front = cls(**{name: tensors[name] for name in _TENSORS}, events=int(tensors["events"]), worth=worth)
            front._check()
        except (ValueError, KeyError, RuntimeError) as error:
            raise ArtifactError(f"{path} cannot be read as a search result ({error}); rerun: dvc repro search") from None
        return front

    def _check(self) -> None:
        """Refuse tensors that do not fit together."""
        rows, levels, dim = len(self.field_V), len(self.size_L1) - 1, int(self.size_L1[-1])
        fields = int(self.field_V.max()) + 1 if rows else 0
        shapes = {"costs_VL1": (rows, levels + 1), "lookups_V": (rows,), "noise_FD": (len(self.noise_FD), dim)}
        found = {name: tuple(getattr(self, name).shape) for name in shapes}
        wrong = [name for name, shape in shapes.items() if found[name] != shape]
        wrong += [f"worth by {selector}" for selector, worth_VL in self.worth.items() if worth_VL.shape != (rows, levels)]
        if wrong or len(self.noise_FD) < fields:
            raise ValueError(f"{', '.join(wrong) or 'noise_FD'}: the shape does not fit")


_TENSORS = ("size_L1", "costs_VL1", "noise_FD", "lookups_V", "field_V")


def _by_curvature(front: Front) -> Tensor:
    """Nats an event that level l avoids over level l - 1."""
    return front.costs_VL1[:, :-1] - front.costs_VL1[:, 1:]


def _by_rule(front: Front) -> Tensor:
    """Sizes t = floor(c log(1 + n)), n occurrences: a dimension of level t is worth log(1 + n) / t."""
    return torch.log1p(front.lookups_V * front.events).unsqueeze(1) * _by_uniform(front)


def _by_uniform(front: Front) -> Tensor:
    """One size for all rows: a dimension of level t is worth 1 / t."""
    return useful_FL(front.field_V, front.size_L1)[front.field_V] * (front.size_L1.diff() / front.size_L1[1:])


def useful_FL(field_V: Tensor, size_L1: Tensor) -> Tensor:
    """Which levels can hold anything in which field, bool [F, L]: rows of a field of n rows are zero from dimension n on."""
    return torch.bincount(field_V).unsqueeze(1) > size_L1[:-1]


def lost_worth(worth_RL: Tensor) -> Tensor:
    """Worth that a row at a level goes without, [R, L + 1]."""
    return torch.cat([worth_RL.flip(1).cumsum(1).flip(1), worth_RL.new_zeros(len(worth_RL), 1)], dim=1)


_COMPUTED = {"curvature": _by_curvature, "rule": _by_rule, "uniform": _by_uniform}
