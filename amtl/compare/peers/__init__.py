"""What others do about large tables, one module a method; each cites its paper and names every deviation.

All have one deviation in common: they train by `Task.train` or `Task.finetune`, the latter with the settings of the product's own tables,
and all but `fixed` learn from the control as well. One difference is left: peers' numbers are coded after training, ours also in it
(`amtl.packing.coded_embedding`).
"""

from __future__ import annotations

from amtl.compare.peers import autoemb, fixed, hashing, magnitude, mde, pep, qr
from amtl.compare.task import Method

PEERS: dict[str, Method] = {
    "fixed": fixed.fixed,
    "fixed-distilled": fixed.fixed_distilled,
    "mde": mde.mde,
    "autoemb": autoemb.autoemb,
    "pep": pep.pep,
    "qr": qr.quotient_remainder,
    "hashing": hashing.hashing,
    "magnitude": magnitude.magnitude,
}
"""By the name that they have in tables and on the command line. "magnitude" prunes single numbers."""
