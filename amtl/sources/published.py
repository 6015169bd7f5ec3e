"""The published data sets that `amtl ingest NAME PATH` knows by name."""

from __future__ import annotations

from amtl.sources import movielens
from amtl.sources.source import Reader

READERS: dict[str, Reader] = {"movielens-100k": movielens.read_100k}
