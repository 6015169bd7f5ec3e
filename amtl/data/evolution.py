"""What a changed declaration of events means for a model that was made under another one. docs/schema.md has all the rules."""

from __future__ import annotations

from amtl.params import EventsParams


def another_label(then: EventsParams, now: EventsParams) -> str | None:
    """Why a model made under `then` says nothing of the label of `now`; None if it is the same."""
    return None if then.label == now.label else f"it predicts {then.label}, and today's label is {now.label}"


def unreadable(then: EventsParams, now: EventsParams) -> str | None:
    """Why a model made under `then` cannot read rows as `now` declares them; None if it can.

    Values of another type it reads as far as they are values that it knows, columns that are gone as unknown, further ones not
    at all: all that a server may send it, too. But one value is no list.
    """
    kinds = {field.name: field.kind for field in now.fields}
    for field in then.fields:
        kind = kinds.get(field.name, field.kind)
        if (kind == "ids") != (field.kind == "ids"):
            return f"it reads {field.name} as {_words(field.kind)}, and today's rows hold {_words(kind)}"
    return None


def _words(kind: str) -> str:
    return "lists" if kind == "ids" else "single values"
