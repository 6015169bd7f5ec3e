"""A Prefect API for one command: the server that the user runs, else a temporary one that dies with the command.

Prefect's own temporary server outlives a killed flow. This one watches its parent, and takes a listening socket from
it, so there is no port to guess and nothing to poll: the first request waits until the server answers.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from amtl import environment, processes


@contextlib.contextmanager
def api() -> Iterator[str]:
    """Give this process's flows a Prefect API; yields its address.

    The address that the user has set is used. Only the one that `amtl env` names, where nobody may listen yet, gives
    way to a temporary server.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = PREFECT_API_URL.value()
    if url and (url != environment.LOCAL_API or _listens(url)):
        yield url
        return
    with temporary() as url, temporary_settings({PREFECT_API_URL: url}), _without_links():
        try:
            yield url
        finally:
            send_pending()


@contextlib.contextmanager
def temporary() -> Iterator[str]:
    """Run a server without pages on a free port of this machine; yields its address. It ends with the block or with this process."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port = listener.getsockname()[1]
        descriptor = listener.fileno()
        settings = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.server", str(descriptor)],
            env={**os.environ, **settings, processes.FLOW_PID: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            pass_fds=[descriptor],
        )
    try:
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve(descriptor: int) -> None:
    """Serve Prefect's API on a listening socket until told to stop (the body of the temporary server)."""
    processes.die_with_parents()
    import uvicorn

    uvicorn.run("prefect.server.api.server:create_app", factory=True, fd=descriptor, log_level="error", lifespan="on")


@contextlib.contextmanager
def _without_links() -> Iterator[None]:
    """Keep the address of a page that the temporary server does not have out of the log."""
    logger = logging.getLogger("prefect.flow_runs")

    def is_no_link(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("View at ")

    logger.addFilter(is_no_link)
    try:
        yield
    finally:
        logger.removeFilter(is_no_link)


def send_pending() -> None:
    """Let logs and events that are still queued in this process reach the server before it ends."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10, at_exit=False)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=2):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    serve(int(sys.argv[1]))
