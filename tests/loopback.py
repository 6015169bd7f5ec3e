"""A server of one file on the loopback device, which misbehaves as told."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server does, answer by answer.

    Attributes:
        content: of the file, which has every path.
        statuses: of the first answers, in place of the file.
        cuts: bytes after which the first answers of the file break off.
        ranges: whether it knows Range.
        mark: its ETag; None for none.
        url: where it is.
        asked: the Range header of each request so far.
    """

    content: bytes
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    mark: str | None = '"one"'
    url: str = ""
    asked: list[str | None] = field(default_factory=list)


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve a site while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/file.zip"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            site.asked.append(wanted)
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            same = site.mark is not None and self.headers["If-Range"] == site.mark
            first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and site.ranges and same else 0
            if first >= len(site.content) > 0 and first:
                self.send_error(416)
                return
            self._send(first)

        def _send(self, first: int) -> None:
            body = site.content[first:]
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(site.content) - 1}/{len(site.content)}")
            if site.mark:
                self.send_header("ETag", site.mark)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
