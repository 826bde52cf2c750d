"""A board as tables of strings, for terminals and as Markdown. Text from records is never trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mibench.leaderboard.board import Board, ProtocolBoard
from mibench.leaderboard.estimates import Estimate
from mibench.leaderboard.evidence import BELIEVED, RECOMPUTED
from mibench.leaderboard.row import Row, board_controls
from mibench.leaderboard.withdrawals import Withdrawal
from mibench.results.display import difference, printable, short, with_interval

EVIDENCE, VALUES = "evidence", "values"
Columns = dict[str, Callable[[Row], str]]


@dataclass(frozen=True)
class TextTable:
    """A table ready to print; all text is on one line and free of control characters.

    Attributes:
        title: protocol and the start of its digest.
        columns: headings.
        rows: cells, as many as columns.
        footer: one line on controls and reading.
        commands: what completes the rows; empty for rows that are complete.
        withdrawn: a line for each withdrawal from the board.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    footer: str
    commands: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()


def to_table(board: Board) -> list[TextTable]:
    """Return a table for each protocol version, and after it one of its rows that are incomplete, if there are any."""
    return [table for section in board.sections for table in (_ranked(section), *_incomplete(section))]


def to_markdown(board: Board) -> str:
    """Return Markdown with one table for each protocol version, and one of its incomplete rows."""
    return "\n".join(map(as_markdown, to_table(board)))


def as_markdown(table: TextTable) -> str:
    """Return a table as Markdown, with its title, footer and lines."""
    for_screens = (EVIDENCE, VALUES)
    kept = [place for place, name in enumerate(table.columns) if name not in for_screens]
    rows = [tuple(line[place] for place in kept) for line in (table.columns, *table.rows)]
    lines = [rows[0], tuple("---" for _ in kept), *rows[1:]]
    body = "\n".join("| " + " | ".join(map(markdown, line)) + " |" for line in lines)
    commands = "".join(f"- {markdown(line)}\n" for line in (*table.commands, *table.withdrawn))
    return f"### {markdown(table.title)}\n\n{body}\n\n{markdown(table.footer)}\n" + commands


def table_of(section: ProtocolBoard, rows: Sequence[Row]) -> TextTable:
    """Return the table of some rows of a section, without the long explanation below."""
    return _table(section, section.protocol, rows, _columns(section, rows), f"rank among {len(section.rows)} rows")


def _ranked(section: ProtocolBoard) -> TextTable:
    rows = [row for row in section.rows if not row.missing]
    made = _table(section, _title(section), rows, _columns(section, rows), printable(_footer(section, rows), 2000))
    return replace(made, withdrawn=tuple(withdrawn_lines(section.withdrawn)))


def withdrawn_lines(found: Sequence[Withdrawal]) -> list[str]:
    """Return a line for each withdrawal: when, what, by whom and why."""
    lines = []
    for notice in (one.notice for one in found):
        defenses = ", ".join(dict.fromkeys(one.file.partition("/")[0] for one in notice.records))
        many = f"{len(notice.records)} record{'s' * (len(notice.records) > 1)}"
        lines.append(printable(f"withdrawn {notice.date}: {many} of {defenses}, by {notice.by}: {notice.reason}", 500))
    return lines


def _incomplete(section: ProtocolBoard) -> list[TextTable]:
    """Return the table of the rows that lack attacks of the suite, with the commands that complete them."""
    rows = [row for row in section.rows if row.missing]
    if not rows:
        return []
    columns = {name: cell for name, cell in _columns(section, rows).items() if name != "rank"}
    columns |= {"missing": _missing}
    footer = (
        "no rank before all required attacks are met with all seeds: each line below runs what a row lacks, and "
        "adding the records (`mibench leaderboard add`) completes it"
    )
    made = _table(section, f"{_title(section)}: incomplete", rows, columns, footer)
    commands = tuple(printable(row.complete_with, 2000) for row in rows)
    return [TextTable(made.title, made.columns, made.rows, made.footer, commands)]


def _table(section: ProtocolBoard, title: str, rows: Sequence[Row], columns: Columns, footer: str) -> TextTable:
    cells = tuple(tuple(printable(cell(row)) for cell in columns.values()) for row in rows)
    return TextTable(printable(title), tuple(columns), cells, footer)


