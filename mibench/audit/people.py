"""Who is in the folders of an audit, as its dataset says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mibench.api.errors import UsageError

if TYPE_CHECKING:
    from mibench.api.data import Dataset

FOLDER = "folder"
"""The attribute of identities that tells private from public people."""


@dataclass(frozen=True)
class People:
    """The people of the folders.

    Attributes:
        names: of the private people, in the order of their identities, which begin with 0.
        public: number of public people.
        train: fewest photographs of a private person that judges learn from.
        test: fewest that are held out.
        images: numbers of photographs in all: private to learn from, and held out.
    """

    names: Sequence[str]
    public: int
    train: int
    test: int
    images: tuple[int, int]


def count_people(dataset: Dataset) -> People:
    """Look at a dataset of the folders ``private``, ``heldout`` and ``public``.

    Raises:
        UsageError: if there are fewer than two private people, no public ones, or somebody has too few photographs.
    """
    if lines := dataset.missing():
        raise UsageError(" ".join(lines))
    whose = dataset.groups()[FOLDER]
    private = [identity for identity, group in enumerate(whose) if group == "private"]
    names, public = list(dataset.class_names()), len(whose) - len(private)
    if len(private) < 2 or not public:
        raise UsageError(
            f"--private has {len(private)} people and --public {public}; expected at least 2 and 1, each in a folder"
        )
    counted = {identity: _parts(dataset, identity) for identity in private}
    for part, what in (("train", "to learn from"), ("test", "to hold out")):
        few = [names[identity] for identity, parts in counted.items() if not parts[part]]
        if few:
            raise UsageError(
                f"{len(few)} of {len(private)} private people have no photograph {what}, the first is {few[0]!r}. Give"
                " at least two photographs of each in --private, or one there and one in --heldout."
            )
    total: Counter[str] = sum(counted.values(), Counter())
    fewest = {part: min(parts[part] for parts in counted.values()) for part in ("train", "test")}
    return People(names[: len(private)], public, **fewest, images=(total["train"], total["test"]))


def _parts(dataset: Dataset, identity: int) -> Counter[str]:
    return Counter(dataset.parts([identity]) or ())
