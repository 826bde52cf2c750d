"""What a version of a protocol says about the one before it."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Field

from mibench.protocol.frozen import Frozen
from mibench.protocol.names import Id

ChangeClass = Literal["cosmetic", "regradable", "rerun"]
"""What becomes of the entries of the older version: carried over, measured again, or run again."""


class Follows(Frozen):
    """The version before this one, and what the change means for its entries.

    Attributes:
        protocol: ``name@major.minor`` of the version before.
        change: ``"cosmetic"`` if no number of any entry changes, so that entries carry over as they are;
            ``"regradable"`` if targets and reconstructions stand and are measured again; ``"rerun"`` if entries stay
            where they are and only new runs enter the new board.
        why: what was changed and why, in one sentence for readers of the boards.
    """

    protocol: Id
    change: ChangeClass
    why: Annotated[str, MinLen(1), Field(max_length=500)]


def age(version: str) -> tuple[int, int]:
    """Return ``major.minor`` as numbers, for sorting.

    >>> age("1.10") > age("1.9")
    True
    """
    major, _, minor = version.partition(".")
    return int(major), int(minor)
