"""Which classes are attacked: a pure function of the protocol, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mibench.api.errors import UsageError
from mibench.protocol.identities import permutation
from mibench.protocol.people import ClassChoice


def choose_classes(
    choice: ClassChoice, private: Sequence[int], groups: Mapping[str, Sequence[str]] | None = None
) -> list[int]:
    """Return the classes that are attacked, in ascending order.

    Args:
        choice: of the protocol.
        private: identity of each class.
        groups: by attribute, the group of each identity of the dataset.

    Raises:
        UsageError: if there are fewer classes than are wanted, in all or of a group, or no such attribute.
    """
    if choice.number is None:
        if max(choice.labels) >= len(private):
            last = len(private) - 1
            raise UsageError(f"attack_classes lists class {max(choice.labels)}; the protocol's are 0 to {last}")
        return sorted(choice.labels)
    order = permutation(len(private), "attacked classes", choice.seed)
    if choice.balance is None:
        return sorted(_first(order, choice.number, "of the private identities"))
    known = dict(groups or {})
    if choice.balance not in known:
        told = f"it tells {', '.join(sorted(known))}" if known else "it tells nothing of its identities"
        raise UsageError(f"attack_classes is balanced over {choice.balance!r}, which the dataset does not tell; {told}")
    group_of = [known[choice.balance][identity] for identity in private]
    names = sorted(set(group_of))
    chosen: list[int] = []
    for position, name in enumerate(names):
        share = choice.number // len(names) + (position < choice.number % len(names))
        chosen += _first([label for label in order if group_of[label] == name], share, f"of {choice.balance} {name}")
    return sorted(chosen)


def _first(labels: Sequence[int], number: int, what: str) -> Sequence[int]:
    if number > len(labels):
        raise UsageError(f"attack_classes wants {number} classes {what}; there are {len(labels)}. Lower the number.")
    return labels[:number]
