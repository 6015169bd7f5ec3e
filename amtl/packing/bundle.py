"""The bundle: what is served. A folder that is verified before a byte of it is parsed, and read with torch and polars alone.

manifest.json         format, events, model, table, lineage; SHA-256 and bytes of every other file
table.safetensors     the packed table (`layout`) and, where the model does not absorb it, the rotation
model.safetensors     weights of the backbone
vocabulary.parquet    field, value (null = unknown), row (of the packed table)
sizes.parquet         field, row, count, size, bits (of the whole row)
MODEL_CARD.md         what it is, in words
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from amtl.data.batches import Batch, Scaling, encode
from amtl.data.vocabulary import RowLookup, Vocabulary
from amtl.errors import ArtifactError, DataError
from amtl.files import digest_of, publish_folder, publish_tensors, publish_text, read_tensors, verify_manifest, write_manifest
from amtl.model.ctr_model import CTRModel, ModelConfig, weights_of
from amtl.packing.layout import Layout, dimension_bytes, smallest
from amtl.packing.packed_embedding import PackedEmbedding, pack
from amtl.params import EventsParams
from amtl.sizing.reflectors import flat, reflectors, rows_of, stored_numbers, unflat

FORMAT = 2
IDENTITY = ("format", "events", "scaling", "model", "table", "files")
UNFIT = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, DataError, pl.exceptions.PolarsError)
FILES = {"table.safetensors", "model.safetensors", "vocabulary.parquet", "sizes.parquet", "MODEL_CARD.md"}


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle.

    Attributes:
        model: trained; its embedding holds the (rotated) full-width rows, of which sizes keep the first dimensions.
        layout: what is kept of every table row, and at how many bits.
        lineage: JSON-able; what the bundle was made from (no times, no run ids: they would change its identity).
        card: MODEL_CARD.md.
    """

    model: CTRModel
    layout: Layout
    vocabulary: Vocabulary
    events: EventsParams
    scaling: Scaling
    lineage: dict[str, Any]
    card: str


def write(path: Path, contents: Contents) -> None:
    """Write a bundle; the folder appears whole or not at all."""
    model, layout = contents.model, contents.layout
    table = pack(model.embedding.weight, layout)
    if model.embedder.basis_FDD is not None:
        table |= pack_basis(model.embedder.basis_FDD, layout.widest_F)
    columns = {"packed": layout.order()[1], "size": layout.sizes_V, "bits": layout.bits_KD.long().sum(1)[layout.bucket_V]}
    rows = contents.vocabulary.table_rows().with_columns(pl.Series(name, column.numpy()) for name, column in columns.items())
    with publish_folder(path) as folder:
        publish_tensors(folder / "table.safetensors", table)
        publish_tensors(folder / "model.safetensors", weights_of(model.backbone))
        rows.select("field", "value", pl.col("packed").alias("row")).write_parquet(folder / "vocabulary.parquet")
        rows.select("field", pl.col("packed").alias("row"), "count", "size", "bits").write_parquet(folder / "sizes.parquet")
        publish_text(folder / "MODEL_CARD.md", contents.card)
        write_manifest(
            folder,
            format=FORMAT,
            kind="bundle",
            events=contents.events.model_dump(mode="json"),
            scaling=asdict(contents.scaling),
            model=model.config.to_json(),
            table={
                "rows": len(layout.bucket_V),
                "dim": layout.dim,
                "precision": layout.kind,
                "stored_basis": model.embedder.basis_FDD is not None,
            },
            lineage=contents.lineage,
        )


def pack_basis(basis_FDD: Tensor, widest_F: Tensor) -> dict[str, Tensor]:
    """The basis as reflectors: of each field's D x D matrix as many rows as its widest value has dimensions.

    Returns:
        `basis` int8 [N] and `widest` [F]; N is the sum of its `stored_numbers`.
    """
    kept = [flat(reflectors(basis_DD), rows) for basis_DD, rows in zip(basis_FDD.cpu(), widest_F.tolist(), strict=True)]
    return {"basis": torch.cat(kept), "widest": smallest(widest_F)}


def unpack_basis(table: dict[str, Tensor], dim: int) -> Tensor | None:
    """The inverse of `pack_basis`, float32 [F, D, D], zero where nothing was kept; None without a basis.

    Raises:
        ValueError: the tensors do not belong together.
    """
    if "basis" not in table:
        return None
    codes_N, widest_F = table["basis"], table["widest"].long()
    counts_F = stored_numbers(widest_F, dim)
    if codes_N.dtype != torch.int8 or bool(((widest_F < 0) | (widest_F > dim)).any()) or codes_N.shape != (int(counts_F.sum()),):
        raise ValueError("the table's basis is not that of its fields")
    basis_FDD = torch.zeros(len(widest_F), dim, dim)
    for basis_DD, rows, codes in zip(basis_FDD, widest_F.tolist(), codes_N.split(counts_F.tolist()), strict=True):
        basis_DD[:rows] = rows_of(unflat(codes, rows, dim)).float()
    return basis_FDD


def field_bytes(path: Path) -> dict[str, int]:
    """Bytes of the table file that each field of a bundle takes: numbers, scales, widths and basis, but not the header.

    Raises:
        ArtifactError: the bundle is damaged or of another format.
    """
    described = _verified(path)["table"]
    buckets = pl.read_parquet(path / "sizes.parquet").group_by("field", "size", maintain_order=True).agg(pl.len(), pl.col("bits").first())
    numbers = (pl.col("len").cast(pl.Int64) * pl.col("bits") + 7) // 8 + pl.col("size") * dimension_bytes(described["precision"])
    fields = buckets.group_by("field", maintain_order=True).agg(numbers.sum().ceil().cast(pl.Int64).alias("bytes"), pl.col("size").max())
    basis_F = stored_numbers(torch.tensor(fields["size"].to_list()), described["dim"]) * described["stored_basis"]
    return dict(zip(fields["field"].to_list(), (fields["bytes"] + pl.Series(basis_F.numpy())).to_list(), strict=True))


