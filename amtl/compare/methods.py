"""Every method by name, and which of them choose among others."""

from __future__ import annotations

from amtl.compare.ours import SELECTORS, by_selector, paper
from amtl.compare.peers import PEERS
from amtl.compare.references import base, control
from amtl.compare.results import BASE, CONTROL, LOGISTIC, PAPER
from amtl.compare.task import Method
from amtl.errors import ParamsError

OURS: dict[str, Method] = {name: by_selector(selector) for name, selector in SELECTORS.items()}
METHODS: dict[str, Method] = {BASE: base, CONTROL: control, **PEERS, **OURS, PAPER: paper}
"""What a run calls, in the order of the report."""

REFERENCES = (BASE, CONTROL, LOGISTIC)
"""What is always run: the full-width table as trained and at its best, and a model without embeddings."""

CHOICES: dict[str, tuple[str, ...]] = {"auto": ("curvature", "twins", "rule"), "auto-mixed": ("curvature", "twins", "rule")}
"""What takes the best of others on validation, at the same budget and precision."""

MIXED = {"auto-mixed"}
"""Choices whose candidates have from 2 to 8 bits a field, size and dimension, whatever the precision of the others."""

OF_OWN_SIZE = {*REFERENCES, PAPER}
"""What no budget can be given to."""

WIDENED = "fixed-distilled"
"""The method that is also run at widths of its own."""

ALL = (*(name for name in METHODS if name not in REFERENCES), *CHOICES)
"""What may be asked for."""


def known(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, without repetitions.

    Raises:
        ParamsError: one of them names no method.
    """
    unknown = [name for name in names if name not in ALL]
    if unknown or not names:
        raise ParamsError(f"--methods: {unknown[0] if unknown else 'nothing'} is no method; there are {', '.join(ALL)}")
    return tuple(dict.fromkeys(names))
