"""``mibench leaderboard attest``: who ran entries, and what a second party found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mibench.api.errors import UsageError
from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.site import date_of
from mibench.cli.terminal import echo, echo_table, short_path
from mibench.results.display import difference, with_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mibench.leaderboard.attest import Witness, Written
    from mibench.leaderboard.attestation import Attestation, Number, Party

PARTIES = ("authors", "maintainers", "third-party")
PARTY_HELP = "What you have to do with the records: authors of the method, maintainers of the board, or neither."


@click.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--by", help="Who you are: a name, and where to find you.  [required]")
@click.option("--as", "party", type=click.Choice(PARTIES), default="third-party", show_default=True, help=PARTY_HELP)
@click.option("--ran", is_flag=True, help="RECORDS are entries, and this is who ran them.")
@click.option("--note", default="", help="What else there is to say.")
@click.option("--date", default=None, help="YYYY-MM-DD [default: SOURCE_DATE_EPOCH, or today].")
@click.option("--board", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
def attest(
    records: Sequence[Path], by: str | None, party: Party, ran: bool, note: str, date: str | None, folder: Path
) -> None:
    """Compare RECORDS that you ran with the published ones of the same cells, and write down what came out.

    Two runs agree if each headline lies in the other's 95 % interval over people, and one of the accuracies in the
    other's. Runs that do not agree are written down too: the row is flagged as disputed. RECORDS are files, or folders
    of them.
    """
    from mibench.leaderboard.attest import attest as write
    from mibench.leaderboard.attest import attest_ran, repeated
    from mibench.results.io import load_record

    who = witness(by, party, date, note)
    files = [file for path in records for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]
    if ran:
        tell(attest_ran([load_record(file) for file in files], folder, who))
    else:
        tell(write("reproduced", repeated(files, folder), folder, who))


def witness(by: str | None, party: Party, date: str | None, note: str = "") -> Witness:
    """Return who says something.

    Raises:
        UsageError: if nobody does.
    """
    from mibench.leaderboard.attest import Witness

    if not by:
        raise UsageError("an attestation names who made it; say it with --by")
    return Witness(by, party, date_of(date), note)


def tell(written: Written) -> None:
    """Print what attestations say, and where they lie."""
    for path, one in written:
        if one.kind != "ran":
            echo_table(["cell", "published", "found", "difference, paired", "outcome"], _rows(one))
            echo(f"rule     {one.rule}")
        echo(f"attested {short_path(path)}: {one.kind} by {one.by}, {len(one.statements)} records")


def _rows(one: Attestation) -> list[tuple[Any, ...]]:
    rows = []
    for said in one.statements:
        before, after = (_text(pair.published), _text(pair.found)) if (pair := said.headline) else ("", "")
        gap = difference(said.difference.value, said.difference.ci95) if said.difference else ""
        rows.append((said.cell, before, after, gap, said.outcome))
    return rows


def _text(number: Number | None) -> str:
    return with_interval(number.value, number.ci95) if number else ""
