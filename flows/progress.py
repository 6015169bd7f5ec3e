"""Progress in a terminal: one line below the log that says which stage runs, how many are done and for how long."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import PrefectConsoleHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.theme import Theme


class _Watcher(logging.Handler):
    """Moves the bar by the records in which a stage announces itself."""

    def __init__(self, progress: Progress, bar: TaskID) -> None:
        super().__init__()
        self.progress = progress
        self.bar = bar

    def emit(self, record: logging.LogRecord) -> None:
        place = getattr(record, "amtl_stage", None)
        if place is not None:
            number, total, name = place
            self.progress.update(self.bar, completed=number - 1, total=total, description=name)


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show the line while the block runs. Where Prefect's log does not go to a terminal, show nothing."""
    setup_logging()  # or the handler would not be there before the first flow runs
    handler = next((one for one in logging.getLogger().handlers if isinstance(one, PrefectConsoleHandler)), None)
    if handler is None or not handler.console.is_terminal:
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with handler.console.use_theme(Theme()), Progress(*columns, console=handler.console, transient=True) as progress:
        watcher = _Watcher(progress, progress.add_task("retrain", total=None))
        runs = logging.getLogger("prefect.task_runs")
        runs.addHandler(watcher)
        try:
            yield
        finally:
            runs.removeHandler(watcher)
