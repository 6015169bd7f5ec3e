"""How far a long reading has come: a bar on a terminal, a line now and then elsewhere; on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

SECONDS_A_LINE = 10.0

Advance = Callable[[int], None]
"""Told how many more rows have passed; called from the threads that read."""


@contextlib.contextmanager
def shown(what: str, rows: int | None, unit: str = "rows") -> Iterator[Advance]:
    """Show progress while the block runs.

    Args:
        what: the work, in a word or two.
        rows: how many there are; None where that is not known.
        unit: of what is counted.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,} " + unit),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=rows)
            yield lambda more: bar.advance(task, more)
    else:
        yield Lines(what, rows, lambda line: print(line, file=sys.stderr, flush=True), unit=unit)


class Lines:
    """Says how many rows have passed, every SECONDS_A_LINE."""

    def __init__(
        self, what: str, rows: int | None, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic, unit: str = "rows"
    ) -> None:
        self.what = what
        self.rows = rows
        self.say = say
        self.clock = clock
        self.unit = unit
        self.passed = 0
        self.started = self.said = clock()

    def __call__(self, more: int) -> None:
        """Count rows; speak when it is time."""
        self.passed += more
        now = self.clock()
        if now - self.said < SECONDS_A_LINE:
            return
        self.said = now
        share = f" of {self.rows:,} ({self.passed / self.rows:.0%})" if self.rows else ""
        self.say(f"{self.what}: {self.passed:,}{share} {self.unit}, {self.passed / (now - self.started):,.0f} {self.unit}/s")
