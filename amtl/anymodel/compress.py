"""A user's trained model in, the same model with packed embedding tables out.

1. find its nn.Embedding and nn.EmbeddingBag tables (`tables`),
2. read from its own forward passes what each row is worth at each size (`trace`, `measure`),
3. divide the budget among the tables at one price of a bit (`shares`), and lay each out (`layouts`),
4. copy the model with masked tables for the user to train, if asked, and with packed tables in the end (`copies`, `packed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from amtl.anymodel.calls import OUTPUTS, Forward, default_forward
from amtl.anymodel.copies import copy_with
from amtl.anymodel.layouts import layouts_within, least_bytes
from amtl.anymodel.lookup import RotatedTable, stand_in
from amtl.anymodel.measure import Measured, measure
from amtl.anymodel.packed import masked_table, packed_table, read_rows, state_bytes, stored_rows
from amtl.anymodel.report import Report, TableReport
from amtl.anymodel.tables import LEAST_BYTES, Table, find_tables
from amtl.anymodel.trace import Trace
from amtl.budgets import parse_budget
from amtl.errors import BudgetError, ParamsError
from amtl.packing.allocation import coding_cost, cutting_cost
from amtl.packing.layout import PRECISIONS, Layout


class Compressed(NamedTuple):
    """The packed model and what packing did; unpacks as `model, report`."""

    model: nn.Module
    report: Report


def compress_model(
    model: nn.Module,
    loader: Iterable[Any],
    budget: float | str,
    *,
    precision: str = "mixed",
    forward: Forward | None = None,
    output: str | None = None,
    tables: Sequence[str] | None = None,
    rows: int = 200_000,
    seed: int = 0,
    finetune: Callable[[nn.Module], object] | None = None,
) -> Compressed:
    """Pack the embedding tables of a trained model into a budget; the model itself stays as it is.

    Args:
        model: any module that holds nn.Embedding or nn.EmbeddingBag (sum or mean) and predicts clicks or the like: a logit or a
            probability for each event, or for each event and task.
        loader: batches of training events, as a DataLoader or a list; read twice.
        budget: bytes of all tables together, as a share of what they take now ("2%", 0.02) or in bytes ("40MB", 40_000_000).
        precision: mixed (codes of 2 to 8 bits, as many as a dimension deserves), int8, fp16 or fp32.
        forward: calls the model on a batch and returns its output, [B] or [B, tasks]. By default (inputs, label) calls model(inputs),
            (one, other, label) model(one, other), and a dict or a tensor is passed on as it is.
        output: "logit" or "probability"; by default what leaves a sigmoid is a probability.
        tables: names of the tables to pack; by default all of them.
        rows: most events to read.
        seed: of torch, while the loader is read: a loader that shuffles gives the same events again.
        finetune: called with the model under its masks, to train it by your own loop, in place, before it is packed.

    Returns:
        The packed model (same call, same state but for the tables) and a report.

    Raises:
        ParamsError: the model cannot be packed in this way; the message says what to pass.
        BudgetError: no table is so small.
        DataError: the loader is empty.
    """
    _check(precision, output)
    found = find_tables(model, tables)
    small = [table for table in found if table.bytes < LEAST_BYTES]
    if len(small) == len(found):
        raise ParamsError(f"all tables of the model are smaller than {LEAST_BYTES:,} bytes: there is nothing to pack")
    budget_bytes, kept_bytes = _budget_bytes(budget, found), sum(table.bytes for table in small)
    trace = Trace(model, loader, [table for table in found if table not in small], forward or default_forward, output, rows, seed)
    measured = measure(trace)
    if (least := least_bytes(measured) + kept_bytes) > budget_bytes:
        raise BudgetError(f"a budget of {budget_bytes:,} bytes cannot be met: with nothing kept, tables take {least:,} bytes; raise it")
    layouts = layouts_within(measured, budget_bytes - kept_bytes, precision)
    packed = _packed(model, measured, layouts, finetune)
    reports = [_kept(table) for table in small]
    reports += [_reported(*parts) for parts in zip(measured, layouts, packed.stored, packed.tables, strict=True)]
    by_name = {report.name: report for report in reports}
    report = Report(tuple(by_name[table.name] for table in found), budget_bytes, precision, trace.events, trace.output or OUTPUTS[0])
    if report.bytes > budget_bytes:
        raise BudgetError(f"the packed tables have {report.bytes:,} bytes, over the budget of {budget_bytes:,}; please report this")
    return Compressed(packed.model, report)


def _check(precision: str, output: str | None) -> None:
    """Refuse options that do not exist, before anything is read."""
    if precision not in PRECISIONS:
        raise ParamsError(f"precision={precision!r}: it is one of {', '.join(PRECISIONS)}")
    if output not in (None, *OUTPUTS):
        raise ParamsError(f"output={output!r}: it is one of {', '.join(OUTPUTS)}, or None to find out")


def _budget_bytes(budget: float | str, tables: list[Table]) -> int:
    """What the budget means for these tables."""
    try:
        return parse_budget(budget, sum(table.bytes for table in tables))
    except ValueError as error:
        raise BudgetError(f"budget: {error}") from None


class _Packed(NamedTuple):
    """The packed copy, its tables, and the rows that these were packed from."""

    model: nn.Module
    tables: list[RotatedTable]
    stored: list[Tensor]


def _packed(model: nn.Module, measured: list[Measured], layouts: list[Layout], finetune: Callable[[nn.Module], object] | None) -> _Packed:
    """The packed copy; with `finetune`, of the masked copy that the user has trained."""
    stored = [table.stored_VD for table in measured]
    weights = [table.table.weight_VD for table in measured]
    if finetune is not None:
        masked = [masked_table(*parts) for parts in zip(measured, layouts, strict=True)]
        trained = [stored_rows(table) for table in masked]
        model = copy_with(model, _readers(measured, masked), {id(old): new for old, new in zip(weights, trained, strict=True)})
        finetune(model)
        stored = [new_VD.detach().to(old_VD.device) for new_VD, old_VD in zip(trained, stored, strict=True)]
        weights = list(trained)
    devices = [weight_VD.device for weight_VD in weights]  # the user's training may have moved the model
    tables = [packed_table(*parts) for parts in zip(measured, stored, layouts, devices, strict=True)]
    return _Packed(copy_with(model, _readers(measured, tables), dict.fromkeys(map(id, weights))), tables, stored)


def _readers(measured: list[Measured], tables: list[RotatedTable]) -> dict[str, nn.Module]:
    """What takes the place of each module that reads a table."""
    return {
        name: stand_in(table, reader) for old, table in zip(measured, tables, strict=True) for name, reader in old.table.readers.items()
    }


def _kept(table: Table) -> TableReport:
    """The report of a table that stays as it is."""
    rows, dim = table.weight_VD.shape
    return TableReport(table.name, rows, dim, table.bytes, table.bytes, {dim: rows}, cost=0.0, packed=False)


def _reported(measured: Measured, layout: Layout, stored_VD: Tensor, packed: RotatedTable) -> TableReport:
    """The report of a packed table."""
    front = measured.front
    level_V = torch.searchsorted(front.size_L1, layout.sizes_V)
    cost = cutting_cost(front, level_V) + coding_cost(front, stored_VD, layout, read_rows(packed, len(stored_VD)))
    sizes, rows = layout.sizes_V.unique(return_counts=True)
    histogram = dict(zip(sizes.tolist(), rows.tolist(), strict=True))
    table = measured.table
    shape = table.weight_VD.shape
    return TableReport(table.name, shape[0], shape[1], table.bytes, state_bytes(packed), histogram, cost, packed=True)
