"""A copy of a model in which other modules stand in the place of its tables; the model itself is not touched."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from amtl.errors import ParamsError


def copy_with(model: nn.Module, readers: dict[str, nn.Module], weights: dict[int, Tensor | None]) -> nn.Module:
    """A deep copy of the model that never copies its tables.

    Whatever refers to a replaced module or weight refers to what stands for it, also from lists and other attributes. Optimizers that
    hang on the model are left out: they belong to the old weights, and hold two more numbers for each.

    Args:
        readers: dotted name to the module that takes its place.
        weights: id of each table's weight to the weight that stands for it, or None where an empty one does.

    Raises:
        ParamsError: the model cannot be copied.
    """
    memo: dict[int, Any] = {id(model.get_submodule(name)): module for name, module in readers.items()}
    for weight, stand_in in weights.items():
        memo[weight] = nn.Parameter(torch.empty(0), requires_grad=False) if stand_in is None else stand_in
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.optim.Optimizer):
                memo[id(value)] = None
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        raise ParamsError(
            f"{type(model).__name__} cannot be copied (copy.deepcopy: {error}); detach what it keeps of earlier calls"
        ) from error
