"""The people of whom most is seen in what the attacks made, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mibench.assemble.galleries import make_gallery
from mibench.plan.cells import Cell
from mibench.report import GalleryRow
from mibench.results.normalize import headline
from mibench.results.record import Record
from mibench.store.store import Store

SHOWN = 8


@dataclass(frozen=True)
class Example:
    """One person.

    Attributes:
        name: of the folder.
        attack: that showed most of them.
        share: of its images of them that lead the judge to them first.
        row: the nearest private photograph, and the images.
    """

    name: str
    attack: str
    share: float
    row: GalleryRow


def worst_examples(
    pairs: Sequence[tuple[Cell, Record]], names: Sequence[str], store: Store, most: int = SHOWN
) -> list[Example]:
    """Return the people of whom most is seen, each with the attack that showed most of them.

    Args:
        pairs: cells of the audited network, with their records.
        names: of the people.
        store: where the pictures are.
        most: how many people.
    """
    best: dict[int, tuple[float, int]] = {}
    for number, (_, record) in enumerate(pairs):
        metric = headline(record)
        for label, value in enumerate(metric.per_class if metric else []):
            made = str(label) not in record.ledger.failed
            if made and value is not None and value > best.get(label, (-1.0, 0))[0]:
                best[label] = (value, number)
    chosen = sorted(best, key=lambda label: (-best[label][0], label))[:most]
    rows = {number: _rows(*pairs[number], chosen, best, store, number) for _, number in best.values()}
    return [
        Example(names[label], pairs[number][1].cell.attack_label, share, rows[number][label])
        for label in chosen
        for share, number in [best[label]]
    ]


def _rows(
    cell: Cell, record: Record, chosen: Sequence[int], best: dict[int, tuple[float, int]], store: Store, number: int
) -> dict[int, GalleryRow]:
    labels = sorted(label for label in chosen if best[label][1] == number)
    return dict(zip(labels, make_gallery(cell, record, store, labels).rows, strict=True))
