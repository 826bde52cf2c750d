"""``mibench leaderboard build`` and ``serve``: the boards as a static site."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from mibench.api.errors import UsageError
from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.terminal import echo, note, short_path


@click.command()
@click.option("--out", type=FOLDER, required=True, help="Folder of the site; what lies there tells what changed.")
@click.option("--from", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
@click.option("--url", default="", help="Address that the site will have, for citations and the feed.")
@click.option("--entries-url", default="", help="Address of the leaderboards folder, for links to records.")
@click.option("--date", default=None, help="Date of this build, YYYY-MM-DD [default: SOURCE_DATE_EPOCH, or today].")
def build(out: Path, folder: Path, url: str, entries_url: str, date: str | None) -> None:
    """Write the boards as a static site: no server, no request to any other host, readable without JavaScript.

    Equal entries give equal bytes. To keep the list of changes, build into the folder of the published site, or one
    that holds its changes.json.
    """
    from mibench.assemble.library import library
    from mibench.registry.registry import load_registry
    from mibench.site import build_site
    from mibench.site.build import Settings

    settings = Settings(date_of(date), address_of(url, "--url"), address_of(entries_url, "--entries-url"))
    written = build_site(folder, out, library(load_registry()), settings)
    size = sum(path.stat().st_size for path in written)
    echo(f"site     {short_path(out / 'index.html')}: {len(written)} files, {size / 1e6:.1f} MB")


@click.command()
@click.option("--from", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def serve(folder: Path, port: int, show: bool) -> None:
    """Build the site in a temporary folder and serve it to this machine until Ctrl-C."""
    import tempfile
    import webbrowser

    from mibench.assemble.library import library
    from mibench.registry.registry import load_registry
    from mibench.site import build_site
    from mibench.site.build import Settings
    from mibench.site.serve import server

    with tempfile.TemporaryDirectory() as made:
        build_site(folder, Path(made), library(load_registry()), Settings(date_of(None)))
        with server(Path(made), port) as running:
            address = f"http://127.0.0.1:{running.server_port}/"
            echo(f"serving  {address}")
            note("Ctrl-C ends it")
            if show:
                webbrowser.open(address)
            with contextlib.suppress(KeyboardInterrupt):
                running.serve_forever()


def date_of(stated: str | None) -> str:
    """Return the date of what is written: the one stated, SOURCE_DATE_EPOCH, or today."""
    if stated is None:
        seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    try:
        return datetime.strptime(stated, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        raise UsageError(f"--date {stated!r}: expected YYYY-MM-DD") from None


def address_of(stated: str, option: str) -> str:
    """Return an address with a slash at its end; empty if none was stated."""
    if stated and not stated.startswith(("https://", "http://")):
        raise UsageError(f"{option} {stated!r}: expected an address that begins with https://")
    return stated and stated.rstrip("/") + "/"