def _title(section: ProtocolBoard) -> str:
    newer = f"  (superseded by {section.newer})" if section.newer else ""
    return f"{section.protocol} ({section.digest[:6]})  {section.summary}{newer}"


def _columns(section: ProtocolBoard, rows: Sequence[Row]) -> Columns:
    """Return the columns of a section: heading, and the text of a row."""
    first = rows[0] if rows else None
    unit = f" ({first.unit})" if first and first.unit != "fraction" else ""
    way = "↑" if first and first.higher_is_better else "↓"
    columns: Columns = {
        "rank": lambda row: str(row.rank) if row.rank else short(None),
        "defense": lambda row: f"{row.defense} ({row.note})" if row.note else row.defense,
        "model": lambda row: row.model,
        f"leakage{unit} {way}": lambda row: with_interval(*row.leakage),
        f"minus {section.undefended}": lambda row: _difference(row),
    }
    if section.suite:
        columns[f"worst found so far {way}"] = _found
    columns |= {
        "attack acc@1 ↓": lambda row: _number(row.attack_accuracy),
        "normalised ↓": lambda row: short(row.normalized),
        "accuracy ↑": lambda row: with_interval(*row.accuracy) if row.accuracy else short(None),
        **{f"robust ε={eps}/255 ↑": _robust(eps) for eps in radii(section.rows)},
        "worst attack": lambda row: row.worst_attack,
        "attacks": lambda row: str(len(row.attacks)),
        "seeds": lambda row: f"{len(set(row.seeds) & set(section.seeds))} of {len(section.seeds)}",
        VALUES: lambda row: f"{BELIEVED}: {', '.join(row.reported)}" if row.reported else RECOMPUTED,
        EVIDENCE: lambda row: row.standing.words,
        "flags": lambda row: ", ".join(flag.id for flag in row.flags),
    }
    return columns


def _footer(section: ProtocolBoard, rows: Sequence[Row]) -> str:
    if not rows:
        return "no entries"
    plain = section.undefended
    parts = [
        _controls(rows),
        f"leakage is {section.headline}, worst case over {section.worst_case_over}, mean over seeds, "
        "[95 % over people]",
        f"minus {plain}: paired by person and seed under the same attacks, against the undefended target that was "
        f"trained beside each row, without the bias of the maximum{_most_bias(rows)}, [95 % of this one difference]",
    ]
    if any(row.rank for row in rows):
        parts += [
            "a rank is shared by all that paired tests with Holm's correction do not tell from its anchor, the row "
            "with the least leakage: a comparison with the anchor, not among each other, so that a row of wide "
            "interval may share a better rank than one that leaks less; without a rank: see flags"
        ]
    if section.smallest is not None:
        parts.append(f"a difference to {plain} of {short(section.smallest)} is seen in 4 of 5 repetitions")
    return "; ".join(parts)


def _controls(rows: Sequence[Row]) -> str:
    """Return chance and controls in words."""
    told = ", ".join(f"{name} {short(value)}" for name, value in board_controls(rows).items())
    return f"{told} (means of the rows' own)" if len(rows) > 1 else told


def _most_bias(rows: Sequence[Row]) -> str:
    largest = max((abs(row.difference.bias) for row in rows if row.difference), default=0.0)
    return f" (at most {short(largest)})" if largest else ""


def _difference(row: Row) -> str:
    return difference(row.difference.value, row.difference.ci95) if row.difference else short(None)


def _found(row: Row) -> str:
    return f"{short(row.worst_found.leakage.value)} {row.worst_found.attack}" if row.worst_found else short(None)


def _missing(row: Row) -> str:
    return "; ".join(f"{attack}: seed {', '.join(map(str, seeds))}" for attack, seeds in row.missing.items())


def _robust(eps: str) -> Callable[[Row], str]:
    return lambda row: _number(row.robust.get(eps))


def _number(made: Estimate | None) -> str:
    return short(made.value if made else None)


def radii(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the radii of all rows' robust accuracies, smallest first."""
    return tuple(sorted({eps for row in rows for eps in row.robust}, key=float))


def markdown(text: str) -> str:
    """Return foreign text as Markdown that shows it and means nothing else."""
    for char, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "\\`"), ("[", "\\["), ("!", "\\!")):
        text = text.replace(char, safe)
    return text
