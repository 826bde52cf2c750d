"""The text of a pull request that brings records. Nothing in a record becomes markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mibench.leaderboard.submission import Submission, SubmittedBoard, SubmittedRow
from mibench.leaderboard.tables import as_markdown, markdown, table_of
from mibench.results.display import printable
from mibench.results.record import Record

ROLES = ("defense", "attack", "model", "prior")
"""Components that a submission may bring; all others are the protocol's."""


class Place(NamedTuple):
    """Where a distribution can be had.

    Attributes:
        where: in words.
        public: whether others can reach it.
        links: addresses of its project.
    """

    where: str
    public: bool
    links: tuple[str, ...] = ()


Places = Mapping[str, Place]
"""Places by name of the distribution."""

CHECKLIST = (
    "The plugin can be installed from the place above, in the version that made the records, and keeps the contract "
    "(`mibench plugins check`).",
    "Parameters were chosen on other people (`--variant validation`) or taken from a paper, never on the board's.",
    "All that was run is here: no seed, attack or set of parameters was left out for its numbers.",
    "The store with the reconstructions is kept, so that anybody can ask for them to be graded again.",
    "No photograph and no reconstruction of a person is in this pull request.",
)


def title(submission: Submission) -> str:
    """Return one line that says what is submitted."""
    rows = [(board.section.protocol, row) for board in submission.boards for row in board.rows]
    names = list(dict.fromkeys(f"{'add' if row.before is None else 'more records of'} {_name(row)}" for _, row in rows))
    where = ", ".join(dict.fromkeys(protocol for protocol, _ in rows))
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return printable(f"{where}: {', '.join(names[:2])}{more}", 120)


def pull_request(submission: Submission, places: Places) -> str:
    """Return the text in Markdown.

    Args:
        submission: what is submitted.
        places: where its distributions can be had.
    """
    parts = [f"# {markdown(title(submission))}", *map(_board, submission.boards)]
    parts += _plugins(submission.records, places)
    parts += _flags(submission)
    parts += _environment(submission.records)
    parts += _commands(submission.records)
    boxes = "\n".join(f"- [ ] {line}" for line in CHECKLIST)
    parts.append(f"## Checklist\n\n- [x] `mibench leaderboard check` passes on the board with these records.\n{boxes}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def unpublished(records: Iterable[Record], places: Places) -> list[str]:
    """Return the distributions of what is submitted that others cannot install from where they came."""
    return [name for name in _distributions(records) if name not in places or not places[name].public]


def _name(row: SubmittedRow) -> str:
    return f"{row.row.defense} ({row.row.note})" if row.row.note else row.row.defense


def _board(board: SubmittedBoard) -> str:
    text = as_markdown(table_of(board.section, [row.row for row in board.rows]))
    lines = [line for row in board.rows for line in _told(row)]
    lines += [f"{name}: rank {before or 'none'} to {after or 'none'}" for name, before, after in board.moved]
    return text + "\n" + "".join(f"- {markdown(printable(line, 500))}\n" for line in lines)


def _told(row: SubmittedRow) -> Iterator[str]:
    if row.before is not None:
        before, now = len(row.before.records), len(row.row.records)
        yield f"{_name(row)}: {before} records before, {now} with these; its rank was {row.before.rank or 'none'}"
    for attack, seeds in row.gaps.items():
        yield f"{_name(row)} lacks {attack}: seed {', '.join(map(str, seeds))}"


def _distributions(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return what each distribution brings, by name of the distribution."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for role in ROLES:
            if part := record.components.get(role):
                for name in part.distribution.split("+"):
                    said = f"{role} {part.name} v{part.version} ({part.distribution} {part.distribution_version})"
                    found.setdefault(name.strip(), {})[said] = None
    return {name: list(said) for name, said in found.items()}


def _plugins(records: Sequence[Record], places: Places) -> Iterator[str]:
    lines = []
    for name, brought in _distributions(records).items():
        place = places.get(name, Place("not installed where this text was made", public=False))
        where = place.where if place.public else f"{place.where}: PUBLISH IT AND GIVE THE ADDRESS"
        links = ", ".join(place.links)
        what = ", ".join(brought)
        lines.append("| " + " | ".join(markdown(printable(cell, 400)) for cell in (name, what, where, links)) + " |")
    yield "## Plugins\n\n| distribution | brings | install from | links |\n| --- | --- | --- | --- |\n" + "\n".join(
        lines
    )


def _flags(submission: Submission) -> Iterator[str]:
    found = [
        f"**{markdown(printable(flag.id, 80))}** of {markdown(_name(row))}: {markdown(printable(flag.text, 500))}"
        for board in submission.boards
        for row in board.rows
        for flag in row.flags
    ]
    if found:
        asked = "A flag is a question that the authors of a row answer, not a verdict."
        yield f"## Flags to be answered\n\n{asked}\n\n" + "\n\n".join(f"{one}\n\nAnswer: …" for one in found)


def _environment(records: Sequence[Record]) -> Iterator[str]:
    found = dict.fromkeys(
        printable(f"{env.device}, {env.platform}, Python {env.python}, {_packages(record)}", 500)
        for record in records
        if (env := record.environment)
    )
    yield "## Environment\n\n" + "\n".join(f"- {markdown(line)}" for line in found)


def _packages(record: Record) -> str:
    return ", ".join(f"{name} {version}" for name, version in record.environment.packages.items())


def _commands(records: Sequence[Record]) -> Iterator[str]:
    """Return the command of each cell in a block that no command can end."""
    lines = list(dict.fromkeys(printable(record.command, 2000).strip() for record in records))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", "\n".join(lines))), default=0))
    yield f"## Commands\n\nEach repeats one cell.\n\n{fence}\n" + "\n".join(lines) + f"\n{fence}"
