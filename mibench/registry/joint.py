"""Defenses that are used together: how their names are one name. What they do together is ``api.composition``."""

from __future__ import annotations

from collections.abc import Iterable

JOINT = "+"
"""Between the names of components that are used together."""


def is_joint(name: str) -> bool:
    """Tell whether a name stands for several components."""
    return JOINT in name


def split_names(name: str) -> list[str]:
    """Return the names of the parts, in order; a single name is its only part.

    >>> split_names("first+second")
    ['first', 'second']
    """
    return name.split(JOINT)


def join_names(names: Iterable[str]) -> str:
    """Return one name (or version, or licence) for several."""
    return JOINT.join(names)
