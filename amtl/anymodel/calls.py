"""How a user's model is called on a user's batch, and what of its output is a logit.

Shapes: B events, T outputs an event (tasks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from amtl.errors import DataError, ParamsError

Forward = Callable[[nn.Module, Any], Tensor]

OUTPUTS = ("logit", "probability")
MOST_TASKS = 32
SHAPE_ONLY = ("Squeeze", "Unsqueeze", "View", "Reshape", "Select", "Slice", "Transpose", "Permute", "Clone", "Cat", "Stack", "ToCopy")
"""Autograd nodes that move numbers and do not change them."""


def default_forward(model: nn.Module, batch: Any) -> Tensor:
    """Call the model as data loaders usually mean it; tensors go to the device of the model's first parameter.

    (inputs, label) calls model(inputs), or model(*inputs) where inputs is a list or tuple; (one, other, label) calls model(one, other);
    a dict or a tensor is passed on as it is.
    """
    device = next(model.parameters()).device
    batch = _moved(batch, device)
    if not isinstance(batch, list | tuple):
        return model(batch)
    inputs = batch[:-1] if len(batch) > 1 else batch
    if len(inputs) == 1 and isinstance(inputs[0], list | tuple):
        inputs = inputs[0]
    return model(*inputs)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(entry, device) for key, entry in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_moved(entry, device) for entry in value)
    return value


def kind_of_output(output: Any) -> str:
    """Whether a model's output is a "logit" or a "probability": what leaves a sigmoid is a probability.

    Raises:
        ParamsError: all outputs lie in [0, 1], yet come from no sigmoid: the caller has to say what they are.
    """
    output = checked_output(output)
    if bool((output.detach() < 0).any()) or bool((output.detach() > 1).any()):
        return "logit"
    if _leaves_a_sigmoid(output.grad_fn):
        return "probability"
    raise ParamsError(
        "all of the model's outputs lie between 0 and 1, but do not come from a sigmoid: pass output='probability' or output='logit'"
    )


def _leaves_a_sigmoid(node: Any) -> bool:
    """Whether, moves aside, all numbers of an output come from sigmoids."""
    if node is None:
        return False
    name = type(node).__name__
    if name.startswith("Sigmoid"):
        return True
    return name.startswith(SHAPE_ONLY) and all(_leaves_a_sigmoid(before) for before, _ in node.next_functions)


def checked_output(output: Any) -> Tensor:
    """The output as it came.

    Raises:
        ParamsError: it is no tensor [B], [B, 1] or [B, T] of finite numbers.
    """
    advice = "pass forward=lambda model, batch: ... that returns one logit an event, [B], or one an event and task, [B, T]"
    if not isinstance(output, Tensor):
        raise ParamsError(f"the model returns a {type(output).__name__}; {advice}")
    if output.ndim not in (1, 2) or (output.ndim == 2 and output.shape[1] > MOST_TASKS):
        raise ParamsError(f"the model returns a tensor of the shape {tuple(output.shape)}; {advice}")
    if not bool(torch.isfinite(output.detach()).all()):
        raise ParamsError("the model returns NaN or infinity on the loader's batches; train it first, or look at the batch")
    return output


def logits_of(output: Any, kind: str) -> Tensor:
    """Logits [B, T] of an output of one event or more; a probability is taken back through the sigmoid.

    Raises:
        ParamsError: it is no output as `checked_output` wants it, or is told to be a probability and is none.
    """
    output = checked_output(output).float()
    if kind == "probability":
        if bool((output.detach() < 0).any()) or bool((output.detach() > 1).any()):
            raise ParamsError("output='probability': the model returns numbers outside [0, 1]; pass output='logit'")
        output = torch.logit(output, eps=1e-7)
    return output.view(len(output), -1)


def first_events(loader: Iterable[Any], model: nn.Module, forward: Forward, rows: int) -> Iterator[Tensor]:
    """Call the model on batches until `rows` events have been seen; yields its outputs.

    Raises:
        DataError: the loader is empty.
        ParamsError: the model cannot be called on its batches.
    """
    seen = 0
    for batch in loader:
        try:
            output = forward(model, batch)
        except (TypeError, AttributeError, IndexError, KeyError) as error:
            raise ParamsError(
                f"the model cannot be called on a batch of the loader ({type(error).__name__}: {error}); "
                "pass forward=lambda model, batch: ... that returns its logits"
            ) from error
        yield output
        seen += len(output)
        if seen >= rows:
            return
    if seen == 0:
        raise DataError("the loader has no batches: pass events of the training data, as the model is called on them")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within, the model is in evaluation mode; afterwards each of its modules is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
