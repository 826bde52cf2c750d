"""``mibench leaderboard``: add records to a board, check a board, print a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK, MibenchError
from mibench.cli.folder import FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mibench.assemble.recheck import Recheck

DEFAULT_FOLDER = Path("leaderboards")
FORMATS = ("json", "csv", "markdown")


@click.group()
def leaderboard() -> None:
    """Add records to a leaderboard, check one, or print one."""


@leaderboard.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "folder", type=FOLDER, default=DEFAULT_FOLDER, show_default=True, help="Leaderboards folder.")
def add(records: Sequence[Path], folder: Path) -> None:
    """Check record files and add them: all, or none."""
    from mibench.cli.terminal import echo, short_path
    from mibench.leaderboard import add_records

    recheck = _recheck()
    for entry in add_records(list(records), folder, _protocol_texts(), recheck.findings):
        echo(f"entry    {short_path(entry)}")
    _tell_believed(recheck)


@leaderboard.command()
@click.argument("protocol", required=False)
@click.option("--from", "folder", type=FOLDER, default=DEFAULT_FOLDER, show_default=True, help="Leaderboards folder.")
@click.pass_context
def check(ctx: click.Context, protocol: str | None, folder: Path) -> None:
    """Check all entries of the board of PROTOCOL, or of all boards, by the rules that `add` has.

    Entries are planned again with the installed plugins. Exit code 1 if a file breaks a rule.
    """
    from mibench.cli.terminal import echo, short_path
    from mibench.leaderboard import verify
    from mibench.results.display import printable

    recheck = _recheck()
    found = list(verify(folder, protocol, recheck.findings))
    broken = [(path, problem) for path, problem in found if problem]
    for path, problem in broken:
        echo(f"refused  {short_path(path)}: {printable(problem, 1000)}")
    echo(f"checked  {len(found)} files, {len(broken)} refused")
    _tell_believed(recheck)
    ctx.exit(EXIT_FAILED_CELLS if broken else EXIT_OK)


@leaderboard.command()
@click.argument("protocol", required=False)
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown.")
@click.option("--by-attack", is_flag=True, help="A row for each attack, baselines included, instead of the worst case.")
@click.option("--from", "folder", type=FOLDER, default=DEFAULT_FOLDER, show_default=True, help="Leaderboards folder.")
def show(protocol: str | None, form: str | None, by_attack: bool, folder: Path) -> None:
    """Print the board of PROTOCOL, or all boards.

    PROTOCOL is `name` or `name@version`.
    """
    from mibench import leaderboard as boards
    from mibench.cli.terminal import echo, echo_table, echo_text

    board = boards.load_board(folder, protocol, by_attack=by_attack)
    if form in FORMATS:
        render = {"json": boards.to_json, "csv": boards.to_csv, "markdown": boards.to_markdown}[form]
        echo_text(render(board))
        return
    for table in boards.to_table(board):
        echo_table(table.columns, table.rows, title=table.title)
        echo(table.footer)
        for command in table.commands:
            echo(command)
        echo()


def _recheck() -> Recheck:
    from mibench.assemble.recheck import Recheck
    from mibench.registry.registry import load_registry
    from mibench.store.store import default_root

    return Recheck.beside(load_registry(), default_root())


def _tell_believed(recheck: Recheck) -> None:
    """Remember what was learnt, and say what is not installed here in the version that made the records."""
    from mibench.cli.terminal import note

    recheck.save()
    for what, records in sorted(recheck.believed().items()):
        note(f"reported {what} of {records} records: not installed in the version that made them, so not recomputed")


def _protocol_texts() -> dict[str, str]:
    """Return the YAML of every installed protocol; one that is broken concerns only its own records."""
    from mibench.cli.terminal import note
    from mibench.protocol.load import load_protocol
    from mibench.registry.registry import load_registry

    texts: dict[str, str] = {}
    registry = load_registry()
    for entry in registry.entries("protocol"):
        try:
            loaded = load_protocol(registry, entry.name)
        except (MibenchError, OSError) as error:
            note(f"protocol {entry.name} is left out: {error}")
        else:
            texts[loaded.protocol.id] = loaded.text
    return texts
