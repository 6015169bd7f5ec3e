"""What others do about large tables, one module a method; each cites its paper and names every deviation."""

from __future__ import annotations

from amtl.compare.task import Method

PEERS: dict[str, Method] = {}
