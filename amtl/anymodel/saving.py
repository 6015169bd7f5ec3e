"""Packed models on disk: one safetensors file, read back into the user's own model class. Nothing is pickled.

A packed model's state has, in the place of a table's weight, the tensors that the packed table is read from; they say everything but how
the table is called, which the user's class says: whether it is a bag, how it pools, which row is padding.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from amtl.anymodel.copies import copy_with
from amtl.anymodel.lookup import RotatedTable, stand_in
from amtl.anymodel.packed import PackedRows
from amtl.anymodel.row_index import RowIndex
from amtl.anymodel.tables import Table, all_tables
from amtl.errors import ArtifactError
from amtl.files import publish, read_tensors
from amtl.packing.packed_embedding import PackedEmbedding


def save_packed(model: nn.Module, path: Path | str) -> None:
    """Write the state of a packed model as a safetensors file; what is shared is written once."""
    from safetensors.torch import save_model

    publish(Path(path), lambda temporary: save_model(model, str(temporary)))


def load_packed(model: nn.Module, path: Path | str) -> nn.Module:
    """A packed model from a file of `save_packed`.

    Args:
        model: a model of the class and configuration that was packed, as it comes from its constructor; it stays as it is.

    Returns:
        A copy of the model, in the same mode, with the file's packed tables and weights.

    Raises:
        ArtifactError: the file is missing or damaged, or is not of this model.
    """
    from safetensors.torch import load_model

    tensors = read_tensors(Path(path))
    readers: dict[str, nn.Module] = {}
    weights: dict[int, Tensor | None] = {}
    try:
        for table in all_tables(model):
            own = _tensors_of(table, model, tensors)
            if own:
                packed = _table(table, own)
                readers |= {name: stand_in(packed, reader) for name, reader in table.readers.items()}
                weights[id(table.weight_VD)] = None
        loaded = copy_with(model, readers, weights)
        load_model(loaded, str(path))
    except (ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(f"{path} does not hold a packed {type(model).__name__} of this configuration: {error}") from None
    return loaded


def _tensors_of(table: Table, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a packed table, under whichever of its readers' names each was written; none if it was not packed."""
    own: dict[str, Tensor] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if any(module is reader for reader in table.readers.values()):
            prefix = f"{name}.table." if name else "table."
            own |= {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    return own


def _table(table: Table, tensors: dict[str, Tensor]) -> RotatedTable:
    """The packed table that the tensors describe."""
    packed = {name.removeprefix("rows.packed."): tensor for name, tensor in tensors.items() if name.startswith("rows.packed.")}
    rows, dim = table.weight_VD.shape
    embedding = PackedEmbedding(packed, dim)
    if embedding.table_rows != rows:
        raise ValueError(f"the table {table.name!r} has {embedding.table_rows:,} rows in the file and {rows:,} in the model")
    index = RowIndex(tensors["rows.index.words"], tensors["rows.index.ones"], packed["rows"].long())
    table_of_file = RotatedTable(PackedRows(index, embedding), tensors.get("basis_TD"), dim, table.weight_VD.dtype)
    return table_of_file.to(table.weight_VD.device)
