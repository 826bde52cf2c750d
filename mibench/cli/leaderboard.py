"""``mibench leaderboard``: add records to a board, check a board, print a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK, MibenchError, UsageError
from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.lazy import LazyCommand, LazyGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mibench.assemble.recheck import Recheck
    from mibench.leaderboard.access import Access

FORMATS = ("json", "csv", "markdown")
ACCESSES = ("scores", "labels")


_HERE = "mibench.cli.leaderboard"
COMMANDS = {
    "add": LazyCommand(f"{_HERE}:add", "Check record files and add them: all, or none."),
    "check": LazyCommand(f"{_HERE}:check", "Check records or boards: all violations at once."),
    "tables": LazyCommand("mibench.cli.checks:tables", "Make the tables of boards again from their entries."),
    "submit": LazyCommand("mibench.cli.submit:submit", "Prepare a pull request from the records of runs."),
    "withdraw": LazyCommand("mibench.cli.withdraw:withdraw", "Take a row or records from a board, with a reason."),
    "show": LazyCommand(f"{_HERE}:show", "Print a board."),
    "migrate": LazyCommand("mibench.cli.versions:migrate", "Take entries to a newer version of their protocol."),
    "migrate-records": LazyCommand("mibench.cli.versions:migrate_records", "Rewrite records of an older form."),
    "build": LazyCommand("mibench.cli.site:build", "Write the boards as a static site."),
    "serve": LazyCommand("mibench.cli.site:serve", "Build the site and serve it to this machine."),
    "export": LazyCommand("mibench.cli.export:export", "Write boards in other formats, per-person values among them."),
    "bundle": LazyCommand("mibench.cli.bundle:bundle", "Pack the evidence of records."),
    "regrade": LazyCommand("mibench.cli.regrade:regrade", "Measure the evidence of bundles again; print what moved."),
    "attest": LazyCommand("mibench.cli.attest:attest", "Write down who ran entries, or what a second party found."),
    "rules": LazyCommand("mibench.cli.checks:rules", "Explain the rules: a sentence and two examples each."),
    "schema": LazyCommand("mibench.cli.checks:schema", "Print the JSON Schema of a record."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def leaderboard() -> None:
    """Add records to leaderboards, check them, print them, or make a site of them."""


@click.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
def add(records: Sequence[Path], folder: Path) -> None:
    """Check record files and add them: all, or none."""
    from mibench.cli.terminal import echo, short_path
    from mibench.leaderboard import add_records

    recheck = rechecks()
    for entry in add_records(list(records), folder, protocol_texts(), recheck.findings):
        echo(f"entry    {short_path(entry)}")
    tell_believed(recheck)


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH|PROTOCOL]...")
@click.option("--from", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
@click.option(
    "--against", metavar="FOLDER|COMMIT", help="Earlier state of --from: what it has may not vanish or change."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: each violation with file, rule, field, remedy.")
@click.pass_context
def check(ctx: click.Context, paths: Sequence[str], folder: Path, against: str | None, as_json: bool) -> None:
    """Check records, or all entries of boards, by the rules that `add` has, and print all violations at once.

    PATH is a record, a folder of records, a leaderboards folder or that of one board. PROTOCOL is a board of `--from`;
    without any, all of its boards are checked. Entries are planned again with the installed plugins. Exit code 1 if a
    file breaks a rule; `mibench leaderboard rules` explains each. With `--against`, so does every entry of an earlier
    state that is gone or changed without a withdrawal.
    """
    from mibench.cli.checks import compared, tell
    from mibench.leaderboard import check_paths, verify

    recheck = rechecks()
    files, names = _sorted_out(paths)
    texts = protocol_texts() if files else {}
    checked = list(check_paths(files, folder, texts, recheck.findings)) if files else []
    for name in names if paths else (None,):
        checked += verify(folder, name, recheck.findings)
    checked += compared(against, folder) if against else ()
    tell(checked, as_json=as_json)
    tell_believed(recheck)
    ctx.exit(EXIT_FAILED_CELLS if any(one.findings for one in checked) else EXIT_OK)


@click.command()
@click.argument("protocol", required=False)
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown.")
@click.option("--by-attack", is_flag=True, help="A row for each attack, baselines included, instead of the worst case.")
@click.option("--access", type=click.Choice(ACCESSES), help="Rank what attackers achieve who see no more than that.")
@click.option("--from", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
def show(protocol: str | None, form: str | None, by_attack: bool, access: Access | None, folder: Path) -> None:
    """Print the board of PROTOCOL, or all boards.

    PROTOCOL is `name` or `name@version`.
    """
    from mibench import leaderboard as boards
    from mibench.cli.terminal import echo, echo_table, echo_text

    try:
        board = boards.load_board(folder, protocol, by_attack=by_attack, access=access)
    except UsageError:
        _refuse_without_rows(protocol or "", folder)
        raise
    if form in FORMATS:
        render = {"json": boards.to_json, "csv": boards.to_csv, "markdown": boards.to_markdown}[form]
        echo_text(render(board))
        return
    for table in boards.to_table(board):
        echo_table(table.columns, table.rows, title=table.title)
        echo(table.footer)
        for line in (*table.commands, *table.withdrawn):
            echo(line)
        echo()


def _refuse_without_rows(asked: str, folder: Path) -> None:
    """Say of an installed protocol that it has no row yet, and how the first one comes about."""
    from mibench.leaderboard.layout import boards
    from mibench.protocol.load import load_protocol
    from mibench.registry.registry import load_registry

    registry, known = load_registry(), {name for board in boards(folder) for name in (board.id, board.name)}
    if asked in known or asked.partition("@")[0] not in {entry.name for entry in registry.entries("protocol")}:
        return
    protocol = load_protocol(registry, asked).protocol
    seeds = " ".join(f"--seed {seed}" for seed in protocol.seeds)
    raise UsageError(
        f"{protocol.id} has no entries in {folder} yet. The first row: mibench run --protocol {protocol.id} --defense"
        f" DEFENSE {seeds} --publish"
    )


def _sorted_out(asked: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell paths from names of protocols: what exists is a path, and so is what looks like one."""
    paths = [one for one in asked if Path(one).exists() or "/" in one or one.endswith(".json")]
    if missing := next((one for one in paths if not Path(one).exists()), None):
        raise UsageError(f"{missing} does not exist; expected a record, a folder, or a protocol such as orl64@1.0")
    return list(map(Path, paths)), [one for one in asked if one not in paths]


def rechecks() -> Recheck:
    """Return the rules that need the installed components."""
    from mibench.assemble.recheck import Recheck
    from mibench.registry.registry import load_registry
    from mibench.store.store import default_root

    return Recheck.beside(load_registry(), default_root())


def tell_believed(recheck: Recheck) -> None:
    """Remember what was learnt, and say what is not installed here in the version that made the records."""
    from mibench.cli.terminal import note

    recheck.save()
    for what, records in sorted(recheck.believed().items()):
        note(f"reported {what} of {records} records: not installed in the version that made them, so not recomputed")


def protocol_texts() -> dict[str, str]:
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
