"""The official layout of a published file of lines: its fields in their order, and what the text of each may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Kind:
    """What a field's text may be.

    Attributes:
        expected: for messages, e.g. "an integer".
        parse: from text to value; null where the text is no such value.
    """

    expected: str
    parse: Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class Column:
    """A field of a line; `optional`: its text may be one of the layout's words for a missing value."""

    name: str
    kind: Kind
    optional: bool = False


@dataclass(frozen=True)
class Layout:
    """The official layout of a file.

    Attributes:
        title: which file of which data set, for messages.
        separator: between fields; fields are not quoted.
        columns: the fields of a line.
        header: whether line 1 holds their names.
        missing: the words for a missing value.
        latin_1: whether the file is encoded so, not in UTF-8; such a file is read whole.
    """

    title: str
    separator: str
    columns: tuple[Column, ...]
    header: bool = False
    missing: tuple[str, ...] = ("",)
    latin_1: bool = False


def columns(kind: Kind, names: Sequence[str], optional: bool = False) -> tuple[Column, ...]:
    """Fields of one kind."""
    return tuple(Column(name, kind, optional) for name in names)


def value(column: Column, text: pl.Expr, layout: Layout) -> pl.Expr:
    """The value of a field; null where it is missing, or its text is not of the kind."""
    found = column.kind.parse(text)
    return pl.when(~text.is_in(layout.missing)).then(found) if column.optional else found


def is_odd(column: Column, text: pl.Expr, layout: Layout) -> pl.Expr:
    """Whether the text of a field is neither of its kind nor rightly missing."""
    no_value = column.kind.parse(text).is_null()
    return no_value & ~text.is_in(layout.missing) if column.optional else no_value


def coded(codes: dict[str, int]) -> Kind:
    """Small integers written as fixed words."""

    def parse(text: pl.Expr) -> pl.Expr:
        # Not `replace_strict`: the streaming engine (polars 2.1) holds the whole file for it.
        return pl.coalesce(pl.when(text == word).then(pl.lit(code, pl.Int8)) for word, code in codes.items())

    return Kind(" or ".join(codes), parse)


def one_of(*words: str) -> Kind:
    """One of a few words."""
    return Kind(" or ".join(words), lambda text: pl.when(text.is_in(words)).then(text))


def integer(lowest: int, highest: int, expected: str) -> Kind:
    """An integer from `lowest` to `highest`."""

    def parse(text: pl.Expr) -> pl.Expr:
        number = text.cast(pl.Int64, strict=False)
        return pl.when(number.is_between(lowest, highest)).then(number)

    return Kind(expected, parse)


def _finite(text: pl.Expr) -> pl.Expr:
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


TEXT = Kind("a value", lambda text: pl.when(text != "").then(text))
INTEGER = Kind("an integer", lambda text: text.cast(pl.Int64, strict=False))
NUMBER = Kind("a number", _finite)
FLAG = coded({"0": 0, "1": 1})
EPOCH = integer(0, 2**32, "a time in seconds since 1970")
