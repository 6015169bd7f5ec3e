"""Warm start by value: a parent's rows go to the rows that the same values have now, never by row number.

A value that the parent did not know starts at its field's unknown row, plus noise. The report counts, per field,
values carried, new and dropped (known to the parent, without a row now): carried + new = rows now, carried + dropped = rows
of the parent, the unknown row counted among them.

Shapes: V rows now, C carried rows, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor

from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import TABLE, CTRModel
from amtl.training.optimizers import MOMENTS, Optimizers
from amtl.training.state import State


@dataclass(frozen=True)
class Correspondence:
    """Which of the parent's table rows is which of ours.

    Attributes:
        parent_C: parent's table row of each carried value. ours_C: our table row of the same value.
        fields: field name to {"carried", "new", "dropped", "rows"}.
    """

    parent_C: Tensor
    ours_C: Tensor
    fields: dict[str, dict[str, int]]


def correspond(parent: State, vocabulary: Vocabulary) -> Correspondence:
    """Match the parent's values with ours by field and value (the unknown rows match each other)."""
    order = {name: position for position, name in enumerate(parent.fields)}
    theirs = (
        parent.vocabulary.with_columns(pl.col("field").replace_strict(order, default=None).alias("position"))
        .sort("position", "row")
        .with_row_index("parent_row")
        .select("field", "value", pl.col("parent_row").cast(pl.Int64))
    )
    ours = vocabulary.table_rows().select("field", "value", "table_row")
    both = ours.join(theirs, on=["field", "value"], how="full", nulls_equal=True, coalesce=True)
    carried = both.filter(pl.col("table_row").is_not_null() & pl.col("parent_row").is_not_null()).sort("table_row")
    tally = both.group_by("field").agg(
        carried=(pl.col("table_row").is_not_null() & pl.col("parent_row").is_not_null()).sum(),
        new=pl.col("parent_row").is_null().sum(),
        dropped=pl.col("table_row").is_null().sum(),
        rows=pl.col("table_row").is_not_null().sum(),
    )
    fields = {row.pop("field"): {key: int(count) for key, count in row.items()} for row in tally.sort("field").to_dicts()}
    return Correspondence(
        torch.from_numpy(carried["parent_row"].to_numpy().copy()), torch.from_numpy(carried["table_row"].to_numpy().copy()), fields
    )


@torch.no_grad()
def warm_start(model: CTRModel, optimizers: Optimizers, parent: State, vocabulary: Vocabulary, fields: tuple[str, ...]) -> dict[str, Any]:
    """Fill a fresh model and its optimizers from the parent's state, as far as they fit.

    Rows are carried when the width D is the same; the backbone and the optimizers when, besides, fields and layers are.

    Returns:
        {"fields": {field: {"carried", "new", "dropped", "rows"}}, "backbone": "carried" or why not}.
    """
    same = correspond(parent, vocabulary)
    if parent.config.dim != model.config.dim:
        nothing = {
            name: {"carried": 0, "new": tally["rows"], "dropped": tally["carried"] + tally["dropped"], "rows": tally["rows"]}
            for name, tally in same.fields.items()
        }
        return {"fields": nothing, "backbone": f"fresh: the width changed from {parent.config.dim} to {model.config.dim}"}
    table_VD = model.embedding.weight
    _start_new_rows_at_unknown(table_VD, parent.weights[TABLE], same, vocabulary)
    table_VD[same.ours_C] = parent.weights[TABLE][same.parent_C]
    if parent.fields != fields or parent.config.to_json() | {"dropout": 0} != model.config.to_json() | {"dropout": 0}:
        return {"fields": same.fields, "backbone": "fresh: fields or layers changed"}
    model.backbone.load_state_dict(
        {name.removeprefix("backbone."): tensor for name, tensor in parent.weights.items() if name.startswith("backbone.")}
    )
    optimizers.load(_carried_moments(parent.moments, same, table_VD))
    return {"fields": same.fields, "backbone": "carried"}


def _start_new_rows_at_unknown(table_VD: Tensor, parent_VD: Tensor, same: Correspondence, vocabulary: Vocabulary) -> None:
    """Add to every row its field's unknown row as the parent trained it, where the parent has the field."""
    parent_row = dict(zip(same.ours_C.tolist(), same.parent_C.tolist(), strict=True))
    for field, first in vocabulary.offsets.items():
        if first in parent_row:
            table_VD[first : first + vocabulary.sizes[field]] += parent_VD[parent_row[first]]


def _carried_moments(moments: dict[str, Tensor], same: Correspondence, table_VD: Tensor) -> dict[str, Tensor]:
    """The parent's moments in our row order; those of new rows are zero."""
    carried = dict(moments)
    for moment in MOMENTS:
        name = f"table.{moment}"
        if name in moments:
            carried[name] = torch.zeros_like(table_VD)
            carried[name][same.ours_C] = moments[name][same.parent_C]
    return carried
