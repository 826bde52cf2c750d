"""``mibench leaderboard submit``: from the records of runs to a folder and the text of a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK
from mibench.cli.checks import as_violations, tell
from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.leaderboard import protocol_texts, rechecks, tell_believed
from mibench.cli.terminal import echo, echo_json, echo_table, note, short_path
from mibench.results.display import difference, printable

if TYPE_CHECKING:
    from mibench.leaderboard.pull_request import Place
    from mibench.leaderboard.submission import Submission, SubmittedBoard, SubmittedRow

OUT = Path("mibench-submission")


@click.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--to", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the submission.")
@click.option("--incomplete", is_flag=True, help="Submit what there is, though seeds or required attacks are missing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def submit(
    ctx: click.Context, records: Sequence[Path], folder: Path, out: Path, incomplete: bool, as_json: bool
) -> None:
    """Prepare a pull request from RECORDS: files, or folders such as `mibench-runs/<time>`.

    Checks them as continuous integration will, on the board as it would be with them; says what is missing, with the
    commands; and writes the new files and PULL_REQUEST.md to --out. Nothing in the leaderboards folder changes, and
    nothing is sent anywhere. Exit code 1 if records are refused or something is missing.
    """
    from mibench.leaderboard.folder import write_folder
    from mibench.leaderboard.pull_request import pull_request, title
    from mibench.leaderboard.submission import prepare

    recheck = rechecks()
    made = prepare(list(records), folder, protocol_texts(), recheck.findings)
    ready = bool(made.records) and not made.refused and (incomplete or not made.incomplete)
    places = _places(made, folder)
    if ready:
        write_folder(out, made.files, pull_request(made, places))
    if as_json:
        echo_json(_document(made, places, out if ready else None))
    else:
        _show(made, places)
        if ready:
            _next_steps(out, folder, title(made))
    tell_believed(recheck)
    ctx.exit(EXIT_OK if ready else EXIT_FAILED_CELLS)


def _places(made: Submission, folder: Path) -> Mapping[str, Place]:
    from mibench.leaderboard.pull_request import ROLES, Place
    from mibench.registry.origins import origin_of

    parts = [record.components[role] for record in made.records for role in ROLES if role in record.components]
    names = dict.fromkeys(name.strip() for part in parts for name in part.distribution.split("+"))
    found = {name: origin_of(name, folder.resolve().parent) for name in names}
    return {name: Place(one.where, one.public, one.links) for name, one in found.items()}


def _show(made: Submission, places: Mapping[str, Place]) -> None:
    for line in made.left_out:
        note(f"left out, the board has this control already: {printable(line, 300)}")
    if made.refused:
        tell(made.refused, as_json=False)
        return
    if not made.records:
        echo("nothing to submit: the board has all of these already")
        return
    for board in made.boards:
        _show_board(board)
    from mibench.leaderboard.pull_request import unpublished

    for name in unpublished(made.records, places):
        where = places[name].where if name in places else "not installed here"
        echo(f"plugin   {printable(name)}: {where}; publish it, and give the address in the pull request")


def _show_board(board: SubmittedBoard) -> None:
    from mibench.leaderboard.gaps import commands
    from mibench.leaderboard.tables import table_of

    table = table_of(board.section, [row.row for row in board.rows])
    echo_table(table.columns, table.rows, title=table.title)
    echo(table.footer)
    for name, before, after in board.moved:
        echo(f"moves    {printable(name)}: rank {before or 'none'} to {after or 'none'}")
    for row in board.rows:
        for flag in row.flags:
            echo(f"answer   {printable(row.row.defense)}: {printable(flag.id)}: {printable(flag.text, 500)}")
        for attack, seeds in row.gaps.items():
            echo(f"missing  {printable(row.row.defense)} under {printable(attack)}: seed {', '.join(map(str, seeds))}")
        for command in commands(row.row, row.gaps):
            echo(f"run      {printable(command, 2000)}")
    echo()


def _next_steps(out: Path, folder: Path, name: str) -> None:
    from mibench.leaderboard.folder import TEXT

    here, there = short_path(out), short_path(folder)
    echo(f"written  {here}: new files below {BOARDS}/, and {TEXT}; fill in what is open there. Then, in a branch:")
    echo(f"  cp -r {here}/{BOARDS}/. {there}/")
    echo(f"  git add {there} && git commit -m {_quoted(name)}")
    echo(f"  gh pr create --title {_quoted(name)} --body-file {here}/{TEXT}     # or push, and paste the text")


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _document(made: Submission, places: Mapping[str, Place], out: Path | None) -> dict[str, Any]:
    return {
        "ready": out is not None,
        "out": out.as_posix() if out else None,
        "records": len(made.records),
        "present": made.present,
        "left_out": list(made.left_out),
        "refused": as_violations(made.refused),
        "boards": [
            {"protocol": board.section.protocol, "rows": [_row(row) for row in board.rows],
             "moved": [dict(zip(("row", "before", "after"), one, strict=True)) for one in board.moved]}
            for board in made.boards
        ],
        "plugins": {name: place._asdict() for name, place in places.items()},
        "files": sorted(made.files),
    }  # fmt: skip


def _row(row: SubmittedRow) -> dict[str, Any]:
    from mibench.leaderboard.gaps import commands

    gap = row.row.difference
    return {
        "row": row.slug,
        "new": row.before is None,
        "rank": row.row.rank or None,
        "rank_before": (row.before.rank or None) if row.before else None,
        "leakage": row.row.leakage.value,
        "difference": gap.value if gap else None,
        "difference_text": difference(gap.value, gap.ci95) if gap else None,
        "missing": {attack: list(seeds) for attack, seeds in row.gaps.items()},
        "commands": commands(row.row, row.gaps),
        "flags": [flag.model_dump() for flag in row.flags],
    }
