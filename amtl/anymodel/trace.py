"""What a model looks up for each event, and how much its logits depend on it: one pass over batches, by forward hooks.

Each lookup's output is cut off from its table and gets a leaf of the autograd graph, so that one backward pass gives the gradient of
every logit with respect to every looked-up vector. What a bag pools is linear in its vectors: the gradient of one is the bag's, times
the vector's weight.

Shapes: M looked-up rows of one call, D dimensions, N output vectors of the call, B events, T outputs an event, V table rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from amtl.anymodel.calls import Forward, checked_output, evaluating, first_events, kind_of_output, logits_of
from amtl.anymodel.lookup import pooled
from amtl.anymodel.tables import Lookup, Table
from amtl.errors import ParamsError


@dataclass(frozen=True)
class Lookups:
    """The rows that one call of one module looked up, for one output of the model.

    Attributes:
        table: position of the table in the list of tables.
        rows_M: table rows.
        gradient_MD: sqrt(p (1 - p)) d logit / d vector, float32: its square is the curvature of the cross-entropy.
        group_M: rows of one group are cut together in one event: their effects on the logit add up.
    """

    table: int
    rows_M: Tensor
    gradient_MD: Tensor
    group_M: Tensor


@dataclass(frozen=True)
class _Call:
    """One call of a module: rows, the output vector that each goes into, by which weight, and the output as a leaf."""

    table: int
    rows_M: Tensor
    position_M: Tensor
    weight_M: Tensor
    output: Tensor

    def lookups(self, gradient: Tensor | None, events: int) -> Lookups:
        """The call's lookups; no gradient means that no logit depends on them."""
        width = self.output.shape[-1]
        gradient_ND = torch.zeros_like(self.output) if gradient is None else gradient
        gradient_ND = gradient_ND.reshape(-1, width).float()
        a_group = len(gradient_ND) // events if self.output.shape[0] == events else 1
        gradient_MD = gradient_ND[self.position_M] * self.weight_M.unsqueeze(1)
        return Lookups(self.table, self.rows_M, gradient_MD, self.position_M // max(a_group, 1))


class Trace:
    """Passes over the first events of a loader: the same events each time, where it is a list or shuffles by torch's own generator.

    Attributes:
        output: "logit" or "probability": told, or found at the first batch.
        events: how many events the last pass read. outputs: T.
    """

    def __init__(
        self, model: nn.Module, loader: Iterable[Any], tables: list[Table], forward: Forward, output: str | None, rows: int, seed: int
    ) -> None:
        if isinstance(loader, Iterator):
            raise ParamsError("loader is an iterator, which can be read only once: pass a DataLoader or a list of batches")
        self.model, self.loader, self.tables, self.forward, self.rows, self.seed = model, loader, tables, forward, rows, seed
        self.output = output
        self.events, self.outputs = 0, 1
        self._calls: list[_Call] = []

    def lookups(self) -> Iterator[Lookups]:
        """All lookups of one pass, batch after batch; the model is as it was when the pass ends.

        Raises:
            ParamsError: the model cannot be read in this way; the message says why.
        """
        handles = [
            reader.register_forward_hook(self._hook(position), with_kwargs=True)
            for position, table in enumerate(self.tables)
            for reader in table.readers.values()
        ]
        self.events = 0
        try:
            with torch.random.fork_rng(range(torch.cuda.device_count())), evaluating(self.model), torch.enable_grad():
                torch.manual_seed(self.seed)
                for output in first_events(self.loader, self.model, self.forward, self.rows):
                    yield from self._of_batch(output)
                    self._calls.clear()
        finally:
            for handle in handles:
                handle.remove()
            self._calls.clear()

    def _of_batch(self, output: Any) -> Iterator[Lookups]:
        if not len(checked_output(output)):
            return
        if self.output is None:
            self.output = kind_of_output(output)
        logits_BT = logits_of(output, self.output)
        if self.events == 0:
            self._refuse_direct_reads(logits_BT)
        self.events += len(logits_BT)
        self.outputs = logits_BT.shape[1]
        p_BT = torch.sigmoid(logits_BT.detach())
        scaled_T = ((p_BT * (1 - p_BT)).sqrt() * logits_BT).sum(0)
        leaves = [call.output for call in self._calls]
        if not leaves:
            return
        for task, scaled in enumerate(scaled_T):
            more = task + 1 < len(scaled_T)
            gradients = torch.autograd.grad(scaled, leaves, retain_graph=more, allow_unused=True)
            for call, gradient in zip(self._calls, gradients, strict=True):
                yield call.lookups(gradient, len(logits_BT))

    def _refuse_direct_reads(self, logits_BT: Tensor) -> None:
        """A weight that has a gradient though all lookups are leaves is read in another way: packed, it would be missing."""
        if not logits_BT.requires_grad:
            raise ParamsError("the model's output does not depend on its embedding tables by a gradient (is its forward under no_grad?)")
        learned = [table for table in self.tables if table.weight_VD.requires_grad]
        if not learned:
            return
        gradients = torch.autograd.grad(logits_BT.sum(), [table.weight_VD for table in learned], retain_graph=True, allow_unused=True)
        for table, gradient in zip(learned, gradients, strict=True):
            if gradient is not None:
                raise ParamsError(
                    f"the model also reads the weight of {table.name!r} outside of its lookup: leave it out with tables=[...]"
                )

    def _hook(self, table: int) -> Any:
        def record(reader: Lookup, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            call: Any = _bag_call if isinstance(reader, nn.EmbeddingBag) else _lookup_call
            recorded, value = call(table, reader, output, *args, **kwargs)
            self._calls.append(recorded)
            return value

        return record


def _lookup_call(table: int, reader: Lookup, output: Tensor, input: Tensor) -> tuple[_Call, Tensor]:
    """A call of nn.Embedding, and its output plus a leaf of zeros: a model may change what it gets in place, which a leaf forbids."""
    leaf = torch.zeros_like(output).requires_grad_()
    rows_M = input.flatten().long()
    position_M = torch.arange(len(rows_M), device=rows_M.device)
    return _Call(table, rows_M, position_M, torch.ones_like(rows_M, dtype=torch.float32), leaf), output.detach() + leaf


def _bag_call(
    table: int, bag: nn.EmbeddingBag, output: Tensor, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
) -> tuple[_Call, Tensor]:
    """A call of nn.EmbeddingBag, and its output plus a leaf of zeros: the gradient of the samples' weights flows on to what made them."""
    leaf = torch.zeros_like(output).requires_grad_()
    value = pooled(bag, bag.weight.detach(), input, offsets, per_sample_weights, bag.padding_idx) + leaf
    return _Call(table, *bag_items(bag, input, offsets, per_sample_weights), leaf), value


def bag_items(
    bag: nn.EmbeddingBag, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What a call of a sum or mean bag adds up: rows, the bag of each, and its weight in the bag's vector, three [M]; no padding."""
    rows_M = input.flatten().long()
    place_M = torch.arange(len(rows_M), device=rows_M.device)
    if input.ndim == 2:
        bags, bag_M = len(input), place_M // max(input.shape[1], 1)
    else:
        assert offsets is not None
        bags = len(offsets) - int(bag.include_last_offset)
        bag_M = torch.searchsorted(offsets[:bags].long(), place_M, right=True) - 1
    weight_M = torch.ones_like(rows_M, dtype=torch.float32) if per_sample_weights is None else per_sample_weights.flatten().float()
    if bag.padding_idx is not None:
        kept_M = rows_M != bag.padding_idx
        rows_M, bag_M, weight_M = rows_M[kept_M], bag_M[kept_M], weight_M[kept_M]
    if bag.mode == "mean":
        weight_M = weight_M / torch.bincount(bag_M, minlength=bags)[bag_M]
    return rows_M, bag_M, weight_M.detach()
