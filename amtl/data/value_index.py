"""Where each of many values stands in a long list of distinct values: an index that is built once and asked often.

A join builds its hash table anew for every question, which costs as much as the vocabulary is long, be it for one event. Here
the list's 64-bit hashes are sorted once, and the first of each run of equal leading bits is noted; a question reads
there, moves on while the hash is smaller, and compares. The answer is exact: hashes of integers are one to one; texts are compared, and
a list in which two texts share a hash is hashed anew by another seed.

Shapes: V values of the list, M values asked for.
"""

from __future__ import annotations

import numpy as np
import polars as pl

NOWHERE = -1


class ValueIndex:
    """Positions in a list of distinct values without null, Int64 or String."""

    def __init__(self, values: pl.Series) -> None:
        self.values = values
        self._seed, self._order, self._hashes = _sorted(values)
        bits = max(len(values), 2).bit_length()
        self._shift = np.uint64(64 - bits)
        in_run = np.bincount((self._hashes[:-1] >> self._shift).astype(np.int64), minlength=2**bits)
        self._starts = np.cumsum(in_run) - in_run

    def find(self, values: pl.Series) -> np.ndarray:
        """Position of each value in the list, int64 [M]; `NOWHERE` for null and for what is not in the list.

        Args:
            values: of the list's type.
        """
        hashes_M = _hashes(values, self._seed)
        at_M = self._starts[hashes_M >> self._shift]
        behind = np.flatnonzero(self._hashes[at_M] < hashes_M)
        while len(behind):
            at_M[behind] += 1
            behind = behind[self._hashes[at_M[behind]] < hashes_M[behind]]
        position_M = np.where(self._hashes[at_M] == hashes_M, self._order[at_M], NOWHERE)
        if values.dtype == pl.Int64 and not values.null_count():
            return position_M
        return np.where(self._same(values, position_M), position_M, NOWHERE)

    def _same(self, values: pl.Series, position_M: np.ndarray) -> np.ndarray:
        """Whether each value is the one at its position, where it has one."""
        if values.dtype == pl.Int64:
            return values.is_not_null().to_numpy()
        if not len(self.values):
            return np.zeros(len(values), dtype=bool)
        return (values == self.values.gather(np.maximum(position_M, 0))).fill_null(False).to_numpy()


def _sorted(values: pl.Series) -> tuple[int, np.ndarray, np.ndarray]:
    """A seed under which no two values share a hash; the order of the hashes and the hashes, [V + 1], the end marked."""
    seed = 0
    while True:
        hashes_V = _hashes(values, seed)
        order_V = np.argsort(hashes_V)
        sorted_V = hashes_V[order_V]
        if not (sorted_V[1:] == sorted_V[:-1]).any():
            return seed, np.append(order_V, NOWHERE), np.append(sorted_V, np.uint64(2**64 - 1))
        seed += 1


def _hashes(values: pl.Series, seed: int) -> np.ndarray:
    """64-bit hashes, uint64 [M]; those of integers are one to one."""
    if values.dtype == pl.String:
        return values.hash(seed).to_numpy()
    plain = values.fill_null(0) if values.null_count() else values
    mixed = plain.to_numpy().view(np.uint64)
    return (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
