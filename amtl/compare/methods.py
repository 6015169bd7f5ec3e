"""Every method by name."""

from __future__ import annotations

from amtl.compare.peers import PEERS
from amtl.compare.task import Method

METHODS: dict[str, Method] = {**PEERS}
