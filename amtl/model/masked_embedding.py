"""From a batch's table rows to one vector a field: the seam that every backbone stands on.

A *lookup* is any module from table rows int64 [M] to vectors [M, D]: `nn.Embedding`, `MaskedEmbedding`, `TwinsEmbedding`,
`PackedEmbedding`. Shapes: B events, F fields (single-valued, then multi-valued), D dimensions, V rows, M looked-up values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from amtl.data.batches import Bag, Batch
from amtl.model.twins import AdaptivelyMaskedTwins

CHUNK_ROWS = 2**18


class MaskedEmbedding(nn.Module):
    """An embedding whose row i is cut to its first `sizes_V[i]` dimensions; the rest is zero."""

    def __init__(self, embedding: nn.Embedding, sizes_V: Tensor) -> None:
        super().__init__()
        self.embedding = embedding
        self.register_buffer("sizes_V", sizes_V.long())
        dim = embedding.embedding_dim
        self.register_buffer("triangle_OD", (torch.arange(dim) < torch.arange(dim + 1).unsqueeze(1)).float(), persistent=False)

    sizes_V: Tensor
    triangle_OD: Tensor

    def forward(self, rows_M: Tensor) -> Tensor:
        """Masked vectors [M, D]."""
        return self.embedding(rows_M) * self.triangle_OD[self.sizes_V[rows_M]]

    @torch.no_grad()
    def apply_mask(self) -> None:
        """Make the stored rows what the forward pass gives."""
        for rows_ND, sizes_N in zip(self.embedding.weight.split(CHUNK_ROWS), self.sizes_V.split(CHUNK_ROWS), strict=True):
            rows_ND *= self.triangle_OD[sizes_N]


class TwinsEmbedding(nn.Module):
    """An embedding with the layer behind it, trained jointly or with the embedding frozen."""

    def __init__(self, embedding: nn.Embedding, twins: AdaptivelyMaskedTwins) -> None:
        super().__init__()
        self.embedding = embedding
        self.twins = twins

    def forward(self, rows_M: Tensor) -> Tensor:
        """Masked vectors [M, D]."""
        masked: Tensor = self.twins(self.embedding(rows_M), rows_M)
        return masked


class Lookups:
    """What one forward pass looked up: table rows, their stored vectors, and the event each belongs to."""

    rows_M: Tensor
    vectors_MD: Tensor
    event_M: Tensor


class FieldEmbedder(nn.Module):
    """Looks up all of a batch's values at once, pools multi-valued fields by their mean, leaves the rotated basis.

    Attributes:
        lookup: table rows to vectors.
        basis_FDD: None, or orthonormal per field: vectors are stored rotated (z = e basis^T) and come out as z basis.
    """

    def __init__(self, lookup: nn.Module, basis_FDD: Tensor | None = None) -> None:
        super().__init__()
        self.lookup = lookup
        self.register_buffer("basis_FDD", basis_FDD)
        self._recorded: Lookups | None = None

    basis_FDD: Tensor | None

    @contextmanager
    def recorded_lookups(self) -> Iterator[Lookups]:
        """Within, the next forward pass keeps what it looked up, as a leaf that gradients can be asked for."""
        self._recorded = Lookups()
        try:
            yield self._recorded
        finally:
            self._recorded = None

    def forward(self, batch: Batch) -> Tensor:
        """One vector an event and field, [B, F, D]."""
        return self.unrotated(self.pooled(batch))

    def unrotated(self, pooled_BFD: Tensor) -> Tensor:
        """Stored vectors in the basis that the backbone reads, [B, F, D]."""
        return pooled_BFD if self.basis_FDD is None else torch.einsum("bfd,fde->bfe", pooled_BFD, self.basis_FDD)

    def _looked_up(self, rows_M: Tensor) -> Tensor:
        """Stored vectors; when training, each different row is looked up (masked, and later updated) once."""
        if not torch.is_grad_enabled():
            return self.lookup(rows_M)
        rows_U, place_M = torch.unique(rows_M, return_inverse=True)
        return nn.functional.embedding(place_M, self.lookup(rows_U))

    def pooled(self, batch: Batch) -> Tensor:
        """The stored (rotated, masked) vectors, pooled, [B, F, D]. Masks come before pooling; both are linear in z."""
        events, single = batch.ids_BF.shape
        rows_M = torch.cat([batch.ids_BF.flatten(), *(bag.rows_M for bag in batch.bags)])
        vectors_MD = self._looked_up(rows_M)
        if self._recorded is not None:
            vectors_MD = vectors_MD.detach().requires_grad_()
            self._recorded.rows_M, self._recorded.vectors_MD = rows_M, vectors_MD
            self._recorded.event_M = _events_of(batch)
        parts = [vectors_MD[: events * single].view(events, single, vectors_MD.shape[1])]
        start = events * single
        for bag in batch.bags:
            parts.append(mean_pool(vectors_MD[start : start + len(bag.rows_M)], bag).unsqueeze(1))
            start += len(bag.rows_M)
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def mean_pool(vectors_MD: Tensor, bag: Bag) -> Tensor:
    """Mean of each event's values, [B, D]; every event has at least one value."""
    event_M, lengths_B = _bag_events(bag), bag.offsets_N[1:] - bag.offsets_N[:-1]
    sums_BD = vectors_MD.new_zeros(len(lengths_B), vectors_MD.shape[1]).index_add(0, event_M, vectors_MD)
    return sums_BD / lengths_B.unsqueeze(1)


def _bag_events(bag: Bag) -> Tensor:
    lengths_B = bag.offsets_N[1:] - bag.offsets_N[:-1]
    return torch.repeat_interleave(torch.arange(len(lengths_B), device=lengths_B.device), lengths_B)


def _events_of(batch: Batch) -> Tensor:
    """The event of each looked-up value, in the order of the lookup."""
    events, single = batch.ids_BF.shape
    of_single = torch.arange(events, device=batch.ids_BF.device).repeat_interleave(single)
    return torch.cat([of_single, *(_bag_events(bag) for bag in batch.bags)])
