"""``mibench data import-NAME``: one command for each importer that is installed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from mibench.api.folders import named_folder
from mibench.cli.folder import FOLDER
from mibench.cli.terminal import echo, short_path
from mibench.execute.streams import aside
from mibench.registry.registry import load_registry

PREFIX = "import-"
IMPORTED = Path("~/.cache/mibench-imported")
"""Where imports go by default, ``NAME`` and a folder that the importer names inside. Apart from the store, which may be
emptied at will."""


class ImportGroup(click.Group):
    """A group whose ``import-NAME`` commands are those of the installed importers; listing imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the group's own commands, then the imports."""
        return [*super().list_commands(ctx), *(PREFIX + entry.name for entry in load_registry().entries("importer"))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; ``None`` if there is none of that name."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or not cmd_name.startswith(PREFIX):
            return own
        return _command(cmd_name.removeprefix(PREFIX))


def _command(name: str) -> click.Command:
    spec = load_registry().get("importer", name).spec
    summary = spec.summary[:1].upper() + spec.summary[1:].rstrip(".") + "."
    source = click.Argument(["source"], metavar="FILE", type=click.Path(path_type=Path))
    output = click.Option(
        ["--output"],
        type=FOLDER,
        help=f"Folder to write; {IMPORTED}/{name}/ and the file's name by default.",
    )
    return click.Command(PREFIX + name, params=[source, output], callback=partial(_run, name), help=summary)


def _run(name: str, source: Path, output: Path | None) -> None:
    with aside():
        importer = load_registry().component("importer", name)()
        source = named_folder(source, "FILE")
        folder = named_folder(output or IMPORTED / name / importer.folder_name(source), "--output")
        made = importer.run(source, folder)
    echo(f"found   {made.found}")
    echo(f"wrote   {short_path(made.folder)}")
    for line in made.use:
        echo(f"use     {line}")
