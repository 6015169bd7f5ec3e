"""Warm start by value: a parent's rows go to the rows that the same values have now, never by row number.

A field whose type of values changed is a new field. A value that the parent did not know starts at its field's unknown
row, plus noise. The report counts, per field, values carried, new and dropped (known to the parent, without a row now):
carried + new = rows now, carried + dropped = rows of the parent, the unknown row counted among them.

Shapes: V rows now, C carried rows, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor

from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import TABLE, CTRModel, ModelConfig
from amtl.training.inherit import Inheritance, Labels, inherit
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
    """Match the parent's values with ours by field, type and value (the unknown rows match each other)."""
    order = {name: position for position, name in enumerate(parent.fields)}
    theirs = (
        parent.vocabulary.with_columns(pl.col("field").replace_strict(order, default=None).alias("position"))
        .sort("position", "row")
        .with_row_index("parent_row")
        .select("field", _type_of(vocabulary.types | parent.types), "value", pl.col("parent_row").cast(pl.Int64))
    )
    ours = vocabulary.table_rows().select("field", _type_of(vocabulary.types), "value", "table_row")
    both = ours.join(theirs, on=["field", "type", "value"], how="full", nulls_equal=True, coalesce=True)
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


def _type_of(types: Mapping[str, str]) -> pl.Expr:
    return pl.col("field").replace_strict(types, default=None, return_dtype=pl.String).alias("type")


@torch.no_grad()
def warm_start(model: CTRModel, optimizers: Optimizers, parent: State, vocabulary: Vocabulary, fields: tuple[str, ...]) -> dict[str, Any]:
    """Fill a fresh model and its optimizers from the parent's state, as far as they fit.

    Rows are carried when the width D is the same; of a backbone of the same kind the layers and columns that `inherit` finds;
    moments with the weights that they belong to. Where nothing of the backbone is carried, no moments are: they describe
    gradients of another model.

    Args:
        fields: names of the embedded fields in table order, then of the numeric ones.

    Returns:
        {"fields": {field: {"carried", "new", "dropped", "rows"}}, "backbone": what was carried, in words,
        "inputs": {"carried", "new", "dropped"}}; the latter counts the input columns of the backbone's first layers.
    """
    same = correspond(parent, vocabulary)
    inherited = _inheritance(model, parent, vocabulary, fields)
    report = {"fields": same.fields, **_backbone_report(model.config, parent, inherited)}
    if parent.config.dim != model.config.dim:
        return report | {"fields": {name: _nothing_carried(tally) for name, tally in same.fields.items()}}
    table_VD = model.embedding.weight
    _start_new_rows_at_unknown(table_VD, parent.weights[TABLE], same, vocabulary)
    table_VD[same.ours_C] = parent.weights[TABLE][same.parent_C]
    if inherited.names:
        weights = model.backbone.state_dict()
        for name in inherited.names:
            weights[name].copy_(inherited.taken(name, weights[name], parent.weights[f"backbone.{name}"]))
        optimizers.load(_carried_moments(parent.moments, same, table_VD) | _backbone_moments(parent.moments, inherited, weights))
    return report


def _inheritance(model: CTRModel, parent: State, vocabulary: Vocabulary, fields: tuple[str, ...]) -> Inheritance:
    """What the backbone can take; nothing from one of another kind or width."""
    with torch.device("meta"):  # shapes alone
        theirs = CTRModel(parent.config, torch.nn.Identity()).backbone
    known = vocabulary.types | parent.types
    return inherit(
        model.backbone,
        _labels(fields, model.config, vocabulary.types),
        theirs,
        _labels(parent.fields, parent.config, {name: known.get(name) for name in parent.fields[: parent.config.fields]}),
    )


def _labels(fields: tuple[str, ...], config: ModelConfig, types: Mapping[str, str | None]) -> Labels:
    """Names that tell fields apart whose values have another type, an id from a number, and one width from another."""
    names = [(name, types.get(name, "number"), config.dim) for name in fields]
    return Labels(names[: config.fields], names[config.fields :])


def _backbone_report(config: ModelConfig, parent: State, inherited: Inheritance) -> dict[str, Any]:
    return {"backbone": _backbone_in_words(config, parent.config, inherited), "inputs": dict(inherited.inputs)}


def _backbone_in_words(config: ModelConfig, parent: ModelConfig, inherited: Inheritance) -> str:
    if parent.dim != config.dim:
        return f"fresh: the width changed from {parent.dim} to {config.dim}"
    if parent.backbone != config.backbone:
        return f"fresh: the backbone changed from {parent.backbone} to {config.backbone}"
    if inherited.complete:
        return "carried"
    if not inherited.names:
        return "fresh: no field or no layer is shared"
    inputs, layers = inherited.inputs, inherited.layers
    return (
        f"carried in part: {layers['carried']} of {layers.total()} layers, "
        f"{inputs['carried']:,} of {inputs['carried'] + inputs['new']:,} input columns ({inputs['dropped']:,} dropped)"
    )


def _nothing_carried(tally: dict[str, int]) -> dict[str, int]:
    return {"carried": 0, "new": tally["rows"], "dropped": tally["carried"] + tally["dropped"], "rows": tally["rows"]}


def _start_new_rows_at_unknown(table_VD: Tensor, parent_VD: Tensor, same: Correspondence, vocabulary: Vocabulary) -> None:
    """Add to every row its field's unknown row as the parent trained it, where the parent has the field."""
    parent_row = dict(zip(same.ours_C.tolist(), same.parent_C.tolist(), strict=True))
    for field, first in vocabulary.offsets.items():
        if first in parent_row:
            table_VD[first : first + vocabulary.sizes[field]] += parent_VD[parent_row[first]]


def _carried_moments(moments: dict[str, Tensor], same: Correspondence, table_VD: Tensor) -> dict[str, Tensor]:
    """The parent's moments of the table in our row order; those of new rows are zero."""
    if f"{TABLE}.step" not in moments:
        return {}
    carried = {f"{TABLE}.step": moments[f"{TABLE}.step"]}
    for name in (f"{TABLE}.{moment}" for moment in MOMENTS):
        carried[name] = torch.zeros_like(table_VD)
        carried[name][same.ours_C] = moments[name][same.parent_C]
    return carried


def _backbone_moments(moments: dict[str, Tensor], inherited: Inheritance, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parent's moments of what was inherited; those of new columns are zero."""
    carried: dict[str, Tensor] = {}
    for name in inherited.names:
        key = f"backbone.{name}"
        if f"{key}.step" in moments:
            carried[f"{key}.step"] = moments[f"{key}.step"]
            carried |= {f"{key}.{moment}": inherited.taken(name, weights[name], moments[f"{key}.{moment}"]) for moment in MOMENTS}
    return carried
