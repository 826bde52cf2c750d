"""``mibench leaderboard rules``, ``tables`` and ``schema``, and how ``check`` tells what it found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.terminal import echo, echo_json, echo_text, note, short_path
from mibench.results.display import printable

if TYPE_CHECKING:
    from mibench.leaderboard.verify import Checked


@click.command()
@click.argument("identifier", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rules(identifier: str | None, as_json: bool) -> None:
    """Explain all rules of the boards, or the one with IDENTIFIER, e.g. `mibench leaderboard rules MB302`."""
    from mibench.leaderboard.catalogue import as_json as plain
    from mibench.leaderboard.catalogue import catalogue

    found = catalogue(identifier)
    if as_json:
        echo_json(plain(found))
        return
    for rule in found:
        echo(f"{rule.id}  {rule.sentence}", bold=True)
        echo(f"       breaks it: {printable(rule.words(rule.breaks), 160)}")
        echo(f"       keeps it:  {printable(rule.words(rule.keeps), 160)}")


@click.command()
@click.argument("protocol", required=False)
@click.option("--board", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
def tables(protocol: str | None, folder: Path) -> None:
    """Make `board.csv` of PROTOCOL, or of all boards, again from the entries, where it is out of date.

    That happens when a newer mibench counts or marks rows otherwise. Entries are not judged: `check` does that.
    """
    from mibench.leaderboard.table_file import refresh_tables

    made = refresh_tables(folder, protocol)
    for path in made:
        echo(f"table    {short_path(path)}")
    if not made:
        note("all tables are up to date")


@click.command()
def schema() -> None:
    """Print the JSON Schema of a record; the title holds its version."""
    from mibench.results.schema import schema_text

    echo_text(schema_text())


def compared(against: str, folder: Path) -> list[Checked]:
    """Return what is gone or changed since an earlier state of a leaderboards folder, and say what was compared."""
    from mibench.leaderboard.against import changed_since, published
    from mibench.leaderboard.earlier import earlier_state

    earlier = earlier_state(against, folder)
    found = list(changed_since(earlier, folder))
    note(f"compared with {printable(against)}, which has {published(earlier)} entries")
    return found


def tell(checked: Sequence[Checked], *, as_json: bool) -> None:
    """Print what is wrong with files, as lines or as JSON."""
    broken = [one for one in checked if one.findings]
    if as_json:
        echo_json({"checked": len(checked), "refused": len(broken), "violations": as_violations(broken)})
        return
    for one in broken:
        told = "; ".join(f"{finding.id} {finding.text}" for finding in one.findings)
        echo(f"refused  {short_path(one.path)}: {printable(told, 2000)}")
    echo(f"checked  {len(checked)} files, {len(broken)} refused")


def as_violations(broken: Sequence[Checked]) -> list[dict[str, str]]:
    """Return each broken rule of some files as plain values, safe to print."""
    return [
        {
            "file": one.path.as_posix(),
            "rule": finding.id,
            "field": printable(finding.problem.field),
            "problem": printable(finding.problem.text, 1000),
            "remedy": printable(finding.problem.remedy, 500),
        }
        for one in broken
        for finding in one.findings
    ]
