"""Where a table row lies among packed rows, in about as many bits a row as its bucket has information.

Packed rows are sorted by bucket, and by table order within a bucket. A user's ids are table rows, so the way from one to the other is
part of the packed table; a permutation would take four bytes a row, more than is left of a row when 98% is saved. A Huffman-shaped
wavelet tree (Grossi, Gupta and Vitter, SODA 2003; Mäkinen and Navarro, CPM 2005) holds it in the entropy of the buckets: each inner
node has one bit for each row below it, which says on which side the row's bucket lies; the number of equal bits before it is the row's
place among the rows on that side, and at the leaf its rank within the bucket. Counts of ones before every 512 bits make that quick.

Shapes: V rows, K buckets, M looked-up rows, N rows of a node, W words of a block.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

WORD, WORDS = 64, 8
BLOCK = WORD * WORDS  # bits
PAIRS, FOURS, BYTES, ONE_OF_EACH = 0x5555_5555_5555_5555, 0x3333_3333_3333_3333, 0x0F0F_0F0F_0F0F_0F0F, 0x0101_0101_0101_0101


@dataclass(frozen=True)
class _Node:
    """An inner node of the tree, or a leaf.

    Attributes:
        rows: rows below it. buckets: buckets below it; a leaf has one. sides: the nodes for bit 0 and bit 1.
    """

    rows: int
    buckets: tuple[int, ...]
    sides: tuple[_Node, _Node] | None = None


class RowIndex(nn.Module):
    """Table rows to packed rows.

    Args:
        words: int64, the bits of all inner nodes in depth-first order, each node's from a word on, the first row in the lowest bit.
        ones: int32 (int64 from 2^31 rows), ones of the node before each of its blocks, nodes one after the other.
        rows_K: rows of each bucket, which the packed table holds; the tree follows from them.

    Raises:
        ValueError: the tensors do not belong together.
    """

    def __init__(self, words: Tensor, ones: Tensor, rows_K: Tensor) -> None:
        super().__init__()
        self.register_buffer("words", words)
        self.register_buffer("ones", ones)
        self.tree = _huffman(rows_K.tolist())
        self.register_buffer("first_K", rows_K.long().cumsum(0) - rows_K, persistent=False)
        if words.nbytes + ones.nbytes != index_bytes(rows_K):
            raise ValueError("the index of rows does not fit the table's buckets")

    words: Tensor
    ones: Tensor
    first_K: Tensor

    @classmethod
    def of(cls, bucket_V: Tensor, buckets: int) -> RowIndex:
        """The index of rows that lie in these buckets."""
        rows_K = torch.bincount(bucket_V, minlength=buckets)
        words, ones = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, dtype=_count_type(len(bucket_V)))]
        waiting = [(_huffman(rows_K.tolist()), bucket_V)]
        while waiting:
            node, bucket_N = waiting.pop()
            if node.sides is None:
                continue
            right_N = torch.isin(bucket_N, torch.tensor(node.sides[1].buckets))
            words.append(_words(right_N))
            in_block = torch.nn.functional.pad(right_N, (0, -len(right_N) % BLOCK)).view(-1, BLOCK).sum(1)
            ones.append((in_block.cumsum(0) - in_block).to(ones[0].dtype))
            waiting += [(node.sides[1], bucket_N[right_N]), (node.sides[0], bucket_N[~right_N])]
        return cls(torch.cat(words), torch.cat(ones), rows_K)

    def forward(self, rows_M: Tensor) -> Tensor:
        """Packed rows int64 [M]."""
        packed_M = torch.zeros_like(rows_M)
        waiting = [(self.tree, torch.arange(len(rows_M), device=rows_M.device), rows_M)]
        first_word = first_block = 0
        while waiting:
            node, which_N, place_N = waiting.pop()
            if node.sides is None:
                packed_M[which_N] = self.first_K[node.buckets[0]] + place_N
                continue
            right_N, before_N = self._rank(place_N, first_word, first_block)
            first_word, first_block = first_word + -(-node.rows // WORD), first_block + -(-node.rows // BLOCK)
            left_N = ~right_N
            waiting.append((node.sides[1], which_N[right_N], before_N[right_N]))
            waiting.append((node.sides[0], which_N[left_N], (place_N - before_N)[left_N]))
        return packed_M

    def _rank(self, place_N: Tensor, first_word: int, first_block: int) -> tuple[Tensor, Tensor]:
        """Of places in a node: whether the bit is one, and how many ones come before it."""
        block_N, within_N1 = place_N // BLOCK, (place_N % BLOCK).unsqueeze(1)
        place_W = torch.arange(WORDS, device=place_N.device)
        word_NW = self.words[(first_word + block_N.unsqueeze(1) * WORDS + place_W).clamp(max=len(self.words) - 1)]
        earlier_NW = (within_N1 - WORD * place_W).clamp(0, WORD)
        mask_NW = torch.where(earlier_NW == WORD, -1, (1 << earlier_NW.clamp(max=WORD - 1)) - 1)
        before_N = self.ones[first_block + block_N].long() + _ones(word_NW & mask_NW).sum(1)
        own_N = word_NW.gather(1, within_N1 // WORD).squeeze(1)
        return (own_N >> (place_N % WORD)) & 1 == 1, before_N


def _ones(words: Tensor) -> Tensor:
    """How many bits of each word are one (Warren, Hacker's Delight, section 5-1)."""
    words = words - ((words >> 1) & PAIRS)
    words = (words & FOURS) + ((words >> 2) & FOURS)
    words = (words + (words >> 4)) & BYTES
    return (words * ONE_OF_EACH) >> 56


def index_bytes(rows_K: Tensor) -> int:
    """Bytes of the index of buckets of so many rows."""
    count, waiting = 0, [_huffman(rows_K.tolist())]
    a_count = torch.empty(0, dtype=_count_type(waiting[0].rows)).element_size()
    while waiting:
        node = waiting.pop()
        if node.sides is not None:
            count += -(-node.rows // WORD) * 8 + a_count * -(-node.rows // BLOCK)
            waiting += node.sides
    return count


def _huffman(rows_K: list[int]) -> _Node:
    """The tree in which rows lie as near to the root as they can on average; buckets without rows are not in it."""
    heap = [(rows, bucket, _Node(rows, (bucket,))) for bucket, rows in enumerate(rows_K) if rows]
    if not heap:
        return _Node(0, (0,))
    heapq.heapify(heap)
    while len(heap) > 1:
        (few, _, one), (more, order, other) = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (few + more, order + len(rows_K), _Node(few + more, one.buckets + other.buckets, (one, other))))
    return heap[0][2]


def _count_type(rows: int) -> torch.dtype:
    return torch.int32 if rows < 2**31 else torch.int64


def _words(right_N: Tensor) -> Tensor:
    """Bits, 64 to a word, the first one lowest, int64."""
    padded_N = torch.nn.functional.pad(right_N, (0, -len(right_N) % WORD))
    return torch.from_numpy(np.packbits(padded_N.numpy(), bitorder="little")).view(torch.int64)
