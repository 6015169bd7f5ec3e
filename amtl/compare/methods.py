"""Every method by name, and what is particular about some."""

from __future__ import annotations

from amtl.compare.ours import SELECTORS, auto, auto_mixed, by_selectors, paper
from amtl.compare.peers import PEERS
from amtl.compare.references import base, control
from amtl.compare.results import AUTO_MIXED, BASE, CONTROL, LOGISTIC, PAPER
from amtl.compare.task import Method
from amtl.errors import ParamsError

OURS: dict[str, Method] = {
    **{name: by_selectors(selector) for name, selector in SELECTORS.items()},
    "auto": auto,
    AUTO_MIXED: auto_mixed,
    PAPER: paper,
}

METHODS: dict[str, Method] = {BASE: base, CONTROL: control, **PEERS, **OURS}
"""What a run calls."""

REFERENCES = (BASE, CONTROL, LOGISTIC)
"""What is always run: the full-width table as trained and at its best, and a model without embeddings."""

PRECISIONS = {BASE: "fp32", CONTROL: "fp32", LOGISTIC: "fp32", AUTO_MIXED: "mixed"}
"""Methods that write their numbers in a precision of their own."""

OF_OWN_SIZE = {*REFERENCES, PAPER}
"""What no budget can be given to."""

WIDENED = "fixed-distilled"
"""The method that is also run at widths of its own."""

DEEPENED = "auto"
"""The method that is also run at the bytes of fixed tables which are narrower than every budget: the front goes down as far for both.

What is asked there is whether it loses nothing, so it stops at the first table that does not (`auto_enough`)."""

ALL = (*PEERS, *OURS)
"""What is run unless some are named."""


def known(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, without repetitions.

    Raises:
        ParamsError: one of them names no method.
    """
    unknown = [name for name in names if name not in METHODS or name in REFERENCES]
    if unknown or not names:
        raise ParamsError(f"--methods: {unknown[0] if unknown else 'nothing'} is no method; there are {', '.join(ALL)}")
    return tuple(dict.fromkeys(names))
