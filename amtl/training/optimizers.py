"""Adam for the layers, lazy (row-wise) Adam for tables, and their state as plain named tensors.

A sparse table's gradient touches only the rows of a batch: `torch.optim.SparseAdam` updates those alone, so a step costs the
same at ten thousand rows and at ten million. A model may have any number of such tables, anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")
SPARSE = (nn.Embedding, nn.EmbeddingBag)


class Optimizers:
    """The optimizers of one model.

    Args:
        model: what is frozen (`requires_grad` false) has no optimizer.
        learning_rate: of all weights but those that `rates` names by a prefix.
    """

    def __init__(self, model: nn.Module, learning_rate: float, rates: Mapping[str, float] | None = None) -> None:
        self.named: dict[str, Tensor] = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        tables = {id(module.weight) for module in model.modules() if isinstance(module, SPARSE) and module.sparse}
        lazy, dense = ([name for name, weight in self.named.items() if (id(weight) in tables) == sparse] for sparse in (True, False))
        self.parts: list[torch.optim.Optimizer] = []
        if dense:
            self.parts.append(torch.optim.Adam(self._groups(dense, learning_rate, rates or {}), fused=True))
        if lazy:
            self.parts.append(torch.optim.SparseAdam(self._groups(lazy, learning_rate, rates or {})))

    def _groups(self, names: Iterable[str], learning_rate: float, rates: Mapping[str, float]) -> list[dict[str, Any]]:
        return [{"params": [self.named[name]], "lr": _rate(name, learning_rate, rates)} for name in names]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update all weights from their gradients."""
        for part in self.parts:
            part.step()

    def slow_down(self, share: float) -> None:
        """Go on at a share of the learning rates that were asked for."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * share

    def _state_of(self, weight: Tensor) -> dict[str, Tensor]:
        return next((part.state[weight] for part in self.parts if weight in part.state), {})

    def tensors(self) -> dict[str, Tensor]:
        """State as `NAME.exp_avg`, `NAME.exp_avg_sq` (shaped like the weight) and `NAME.step` (a number); empty before a step."""
        state: dict[str, Tensor] = {}
        for name, weight in self.named.items():
            held = self._state_of(weight)
            if held:
                state |= {f"{name}.{moment}": held[moment].detach().cpu().contiguous() for moment in MOMENTS}
                state[f"{name}.step"] = torch.as_tensor(held["step"], dtype=torch.float32).cpu()
        return state

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over state from `tensors`; weights that it does not name start without."""
        names = {weight: name for name, weight in self.named.items()}
        for part in self.parts:
            for weight in (weight for group in part.param_groups for weight in group["params"]):
                name = names[weight]
                if f"{name}.step" not in tensors:
                    continue
                held = {moment: tensors[f"{name}.{moment}"].to(weight.device, copy=True) for moment in MOMENTS}
                step = tensors[f"{name}.step"]
                part.state[weight] = {
                    **held,
                    "step": int(step) if isinstance(part, torch.optim.SparseAdam) else step.to(weight.device).clone(),
                }


def _rate(name: str, learning_rate: float, rates: Mapping[str, float]) -> float:
    return next((rate for prefix, rate in rates.items() if name.startswith(prefix)), learning_rate)
