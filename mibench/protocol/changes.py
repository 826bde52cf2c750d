"""What differs between two versions of a protocol, and what that means for entries of the older one.

A declaration (:class:`~mibench.protocol.follows.Follows`) is compared with the two files field by field. It may be
stricter than they demand, for a metric may have been corrected without a word in any protocol; it may not be milder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mibench.api.errors import UsageError
from mibench.protocol.follows import ChangeClass, Follows, age
from mibench.protocol.load import LoadedProtocol

ORDER: tuple[ChangeClass, ...] = ("cosmetic", "regradable", "rerun")
"""From the mildest to the strictest."""
ALWAYS = frozenset({"version", "follows"})
"""Fields that differ between any two versions."""
COSMETIC = frozenset({"summary", "expected_seconds", "expected_on", "resources", "presets", "validation"})
"""Words and estimates; what components run with is in the keys of their own records; no entry is of the validation
variant."""
GROWING = frozenset({"seeds", "suite", "attacks", "priors"})
"""What may grow without touching an entry: a row is asked for more, what it has means the same. Else it is a rerun."""
REGRADABLE = frozenset({"evaluators", "embedder", "gallery", "metrics", "headline"})
"""What looks at reconstructions and changes none. Evaluators are among them: whoever measures trains them on the
private data, and no attack that a board ranks ever sees one (a record of one that does is left out by its key)."""
_MOST = 8
"""Differing fields that a message names."""


class Difference(NamedTuple):
    """A field in which two versions differ.

    Attributes:
        field: its place, with dots.
        before: what the older version says; ``None`` if nothing.
        after: what the newer one says.
        change: the mildest class that such a difference allows.
    """

    field: str
    before: Any
    after: Any
    change: ChangeClass


def differences(old: LoadedProtocol, new: LoadedProtocol) -> list[Difference]:
    """Return the fields in which two versions differ, strictest first."""
    before, after = (one.reported.model_dump(mode="json") for one in (old, new))
    found = []
    for name in {**before, **after}:
        if name not in ALWAYS and before.get(name) != after.get(name):
            was, now = before.get(name), after.get(name)
            places = [(name, was, now)] if name in COSMETIC else _places(name, was, now)
            found += [Difference(*place, _class(name, was, now)) for place in places]
    return sorted(found, key=lambda one: -ORDER.index(one.change))


def mildest(found: list[Difference]) -> ChangeClass:
    """Return the mildest class that differences allow."""
    return max((one.change for one in found), key=ORDER.index, default="cosmetic")


def declared(old: LoadedProtocol, new: LoadedProtocol) -> tuple[Follows, list[Difference]]:
    """Return what a version declares about the one before it, and what differs, if the two agree.

    Raises:
        UsageError: if it declares nothing, follows another version, or is declared milder than it is; the message names
            the fields and what to write.
    """
    found, follows = differences(old, new), new.protocol.follows
    needed = mildest(found)
    if follows is None:
        raise UsageError(
            f"{new.protocol.id} does not say what it follows. It differs from {old.protocol.id} in {told(found)};"
            f" so its file needs follows: {{protocol: {old.protocol.id}, change: {needed}, why: ...}}"
        )
    if follows.protocol != old.protocol.id:
        raise UsageError(
            f"{new.protocol.id} follows {follows.protocol}, not {old.protocol.id}; migrate version by version, first to"
            f" the one that follows {old.protocol.id}"
        )
    if ORDER.index(follows.change) < ORDER.index(needed):
        wrong = [one for one in found if ORDER.index(one.change) > ORDER.index(follows.change)]
        raise UsageError(
            f"{new.protocol.id} declares its change as {follows.change}, but it differs from {old.protocol.id} in"
            f" {told(wrong)}. Declare it as {needed}, in a version of its own."
        )
    if follows.change == "rerun" and age(new.protocol.version)[0] == age(old.protocol.version)[0]:
        raise UsageError(
            f"{new.protocol.id} declares a rerun: its numbers are not comparable with those of {old.protocol.id}, so"
            f" its major version must be higher, {age(old.protocol.version)[0] + 1}.0 for instance"
        )
    return follows, found


def told(found: list[Difference]) -> str:
    """Return differences in words: ``recipe.epochs (rerun: 60 before, 80 now)``."""
    parts = [
        f"{one.field} ({one.change}: {_short(one.before)} before, {_short(one.after)} now)" for one in found[:_MOST]
    ]
    more = [f"{len(found) - _MOST} more fields"] if len(found) > _MOST else []
    return "; ".join([*parts, *more]) or "nothing but its version"


def _class(name: str, before: Any, after: Any) -> ChangeClass:
    if name in COSMETIC or (name in GROWING and _grown(before, after)):
        return "cosmetic"
    return "regradable" if name in REGRADABLE else "rerun"


def _grown(before: Any, after: Any) -> bool:
    """Tell whether everything that was there is there as it was; a field that is left out is empty."""
    if isinstance(before, Mapping) or isinstance(after, Mapping):
        return all((after or {}).get(name) == value for name, value in (before or {}).items())
    return all(one in (after or ()) for one in before or ())


def _places(place: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the innermost places in which two values differ."""
    before, after = _by_name(before), _by_name(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            if before.get(name) != after.get(name):
                yield from _places(f"{place}.{name}", before.get(name), after.get(name))
    else:
        yield place, before, after


def _by_name(value: Any) -> Any:
    """Return metrics and evaluators by their names; their order means nothing."""
    named = isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value)
    return {one["name"]: one for one in value} if named else value


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
