"""``mibench leaderboard withdraw``: take a row or records from a board, in the open."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import click

from mibench.api.errors import UsageError
from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.site import date_of
from mibench.cli.terminal import echo, short_path


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="ROW|RECORD...")
@click.option("--reason", required=True, help="Why, for everybody to read.")
@click.option("--by", default="", help="Who withdraws it [default: user.name of git].")
@click.option("--from", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
@click.option("--date", default=None, help="YYYY-MM-DD [default: SOURCE_DATE_EPOCH, or today].")
def withdraw(what: Sequence[str], reason: str, by: str, folder: Path, date: str | None) -> None:
    """Take a row, or single records, from a board, with a reason.

    ROW is the name or the address of a row's page, such as `orl64/1.0/rows/smallcnn-atat-3f2a9c1b8d7e`; RECORD is the
    file of an entry. The files move to `withdrawn/` beside a notice, the table is made anew, and the site says what
    went and why. The same record is not accepted again.
    """
    from mibench.leaderboard.chosen import chosen_entries
    from mibench.leaderboard.withdraw import withdraw as take

    found = chosen_entries(what, folder)
    who = by.strip() or _git_name()
    for board, entries in found.items():
        made = take(folder, board, entries, reason=reason, by=who, date=date_of(date))
        many = f"{len(made.notice.records)} record{'s' * (len(made.notice.records) > 1)}"
        echo(f"withdrawn {many} of {board.id}: {short_path(made.folder)}")
        echo(f"table     {short_path(board.table_file)}")


def _git_name() -> str:
    program = shutil.which("git")
    asked = [program or "git", "config", "user.name"]
    done = subprocess.run(asked, capture_output=True, timeout=10, check=False) if program else None  # noqa: S603
    name = done.stdout.decode(errors="replace").strip() if done else ""
    if not name:
        raise UsageError("who withdraws it? Give a name with --by")
    return name
