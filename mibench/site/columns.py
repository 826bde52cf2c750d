"""The columns of a board's page: heading, text with no more digits than its interval allows, and value to sort by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mibench.leaderboard.board import ProtocolBoard
from mibench.leaderboard.estimates import Estimate
from mibench.leaderboard.tables import radii
from mibench.results.display import DASH, decimals, printable, short, signed
from mibench.site.entry import Entry

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Shown:
    """A cell.

    Attributes:
        text: what stands there.
        value: what it is sorted by; ``None`` comes last.
        interval: its 95 % interval.
        after: the interval as text.
    """

    text: str
    value: float | str | None = None
    interval: Interval = None
    after: str = ""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        id: its name in addresses and files.
        title: heading.
        help: one sentence.
        cell: the cell of a row.
        numeric: whether it holds numbers.
        usual: whether it is shown before anybody chooses columns.
        down: whether small numbers are good; ``None`` if neither is.
    """

    id: str
    title: str
    help: str
    cell: Callable[[Entry], Shown]
    numeric: bool = True
    usual: bool = True
    down: bool | None = None


def columns_of(section: ProtocolBoard, entries: Sequence[Entry]) -> list[Column]:
    """Return the columns of a board, in their order, without rank and name, which all boards have."""
    first = entries[0].row if entries else None
    unit = f" ({first.unit})" if first and first.unit != "fraction" else ""
    up = bool(first and first.higher_is_better)
    made = [
        Column("leakage", f"leakage{unit}", f"{section.headline}, worst case over attacks", _leakage, down=not up),
        Column("minus", f"minus {section.undefended}", "paired by person and seed", _difference, down=not up),
    ]
    if section.suite:
        made.append(Column("found", "worst found", "over all attacks, required or not", _found, down=not up))
    made += [
        Column("attack-acc", "attack acc@1", "share of hits under the fooled judges", _attack_accuracy, down=True),
        Column("normalised", "normalised", "0 at the floor, 1 at gold", _normalised, usual=False, down=not up),
        Column("accuracy", "accuracy", "of the target on held-out images", _accuracy, down=False),
        *(_robust(eps) for eps in radii(section.rows)),
        Column("model", "model", "architecture", lambda entry: _text(entry.row.model), numeric=False, usual=False),
        Column("attack", "worst attack", "", lambda entry: _text(entry.row.worst_attack), numeric=False),
        Column("attacks", "attacks", "number of attacks met", lambda entry: _count(len(entry.row.attacks))),
        Column("seeds", "seeds", f"of {len(section.seeds)}", _seeds(section)),
        Column(
            "family", "family", "how it means to protect", lambda entry: _text(entry.family), numeric=False, usual=False
        ),
        Column("access", "holds against", "attackers", lambda entry: _text(entry.access), numeric=False, usual=False),
        Column(
            "values",
            "values",
            "whether they follow from their people's",
            lambda entry: _text(entry.values),
            numeric=False,
            usual=False,
        ),
        Column(
            "evidence",
            "evidence",
            "who ran it, measured it again, ran it again",
            lambda entry: _text(entry.row.standing.words),
            numeric=False,
        ),
        Column("flags", "flags", "questions that the authors have to answer", _flags, numeric=False),
    ]
    return made


def estimate_cell(made: Estimate | None) -> Shown:
    """Return the cell of a number and its interval."""
    return number_cell(made.value, made.ci95) if made else Shown(DASH)


def number_cell(value: float | None, interval: Interval, *, sign: bool = False) -> Shown:
    """Return the cell of a number, cut where its interval says that no more is known."""
    if value is None:
        return Shown(DASH)
    digits = decimals(interval)

    def write(number: float) -> str:
        text = short(number, digits)
        return f"+{text}" if sign and number > 0 and text.strip(".0") else text.replace("-", "−")

    after = f"[{write(interval[0])} {write(interval[1])}]" if interval else ""
    return Shown(write(value), value, interval, after)


def _leakage(entry: Entry) -> Shown:
    return estimate_cell(entry.row.leakage)


def _difference(entry: Entry) -> Shown:
    gap = entry.row.difference
    return number_cell(gap.value, gap.ci95, sign=True) if gap else Shown(signed(None))


def _found(entry: Entry) -> Shown:
    return estimate_cell(entry.row.worst_found.leakage if entry.row.worst_found else None)


def _attack_accuracy(entry: Entry) -> Shown:
    return estimate_cell(entry.row.attack_accuracy)


def _normalised(entry: Entry) -> Shown:
    return number_cell(entry.row.normalized, None)


def _accuracy(entry: Entry) -> Shown:
    return estimate_cell(entry.row.accuracy)


def _robust(eps: str) -> Column:
    return Column(
        f"robust-{eps}",
        f"robust ε={eps}",
        f"accuracy under AutoAttack, ε = {eps}/255",
        lambda entry: estimate_cell(entry.row.robust.get(eps)),
        down=False,
    )


def _seeds(section: ProtocolBoard) -> Callable[[Entry], Shown]:
    return lambda entry: _count(len(set(entry.row.seeds) & set(section.seeds)))


def _flags(entry: Entry) -> Shown:
    return _text(", ".join(flag.id for flag in entry.row.flags))


def _count(number: int) -> Shown:
    return Shown(str(number), number)


def _text(text: str) -> Shown:
    said = printable(text)
    return Shown(said or DASH, said or None)
