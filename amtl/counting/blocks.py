"""Counts of many days from the counts of aligned blocks of days, so that another day touches few files.

Days are cut into blocks of 4, 16, 64, ... days by their number (days since 0001-01-01, divided by the block's length). A block that has
ended, with the newest day or before it, is merged once, from the blocks and days within it, and kept under the digest of what it
holds; the days behind the last ended block stay single. So the sum over n days reads at most 3 inputs of each length, and a
day that is replaced or taken back changes the log4(n) blocks that it lies in, no other. Which blocks the sum reads follows from the
set of days alone, not from the order in which they came.

With a half-life h a value's frequency is the sum over days of count * 2^(-(newest - day) / h): a block holds it relative to its own last
day, and the sum shifts it to the newest. Each shifted number is rounded to a multiple of QUANTUM, and such numbers add up without
error below 2^33, in any order: results are equal bit by bit, whatever the threads do. It costs at most half a QUANTUM a
day and a level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import polars as pl

from amtl.counting.partials import Partial
from amtl.counting.tallies import Tally, find_tally, summed, write_tally
from amtl.data.events import collect
from amtl.files import digest_of

BRANCHES = 4
QUANTUM = 2.0**-20
FORMAT = 1


@dataclass(frozen=True)
class Node:
    """A day (without children) or a block.

    Attributes:
        key: digest of its content: of a day, its partial's; of a block, its children's.
        end: number of its last day.
        children: the nodes that a block is the sum of, oldest first.
    """

    key: str
    end: int
    children: tuple[Node, ...] = ()

    def keys(self) -> set[str]:
        """Keys of the node and of all below it."""
        return {self.key}.union(*(child.keys() for child in self.children))


def number_of(day: str) -> int:
    """The number of a day YYYY-MM-DD, from 1 for 0001-01-01."""
    return date.fromisoformat(day).toordinal()


def cover(days: Mapping[int, str], half_life: float | None) -> list[Node]:
    """The fewest ended blocks and days that hold each day once, oldest first.

    Args:
        days: number of a day to the key of its partial.
        half_life: in days; None: counts are not decayed.
    """
    nodes = [Node(key, day) for day, key in sorted(days.items())]
    newest, oldest = max(days, default=0), min(days, default=0)
    span = BRANCHES
    while span <= newest - oldest + 1:
        nodes = _level(nodes, span, newest, half_life)
        span *= BRANCHES
    return nodes


def _level(nodes: Sequence[Node], span: int, newest: int, half_life: float | None) -> list[Node]:
    ranges = groupby(nodes, lambda node: node.end // span)
    return [block for _, within in ranges for block in _joined(list(within), span, newest, half_life)]


def _joined(nodes: list[Node], span: int, newest: int, half_life: float | None) -> list[Node]:
    """The nodes of a range of `span` days as one block if the range has ended; a single node stays itself."""
    end = (nodes[0].end // span + 1) * span - 1
    if end > newest or len(nodes) == 1:
        return nodes
    return [Node(digest_of([FORMAT, half_life, end, [[node.key, node.end] for node in nodes]]), end, tuple(nodes))]


@dataclass
class Blocks:
    """The counts of days and blocks on disk; what is missing or damaged is made again.

    Attributes:
        folder: of the kept blocks.
        partials: key of a day to its partial; one that turns out damaged is replaced by one made again.
        remade: keys of these.
        half_life: in days; None: counts are not decayed.
    """

    folder: Path
    partials: dict[str, Partial]
    half_life: float | None

    def __post_init__(self) -> None:
        self.remade: set[str] = set()
        self._intact: dict[str, Tally] = {}

    def tally(self, node: Node) -> Tally:
        """The counts of a node, verified; with a half-life those of a block have frequencies relative to its end."""
        if node.key not in self._intact:
            self._intact[node.key] = self._block(node) if node.children else self._day(node)
        return self._intact[node.key]

    def total(self, nodes: Sequence[Node], field: str, newest: int) -> pl.DataFrame:
        """Columns value, count, frequency of a field over all nodes; the frequency is relative to the day `newest`."""
        total = collect(self._summed(nodes, field, newest))
        return total if self.half_life else total.with_columns(frequency=pl.col("count").cast(pl.Float64))

    def _summed(self, nodes: Sequence[Node], field: str, newest: int) -> pl.LazyFrame:
        counts = [self.tally(node).counts(field) for node in nodes]
        if self.half_life is None:
            return summed(counts)
        return summed(
            decayed(frame, newest - node.end, self.half_life, "frequency" if node.children else "count")
            for frame, node in zip(counts, nodes, strict=True)
        )

    def _day(self, node: Node) -> Tally:
        partial = self.partials[node.key]
        if not partial.tally.is_intact():
            self.remade.add(node.key)
            partial = self.partials[node.key] = partial.remake()
        return partial.tally

    def _block(self, node: Node) -> Tally:
        kept = self._kept(node)
        if kept is not None:
            return kept
        parts = node.children if self.half_life else self._nearest(node)
        tallies = [self.tally(part) for part in parts]  # before several fields ask for them at a time
        return write_tally(self.folder / node.key, tallies[0].fields, lambda field: collect(self._summed(parts, field, node.end)), None)

    def _nearest(self, node: Node) -> list[Node]:
        """The kept blocks and the days below a block. Whole counts have the same sum over any of these; a first count makes few blocks."""
        nearest: list[Node] = []
        for child in node.children:
            at_hand = not child.children or child.key in self._intact or self._kept(child) is not None
            nearest += [child] if at_hand else self._nearest(child)
        return nearest

    def _kept(self, node: Node) -> Tally | None:
        found = find_tally(self.folder / node.key)
        return found if found is not None and found.is_intact() else None


def decayed(counts: pl.LazyFrame, age: int, half_life: float, figure: str) -> pl.LazyFrame:
    """Columns value, count, frequency: the figure times 2^(-age / half_life), to a multiple of `QUANTUM`; the age is in days."""
    shifted = pl.col(figure).cast(pl.Float64) * (2.0 ** (-age / half_life) / QUANTUM)
    return counts.select("value", "count", (shifted.round() * QUANTUM).alias("frequency"))
