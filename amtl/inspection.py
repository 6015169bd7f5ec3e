"""What is in a bundle, in words: verified first, read without loading the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from amtl import files


def lines(bundle: Path) -> Iterator[str]:
    """A bundle's identity, model, table, sizes by field, files and lineage, line by line.

    Raises:
        ArtifactError: it is missing, damaged or of another format.
    """
    from amtl.packing.bundle import field_bytes, identity

    digest, bytes_by_field = identity(bundle), field_bytes(bundle)
    manifest = files.read_json(bundle / files.MANIFEST)
    table, model = manifest["table"], manifest["model"]
    yield f"bundle      {bundle}: whole, format {manifest['format']}"
    yield f"identity    {digest}"
    yield f"events      {manifest['events']['name']}: label {manifest['events']['label']}"
    hidden = "-".join(map(str, model["hidden"])) or "none"
    yield f"model       {model['backbone']} over {model['fields']} embedded fields and {model['numbers']} number fields, hidden {hidden}"
    yield f"table       {table['rows']:,} rows of at most {table['dim']} dimensions, {table['precision']}"
    yield from _sizes(bundle / "sizes.parquet", bytes_by_field)
    for name, entry in sorted(manifest["files"].items()):
        yield f"file        {name:20} {entry['bytes']:>14,} bytes  sha256 {entry['sha256'][:12]}"
    for name, value in _flat(manifest["lineage"]):
        yield f"lineage     {name}: {value}"


def _sizes(path: Path, bytes_by_field: Mapping[str, int]) -> Iterator[str]:
    import polars as pl

    size, bits = pl.col("size"), pl.col("bits")
    by_field = pl.read_parquet(path).group_by("field", maintain_order=True)
    sizes = {"mean": size.mean(), "least": size.min(), "most": size.max(), "empty": (size == 0).sum()}
    table = by_field.agg(values=pl.len(), bits=bits.sum() / size.sum(), **sizes)
    for row in table.to_dicts():
        spread = f"sizes {row['least']} to {row['most']}, mean {row['mean']:.2f}, {row['empty']:,} without numbers of their own"
        width = f"{row['bits']:.1f} bits a number, " if row["most"] else ""
        yield f"field       {row['field']:20} {row['values']:>14,} values, {spread}; {width}{bytes_by_field[row['field']]:,} bytes"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