def identity(path: Path) -> str:
    """The bundle's digest: of its files, model and events; when, by whom and in which run it was made do not enter.

    Raises:
        ArtifactError: the bundle is damaged or of another format.
    """
    manifest = _verified(path)
    return digest_of({key: manifest[key] for key in IDENTITY})


def load(path: Path | str) -> Predictor:
    """Verify and read a bundle.

    Raises:
        ArtifactError: the bundle is missing, damaged or of another format.
    """
    path = Path(path)
    manifest = _verified(path)
    try:
        return _assembled(path, manifest)
    except UNFIT as error:
        raise ArtifactError(f"{path} does not hold what its manifest says ({error}); fetch or make it again") from None


class Predictor:
    """A bundle in memory: raw feature values in, probabilities out.

    Attributes:
        manifest: the content of manifest.json. events: the fields it reads.
    """

    def __init__(self, model: CTRModel, lookup: RowLookup, events: EventsParams, scaling: Scaling, manifest: dict[str, Any]) -> None:
        self.model, self.lookup, self.events, self.scaling, self.manifest = model, lookup, events, scaling, manifest

    def encode(self, frame: pl.DataFrame) -> Batch:
        """Events as one batch of packed rows."""
        return encode(frame, self.events, self.lookup, self.scaling)

    def predict(self, frame: Any, batch_size: int = 8192) -> np.ndarray:
        """Probability of the label for every row.

        Args:
            frame: a polars or pandas frame, or a mapping of columns, of raw feature values. Unknown values and nulls are
                allowed, optional fields may be missing, further columns are ignored.
            batch_size: rows scored at once.

        Returns:
            float64 [N].

        Raises:
            DataError: a field that is not optional is missing, a column does not hold what its field does, or the frame is
                none of the above.
        """
        rows = _as_polars(frame).drop(self.events.label, strict=False)
        missing = [field.name for field in self.events.fields if not field.optional and field.name not in rows.columns]
        if missing:
            raise DataError(f"the frame to predict lacks the columns {', '.join(missing)}; give them (null where unknown)")
        try:
            batch = self.encode(rows)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"the frame to predict holds a column that is not what its field is: {error}") from None
        with torch.no_grad():
            logits = [self.model(part) for part in batch.in_order(batch_size)]
        return torch.sigmoid(torch.cat(logits).double()).numpy() if logits else np.zeros(0)


def _as_polars(frame: Any) -> pl.DataFrame:
    if isinstance(frame, pl.DataFrame):
        return frame
    try:
        if isinstance(frame, Mapping):
            return pl.DataFrame(dict(frame), strict=False)
        if hasattr(frame, "columns") and hasattr(frame, "index"):
            return pl.from_pandas(frame)
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:  # pyarrow's errors are ValueErrors and TypeErrors
        raise DataError(f"the frame to predict cannot be read as columns: {error}") from None
    raise DataError(f"cannot predict from a {type(frame).__name__}; give a polars or pandas frame or a mapping of columns")


def _verified(path: Path) -> dict[str, Any]:
    manifest = verify_manifest(path)
    if manifest.get("kind") != "bundle" or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{path} is no bundle of format {FORMAT}; this version of amtl cannot read it")
    if set(manifest["files"]) != FILES:
        raise ArtifactError(f"{path} does not consist of {', '.join(sorted(FILES))}; fetch or make it again")
    lacking = [key for key in (*IDENTITY, "lineage") if key not in manifest]
    if lacking:
        raise ArtifactError(f"{path}: its manifest lacks {', '.join(lacking)}; fetch or make it again")
    return manifest


def _assembled(path: Path, manifest: dict[str, Any]) -> Predictor:
    """The predictor; any error of `UNFIT` means that the parts do not fit together."""
    events = EventsParams.model_validate(manifest["events"])
    table = read_tensors(path / "table.safetensors")
    config, described = ModelConfig.from_json(manifest["model"]), manifest["table"]
    packed = PackedEmbedding(table, config.dim)
    if (packed.table_rows, packed.dim) != (described["rows"], described["dim"]):
        raise ValueError(f"the table has {packed.table_rows} rows of width {packed.dim}")
    model = _model(config, packed, read_tensors(path / "model.safetensors"))
    model.embedder.register_buffer("basis_FDD", unpack_basis(table, config.dim))
    frame = pl.read_parquet(path / "vocabulary.parquet")
    if not np.array_equal(np.sort(frame["row"].to_numpy()), np.arange(packed.table_rows)):
        raise ValueError(f"the vocabulary does not name each of the table's {packed.table_rows} rows once")
    lookup = RowLookup(frame, {field.name: field.type for field in events.embedded})
    predictor = Predictor(model.eval(), lookup, events, Scaling(**manifest["scaling"]), manifest)
    predictor.predict({field.name: [None] for field in events.fields})
    return predictor


def _model(config: ModelConfig, packed: PackedEmbedding, weights: dict[str, Tensor]) -> CTRModel:
    """The model that the configuration describes, which is compared with the weights before memory is taken for it."""
    with torch.device("meta"):
        described = CTRModel(config, torch.nn.Identity()).backbone.state_dict()
    if {name: tensor.shape for name, tensor in described.items()} != {name: tensor.shape for name, tensor in weights.items()}:
        raise ValueError("the weights are not those of the described model")
    model = CTRModel(config, packed)
    model.backbone.load_state_dict(weights)
    return model
