"""What a run says about each defense against plain training: paired differences, which hold better than two numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from mibench.leaderboard.variants import component_digest
from mibench.results.differences import Difference, to_control
from mibench.results.differing_params import defense_names
from mibench.results.display import difference, p_value, printable
from mibench.results.normalize import control, headline
from mibench.results.record import Record


def gap_lines(records: Sequence[Record]) -> Iterator[str]:
    """Yield a line for each defense among finished records of one protocol, model and attack, but for plain training.

    The undefended control of each record is what it is compared with, so plain training need not be in the run.
    """
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for name, record in zip(defense_names(records), records, strict=True):
        if record.status == "done" and not _is_control(record):
            groups[name, component_digest(record, "defense")].append(record)
    for (name, _), own in sorted(groups.items()):
        if made := to_control({"": own}, "undefended"):
            yield f"{printable(name)} minus undefended  {_text(made)}"


def _text(made: Difference) -> str:
    seeds = f"{len(made.seeds)} seeds" if len(made.seeds) > 1 else "1 seed, so without the chance in training"
    return f"{difference(made.value, made.ci95)}   {p_value(made.p)}, paired over {made.people} people and {seeds}"


def _is_control(record: Record) -> bool:
    """Tell whether a record is its own undefended control, or has none."""
    own, plain = headline(record), control(record, "undefended")
    return own is None or plain is None or own.per_class == plain.per_class
