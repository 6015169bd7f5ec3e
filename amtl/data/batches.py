"""Frames of events to tensors, and tensors to batches whose order is a function of (seed, epoch) alone.

Shapes: N events, B events of a batch, F single-valued fields, K numeric fields, M values of a multi-valued field's bags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from amtl.data.vocabulary import RowLookup
from amtl.files import digest_of_tensors
from amtl.params import EventsParams

if TYPE_CHECKING:
    import torch


LARGEST = 1e6
"""Standard deviations from the mean beyond which a number is taken for a mistake."""


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each numeric field over the training rows; missing numbers take the mean."""

    mean: dict[str, float] = field(default_factory=dict)
    std: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is no number, as a damaged file may hold it."""
        for name, value in [*self.mean.items(), *self.std.items()]:
            if not isinstance(value, int | float) or not np.isfinite(value):
                raise ValueError(f"the scaling of {name} is {value!r}, which is no finite number")


@dataclass(frozen=True)
class Bag:
    """A multi-valued field of N events: table rows of all values, and where each event's values start."""

    rows_M: torch.Tensor
    offsets_N: torch.Tensor  # int64 [N + 1]; the last one is M


@dataclass(frozen=True)
class Batch:
    """Events as tensors: `ids_BF` table rows, one bag a multi-valued field, `numbers_BK` standardised, `labels_B` 0 or 1."""

    ids_BF: torch.Tensor
    bags: tuple[Bag, ...]
    numbers_BK: torch.Tensor
    labels_B: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids_BF)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        bags = tuple(Bag(bag.rows_M.to(device), bag.offsets_N.to(device)) for bag in self.bags)
        return Batch(self.ids_BF.to(device), bags, self.numbers_BK.to(device), self.labels_B.to(device))

    def take(self, index_B: torch.Tensor) -> Batch:
        """The events at `index_B`, in that order."""
        bags = tuple(take_bag(bag, index_B) for bag in self.bags)
        ids_BF, numbers_BK, labels_B = (rows.index_select(0, index_B) for rows in (self.ids_BF, self.numbers_BK, self.labels_B))
        return Batch(ids_BF, bags, numbers_BK, labels_B)

    @property
    def labels(self) -> torch.Tensor:
        """Labels of all events, float32 [N]."""
        return self.labels_B

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of the content."""
        bags = {f"bag{index}.{part}": getattr(bag, part) for index, bag in enumerate(self.bags) for part in ("rows_M", "offsets_N")}
        return digest_of_tensors({"ids": self.ids_BF, "numbers": self.numbers_BK, "labels": self.labels_B, **bags})

    def shuffled(self, size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Batches of one epoch in an order that depends on (seed, epoch) only; `skip` batches are left out at the start.

        A last batch of a single event joins the one before it: batch norm cannot train on one event.
        """
        order = permutation(len(self), seed, epoch)
        for start, stop in batch_spans(len(self), size, skip):
            yield self.take(order[start:stop])

    def in_order(self, size: int) -> Iterator[Batch]:
        """All events in their order, `size` at a time."""
        import torch

        for start in range(0, len(self), size):
            yield self.take(torch.arange(start, min(start + size, len(self))))

    def newest(self, rows: int) -> Batch:
        """The last `rows` events, or all of them if they are fewer."""
        import torch

        return self if len(self) <= rows else self.take(torch.arange(len(self) - rows, len(self)))

    def widened(self) -> Batch:
        """The types that a model reads: int64 rows, float32 labels. On disk both are narrower."""
        bags = tuple(Bag(bag.rows_M.long(), bag.offsets_N) for bag in self.bags)
        return Batch(self.ids_BF.long(), bags, self.numbers_BK, self.labels_B.float())


def permutation(rows: int, *seeds: int) -> torch.Tensor:
    """A random order of 0 ... rows - 1, int64, that depends on the seeds only."""
    import torch

    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
    return torch.randperm(rows, generator=generator)


