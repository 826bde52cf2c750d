"""``mibench leaderboard migrate`` and ``migrate-records``: entries, and newer versions of protocols and of records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK, UsageError
from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.terminal import echo, note, short_path
from mibench.results.display import printable

if TYPE_CHECKING:
    from mibench.leaderboard.migrate import Migration
    from mibench.protocol.load import LoadedProtocol

_MOST = 20


@click.command()
@click.argument("protocol")
@click.argument("regraded", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--from", "older", metavar="PROTOCOL@OLD", help="The version before [default: the one it declares].")
@click.option("--board", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
@click.pass_context
def migrate(
    ctx: click.Context, protocol: str, regraded: Sequence[Path], older: str | None, folder: Path, dry_run: bool
) -> None:
    """Take the entries of a board to PROTOCOL, a newer version such as `orl64@2.0`, by the class of the change.

    The version declares what it follows and how it changes it (`follows:` in its file); the two files are compared, and
    a declaration that is milder than what differs is refused. `cosmetic`: entries carry over as they are, each with the
    digest that it had. `regradable`: entries whose reconstructions stand are listed for `mibench leaderboard regrade`;
    REGRADED are records that it made, and are added. `rerun`: nothing moves, and the commands that fill the new board
    are printed. The older board stays as it is. Exit code 1 if something did not come along.
    """
    from mibench.assemble.carry import Carrier
    from mibench.assemble.recheck import Recheck
    from mibench.leaderboard.migrate import migrate as move
    from mibench.leaderboard.migrate import older_version
    from mibench.plan.facts import Facts
    from mibench.registry.registry import load_registry
    from mibench.store.store import default_root

    registry = load_registry()
    new = _newer(protocol)
    old = older_version(folder, new, older)
    memo = Facts.beside(registry, default_root()).memo
    recheck = Recheck(registry, memo)
    carrier = Carrier(registry, old, new, memo)
    done = move(folder, old, new, carrier, recheck=recheck.findings, regraded=regraded, dry_run=dry_run)
    memo.save()
    _tell(done, dry_run=dry_run)
    ctx.exit(EXIT_FAILED_CELLS if done.left else EXIT_OK)


@click.command(name="migrate-records")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
@click.pass_context
def migrate_records(ctx: click.Context, paths: Sequence[Path], dry_run: bool) -> None:
    """Rewrite records of an older form as records of this one: files, folders, or boards.

    A record keeps its numbers, and states the digest that it had. Where the newer form has no place for something, the
    old file stays beside the new one. Exit code 1 if a file could not be read.
    """
    from mibench.leaderboard.bring_up import bring_up
    from mibench.results.record import SCHEMA_VERSION

    found = list(bring_up(paths, dry_run=dry_run))
    broken = [one for one in found if one.problem]
    moved = [one for one in found if not one.problem and one.version < SCHEMA_VERSION]
    for one in moved:
        kept = f"; without {'; '.join(one.lost)}: {one.path.name}.schema-{one.version} has it" if one.lost else ""
        echo(f"{_verb('migrated', dry_run)} {short_path(one.path)}: {one.version} to {SCHEMA_VERSION}{kept}")
    for one in broken:
        echo(f"left      {printable(one.problem, 2000)}")
    same = len(found) - len(moved) - len(broken)
    echo(f"checked   {len(found)} files: {len(moved)} older, {same} of schema version {SCHEMA_VERSION}")
    ctx.exit(EXIT_FAILED_CELLS if broken else EXIT_OK)


def _newer(name: str) -> LoadedProtocol:
    from mibench.protocol.load import load_protocol
    from mibench.registry.registry import load_registry

    if name.lower().endswith((".yaml", ".yml")):
        raise UsageError(f"{name} is a file; a board's protocol is that of an installed plugin. Give its name@version")
    return load_protocol(load_registry(), name)


def _verb(verb: str, dry_run: bool) -> str:
    return "would be " + verb if dry_run else verb


def _tell(done: Migration, *, dry_run: bool) -> None:
    from mibench.protocol.changes import told

    echo(f"{done.old} to {done.new}: {done.change}. {printable(done.why, 500)}", bold=True)
    echo(f"differs   {printable(told(done.differences), 2000)}")
    if done.change == "cosmetic":
        echo(f"carried   {len(done.carried)} entries" + (f", {len(done.there)} were there" if done.there else ""))
    elif done.change == "regradable":
        _tell_regrade(done)
    else:
        echo("carried   nothing: entries stay where they are")
    for one in done.left:
        echo(f"left      {short_path(one.path)}: {printable(str(one.problem), 2000)}")
    if done.commands:
        echo(f"To fill the board of {done.new}:")
    for command in done.commands:
        echo(f"  {printable(command, 4000)}")
    if dry_run:
        note("nothing was written (--dry-run)")


def _tell_regrade(done: Migration) -> None:
    echo(f"linked    {len(done.carried)} records" + (f", {len(done.there)} were there" if done.there else ""))
    for path in done.regrade[:_MOST]:
        echo(f"regrade   {short_path(path)}")
    if len(done.regrade) > _MOST:
        echo(f"          and {len(done.regrade) - _MOST} more")
    if done.regrade:
        echo(f"{len(done.regrade)} entries are to be measured again from their reconstructions. For each bundle:")
        echo(f"  mibench leaderboard regrade BUNDLE --protocol {done.new} --out regraded")
        echo(f"  mibench leaderboard migrate {done.new} regraded/*.json")
