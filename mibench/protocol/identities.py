"""Who is private, who is public, and who neither: pure functions of the protocol, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from mibench.api.errors import UsageError
from mibench.protocol.people import Split


def permutation(n: int, *purpose: str | int) -> list[int]:
    """Return 0 .. n-1 in an order that depends on ``purpose`` alone (sorted by a hash, so no generator is involved).

    >>> permutation(5, "identities", 0)
    [0, 2, 3, 1, 4]
    """
    prefix = ":".join(str(part) for part in purpose)

    def rank(i: int) -> bytes:
        return hashlib.sha256(f"{prefix}:{i}".encode()).digest()

    return sorted(range(n), key=rank)


def order_of_identities(split: Split, available: int) -> list[int]:
    """Return all identities in the order in which a protocol takes them."""
    return list(range(available)) if split.listed else permutation(available, "identities", split.seed)


@dataclass(frozen=True)
class Identities:
    """Disjoint identities of a protocol.

    Attributes:
        private: identity of each class of the target; class k is ``private[k]``.
        public: identities that the attacker may learn from.
        distractors: identities that are neither, among whom judges have to find the private ones.
    """

    private: list[int]
    public: list[int]
    distractors: list[int] = field(default_factory=list)


def split_identities(split: Split, available: int) -> Identities:
    """Choose private and public identities of a protocol without folds and distractors.

    Raises:
        UsageError: if the dataset has fewer identities than the protocol wants.

    >>> split_identities(Split(private=2, public=2, train=1, val=0, test=1), available=5)
    Identities(private=[0, 2], public=[1, 3], distractors=[])
    """
    _require(split, available)
    order = order_of_identities(split, available)
    private = set(order[: split.private] if split.private_from == "front" else order[-split.private :])
    # Public identities start behind the front ones in both variants, so that they share a prior where there are enough.
    others = [i for i in order[split.private :] + order[: split.private] if i not in private]
    return Identities(sorted(private), sorted(others[: split.public]))


@dataclass(frozen=True)
class Folded:
    """Who is private in one variant of a protocol, fold by fold.

    Attributes:
        split: of the variant.
        folds: how many there are.
    """

    split: Split
    folds: int = 1

    def private(self, available: int) -> list[set[int]]:
        """Return the private people of each fold: the first of the order, those that come next, and so on.

        Raises:
            UsageError: if there are fewer than all folds want, or fewer than one fold wants in all.
        """
        split, wanted = self.split, self.split.private
        _require(split, available)
        if self.folds * wanted > available:
            raise UsageError(
                f"the protocol wants {wanted} private identities in each of {self.folds} folds, nobody in two of them;"
                f" the dataset has {available}"
            )
        order = order_of_identities(split, available)
        order = order if split.private_from == "front" else order[::-1]
        return [set(order[fold * wanted : (fold + 1) * wanted]) for fold in range(self.folds)]


def fold_identities(
    reported: Folded, tuned: Folded | None, *, fold: int, available: int, distractors: int = 0, validation: bool = False
) -> Identities:
    """Choose private and public identities and distractors of one fold.

    Public people and distractors are the same in all folds and variants, and private in none, where there are enough:
    public people from the front of those who are never private, distractors from the back. Where public people are too
    few, they are private in other folds or variants, and where distractors are, likewise, except that nobody on whom
    results are reported is a distractor of the validation variant.

    Args:
        reported: private people of the variant on which results are reported.
        tuned: private people of the validation variant; ``None`` if there is none.
        fold: which of the variant's folds.
        available: identities of the dataset.
        distractors: how many.
        validation: whether the people of the validation variant are wanted.

    Raises:
        UsageError: if the dataset has too few identities, or people of the validation variant are reported on.
    """
    own = tuned if validation and tuned else reported
    private = own.private(available)[fold]
    on_reported = set().union(*reported.private(available))
    if validation and (both := len(private & on_reported)):
        raise UsageError(
            f"{both} of the {len(private)} private people of the validation variant are people on whom the protocol"
            f" reports; the dataset has {available} identities. Choose parameters on others: set"
            " validation.split.private_from to 'back', with fewer private people if need be"
        )
    ever = on_reported.union(*(tuned.private(available) if tuned else ()))
    order = [i for i in order_of_identities(own.split, available) if i not in private]
    public = _first(order, ever, own.split.public)
    left = [i for i in reversed(order) if i not in public and not (validation and i in on_reported)]
    if len(left) < distractors:
        spared = f", and {len(on_reported)} on whom it reports are none" if validation else ""
        raise UsageError(
            f"the gallery wants {distractors} distractors beside {len(private)} private and {len(public)} public"
            f" identities{spared}; the dataset has {available}, which leaves {len(left)}. Lower gallery.distractors, or"
            " let the dataset have more identities"
        )
    return Identities(sorted(private), sorted(public), sorted(_first(left, ever, distractors)))


def _first(people: Sequence[int], ever: Collection[int], number: int) -> list[int]:
    """Return the first of some people, those who are ever private behind all others."""
    return sorted(people, key=lambda i: i in ever)[:number]


def _require(split: Split, available: int) -> None:
    if split.private + split.public > available:
        wanted = f"{split.private} private and {split.public} public identities"
        raise UsageError(f"the protocol wants {wanted}; the dataset has {available}")