def batch_spans(rows: int, size: int, skip: int = 0) -> Iterator[tuple[int, int]]:
    """Where each batch of an epoch begins and ends, after the first `skip`; a single last event joins the batch before it."""
    for start in range(skip * size, max(rows - 1, min(rows, 1)), size):
        yield start, rows if start + size == rows - 1 else min(start + size, rows)


def concatenated(batches: Sequence[Batch]) -> Batch:
    """The events of one or more batches of the same fields, one batch after the other."""
    import torch

    if len(batches) == 1:
        return batches[0]
    bags = tuple(_concatenated_bags(same_field) for same_field in zip(*(batch.bags for batch in batches), strict=True))
    ids_BF, numbers_BK, labels_B = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("ids_BF", "numbers_BK", "labels_B"))
    return Batch(ids_BF, bags, numbers_BK, labels_B)


def encode(frame: pl.DataFrame, events: EventsParams, lookup: RowLookup, scaling: Scaling) -> Batch:
    """Encode events, all of them in one `Batch`.

    A column of an optional field may be missing: its values are unknown (id, ids) or the mean (number). Without a label
    column labels are 0.
    """
    import torch

    ids = [lookup.rows(spec.name, _column(frame, spec.name, pl.Null())) for spec in events.single]
    ids_NF = np.stack(ids, axis=1) if ids else np.zeros((len(frame), 0), dtype=np.int64)
    bags = tuple(_encode_bag(_column(frame, spec.name, pl.List(pl.String())), spec.name, lookup) for spec in events.multi)
    numbers = [_standardised(_column(frame, spec.name, pl.Float64()), spec.name, scaling) for spec in events.numbers]
    numbers_NK = np.stack(numbers, axis=1) if numbers else np.zeros((len(frame), 0))
    labels_N = _column(frame, events.label, pl.Int8()).cast(pl.Float32).fill_null(0).to_numpy()
    return Batch(
        torch.from_numpy(ids_NF),
        bags,
        torch.from_numpy(numbers_NK.astype(np.float32)),
        torch.from_numpy(np.array(labels_N)),
    )


def _column(frame: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Series:
    return frame[name] if name in frame.columns else pl.Series(name, [None] * len(frame), dtype=dtype)


def _encode_bag(lists: pl.Series, name: str, lookup: RowLookup) -> Bag:
    """An empty or missing list becomes one unknown value, so that a bag is never empty."""
    import torch

    lists = lists.cast(pl.List(pl.String)) if lists.dtype == pl.Null else lists
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    values = lists.explode(empty_as_null=True, keep_nulls=True)
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))])
    return Bag(torch.from_numpy(np.array(lookup.rows(name, values))), torch.from_numpy(offsets))


def _standardised(numbers: pl.Series, name: str, scaling: Scaling) -> np.ndarray:
    mean, std = scaling.mean.get(name, 0.0), scaling.std.get(name, 1.0)
    standardised = ((numbers.cast(pl.Float64, strict=False) - mean) / (std if std > 0 else 1.0)).to_numpy()
    return np.where(np.abs(standardised) <= LARGEST, standardised, 0.0)  # missing, NaN, infinite or absurd: the mean


def _concatenated_bags(bags: Sequence[Bag]) -> Bag:
    import torch

    starts = np.cumsum([0, *(len(bag.rows_M) for bag in bags)]).tolist()
    offsets = [bag.offsets_N[1:] + start for bag, start in zip(bags, starts, strict=False)]
    return Bag(torch.cat([bag.rows_M for bag in bags]), torch.cat([torch.zeros(1, dtype=torch.int64), *offsets]))


def take_bag(bag: Bag, index_B: torch.Tensor) -> Bag:
    """The values of the events at `index_B`, in that order; an event may come several times."""
    import torch

    starts_B = bag.offsets_N.index_select(0, index_B)
    lengths_B = bag.offsets_N.index_select(0, index_B + 1) - starts_B
    offsets = torch.nn.functional.pad(lengths_B.cumsum(0), (1, 0))
    from_M = torch.repeat_interleave(starts_B - offsets[:-1], lengths_B) + torch.arange(int(offsets[-1]), device=index_B.device)
    return Bag(bag.rows_M.index_select(0, from_M), offsets)
