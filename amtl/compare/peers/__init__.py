"""What others do about large tables, one module a method; each cites its paper and names every deviation."""

from __future__ import annotations

from amtl.compare.peers.autoemb import autoemb
from amtl.compare.peers.fixed import fixed, fixed_distilled
from amtl.compare.peers.hashing import hashing
from amtl.compare.peers.magnitude import magnitude
from amtl.compare.peers.mde import mde
from amtl.compare.peers.pep import pep
from amtl.compare.peers.qr import quotient_remainder
from amtl.compare.task import Method

PEERS: dict[str, Method] = {
    "fixed": fixed,
    "fixed-distilled": fixed_distilled,
    "mde": mde,
    "autoemb": autoemb,
    "pep": pep,
    "qr": quotient_remainder,
    "hashing": hashing,
    "magnitude": magnitude,
}
"""By the name that they have in tables and on the command line. "magnitude" prunes single numbers."""
