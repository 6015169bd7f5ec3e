"""Which embedding tables a model has, and which of them can be packed.

A *table* is one weight [V, D], read by one or more modules: modules that share a weight share a table. Its name is the dotted
name of the first of them in the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amtl.errors import ParamsError

LEAST_BYTES = 1024
"""Tables of fewer bytes stay as they are: what says how to read a packed table would be about as large."""

Lookup = nn.Embedding | nn.EmbeddingBag


@dataclass(frozen=True)
class Table:
    """A weight and the modules that read it, by dotted name."""

    name: str
    readers: dict[str, Lookup]

    @property
    def weight_VD(self) -> Tensor:
        """The table."""
        return self.readers[self.name].weight

    @property
    def bytes(self) -> int:
        """What the table takes today."""
        return self.weight_VD.numel() * self.weight_VD.element_size()


def all_tables(model: nn.Module) -> list[Table]:
    """The model's tables in the order of its modules, whether or not they can be packed."""
    by_weight: dict[int, dict[str, Lookup]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            by_weight.setdefault(id(module.weight), {})[name] = module
    return [Table(next(iter(readers)), readers) for readers in by_weight.values()]


def find_tables(model: nn.Module, names: Sequence[str] | None = None) -> list[Table]:
    """The tables to pack: all of the model's, or those that are named.

    Raises:
        ParamsError: there is none, a name is none of theirs, or a table cannot be packed.
    """
    tables = all_tables(model)
    if not tables:
        raise ParamsError(f"{type(model).__name__} holds no nn.Embedding and no nn.EmbeddingBag: there is nothing to pack")
    if names is not None and not names:
        raise ParamsError("tables: the list is empty; name the tables to pack, or leave the argument out to pack all that can be")
    chosen = tables if names is None else [_named(name, tables) for name in dict.fromkeys(names)]
    for table in chosen:
        reason = _obstacle(model, table)
        if reason is not None:
            others = [other.name for other in chosen if _obstacle(model, other) is None]
            raise ParamsError(f"the table {table.name!r} cannot be packed: {reason}; leave it out with tables={others}")
    return list({table.name: table for table in chosen}.values())


def _named(name: str, tables: list[Table]) -> Table:
    for table in tables:
        if name in table.readers:
            return table
    raise ParamsError(f"tables: the model has no embedding table {name!r}; it has {', '.join(repr(table.name) for table in tables)}")


def _obstacle(model: nn.Module, table: Table) -> str | None:
    """Why a table cannot be packed with the same forward, or None."""
    for name, reader in table.readers.items():
        kind = nn.EmbeddingBag if isinstance(reader, nn.EmbeddingBag) else nn.Embedding
        if "weight" not in reader._parameters:
            return f"the weight of {name!r} is computed (a parametrization)"
        if type(reader).forward is not kind.forward:
            return f"{type(reader).__name__} ({name!r}) has a forward of its own"
        if reader.max_norm is not None:
            return f"max_norm of {name!r} rewrites rows when they are read"
        if isinstance(reader, nn.EmbeddingBag) and reader.mode == "max":
            return f"{name!r} pools by mode='max', where what a cut costs is not known"
        if reader._forward_hooks or reader._forward_pre_hooks:
            return f"forward hooks are registered on {name!r}"
    if not table.weight_VD.is_floating_point() or table.weight_VD.is_meta:
        return f"its weight is {table.weight_VD.dtype} on the device {table.weight_VD.device}"
    if table.weight_VD.numel() and not bool(torch.isfinite(torch.stack(torch.aminmax(table.weight_VD.detach()))).all()):
        return "it holds numbers that are not finite"
    owners = {f"{name}.weight" for name in table.readers}
    tied = [name for name, weight in model.named_parameters(remove_duplicate=False) if weight is table.weight_VD and name not in owners]
    tied = [name for name in tied if model.get_submodule(name.rpartition(".")[0]) not in table.readers.values()]
    return f"its weight is tied to the parameter {tied[0]!r}" if tied else None
