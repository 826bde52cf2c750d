"""Serve a folder to this machine alone."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class QuietHandler(SimpleHTTPRequestHandler):
    """Answers with files and prints nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of a folder on 127.0.0.1; port 0 takes a free one.

    Raises:
        OSError: if the port is taken.
    """
    return ThreadingHTTPServer(("127.0.0.1", port), partial(QuietHandler, directory=str(folder)))
