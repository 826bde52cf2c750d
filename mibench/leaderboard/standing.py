"""How well a row is attested: reported, regraded or reproduced, by whom, and what did not come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mibench.leaderboard.attestation import Attestation, Kind, Outcome, Party, Statement
from mibench.results.record import Flag, Record

Level = Literal["reported", "regraded", "reproduced"]
DISPUTED = "disputed"
"""Flag of a row of which somebody found other numbers than were published."""
OUTCOMES: dict[Outcome, str] = {"equal": "equal", "agrees": "in agreement", "differs": "otherwise"}
"""What came out of a comparison, in words."""


@dataclass(frozen=True)
class Said:
    """What one attestation says of the records of a row.

    Attributes:
        date: YYYY-MM-DD.
        kind: ``ran``, ``regraded`` or ``reproduced``.
        by: who says so.
        party: what they have to do with the records.
        records: how many of the row's records it speaks of.
        outcomes: how many of these came out ``equal``, in a way that ``agrees``, or otherwise (``differs``).
        note: what else it says.
        file: its name beside the entries.
    """

    date: str
    kind: Kind
    by: str
    party: Party
    records: int
    outcomes: dict[Outcome, int]
    note: str
    file: str

    @property
    def words(self) -> str:
        """What came out, in words; empty where nothing was compared."""
        return ", ".join(f"{OUTCOMES[name]} {self.outcomes[name]}" for name in OUTCOMES if name in self.outcomes)


@dataclass(frozen=True)
class Standing:
    """The evidence behind a row.

    Attributes:
        level: the highest level that all of its records have.
        records: number of records.
        regraded: how many were measured again, by others than the authors, and came out equal.
        reproduced: how many another party ran again, in agreement.
        disputed: how many came out otherwise for somebody.
        ran_by: who ran them, where that was stated.
        regraded_by: who measured them again.
        reproduced_by: who ran them again.
        disputed_by: who found other numbers.
        said: what each attestation says of the row, oldest first.
    """

    level: Level = "reported"
    records: int = 0
    regraded: int = 0
    reproduced: int = 0
    disputed: int = 0
    ran_by: tuple[str, ...] = ()
    regraded_by: tuple[str, ...] = ()
    reproduced_by: tuple[str, ...] = ()
    disputed_by: tuple[str, ...] = ()
    said: tuple[Said, ...] = ()

    @property
    def words(self) -> str:
        """The level, how far a higher one has come, and who did it, in one line."""
        parts = [_by("reported", self.ran_by)]
        for word, count, who in (
            ("regraded", self.regraded, self.regraded_by),
            ("reproduced", self.reproduced, self.reproduced_by),
            (DISPUTED, self.disputed, self.disputed_by),
        ):
            if count:
                some = "" if count == self.records else f" {count} of {self.records}"
                parts.append(_by(f"{word}{some}", who))
        return "; ".join(parts)

    @property
    def flag(self) -> Flag | None:
        """The flag of a row that somebody disputes."""
        if not self.disputed:
            return None
        text = f"{self.disputed} of {self.records} records came out otherwise for {', '.join(self.disputed_by)}"
        return Flag(id=DISPUTED, text=f"{text}: see its attestations")


class Attested:
    """What is attested of the records of a board.

    Args:
        attestations: those of the board.
    """

    def __init__(self, attestations: Iterable[Attestation] = ()) -> None:
        self._said: dict[str, list[tuple[Attestation, Statement]]] = {}
        for one in attestations:
            for statement in one.statements:
                self._said.setdefault(statement.record, []).append((one, statement))

    def ran_by(self, record: str) -> list[str]:
        """Return who says to have run the record with a digest."""
        return [one.by for one, _ in self._said.get(record, []) if one.kind == "ran"]

    def standing(self, records: Sequence[Record]) -> Standing:
        """Return how well the records of a row are attested."""
        who = {kind: self._who(records, kind) for kind in ("regraded", "reproduced")}
        regraded, reproduced = (set(who[kind]) for kind in ("regraded", "reproduced"))
        every = {record.digest for record in records}
        disputed = {key: by for key in every if (by := self._disputing(key))}
        level: Level = "reported"
        if every and every <= reproduced:
            level = "reproduced"
        elif every and every <= regraded | reproduced:
            level = "regraded"
        return Standing(
            level=level,
            records=len(every),
            regraded=len(regraded),
            reproduced=len(reproduced),
            disputed=len(disputed),
            ran_by=_names(self.ran_by(record.digest) for record in records),
            regraded_by=_names(who["regraded"].values()),
            reproduced_by=_names(who["reproduced"].values()),
            disputed_by=_names(disputed.values()),
            said=self._each(every),
        )

    def _each(self, records: Collection[str]) -> tuple[Said, ...]:
        """Return what each attestation says of records."""
        pairs = [pair for record in records for pair in self._said.get(record, [])]
        statements: dict[str, tuple[Attestation, list[Statement]]] = {}
        for one, statement in pairs:
            statements.setdefault(one.file_name, (one, []))[1].append(statement)
        return tuple(
            Said(
                date=one.date,
                kind=one.kind,
                by=one.by,
                party=one.party,
                records=len(own),
                outcomes=dict(Counter(said.outcome for said in own if said.outcome)),
                note=one.note,
                file=name,
            )
            for name, (one, own) in sorted(statements.items())
        )

    def _who(self, records: Sequence[Record], kind: Kind) -> dict[str, list[str]]:
        """Return who confirmed records, by digest. Authors do not confirm themselves, nor does who ran them."""
        found: dict[str, list[str]] = {}
        for record in records:
            ran = {name.casefold() for name in self.ran_by(record.digest)}
            for one, said in self._said.get(record.digest, []):
                alone = one.party == "authors" or (kind == "reproduced" and one.by.casefold() in ran)
                if one.kind == kind and said.outcome in ("equal", "agrees") and not alone:
                    found.setdefault(record.digest, []).append(one.by)
        return found

    def _disputing(self, record: str) -> list[str]:
        return [one.by for one, said in self._said.get(record, []) if said.outcome == "differs"]


def _names(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(sorted({name for group in groups for name in group}))


def _by(word: str, names: Sequence[str]) -> str:
    return f"{word} by {', '.join(names)}" if names else word
