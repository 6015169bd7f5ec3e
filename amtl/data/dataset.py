"""Training, validation and test rows as batches: scan, split, encode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from amtl.data.batches import Batch, Scaling, encode
from amtl.data.events import Partition, scan
from amtl.data.split import Part, SplitBounds, select
from amtl.data.vocabulary import RowLookup
from amtl.params import EventsParams


def load_parts(
    partitions: Sequence[Partition],
    events: EventsParams,
    bounds: SplitBounds,
    lookup: RowLookup,
    scaling: Scaling,
    parts: Iterable[Part] = ("train", "validation", "test"),
) -> dict[Part, Batch]:
    """The asked-for parts of the split, each as one batch in the order of the files."""
    frame = scan(partitions, events)
    return {part: encode(select(frame, events, bounds, part).collect(), events, lookup, scaling) for part in parts}
