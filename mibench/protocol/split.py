"""Who is private, who is public, and which images train: pure functions of the protocol, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mibench.api.errors import UsageError
from mibench.protocol.schema import ClassChoice, Split


def permutation(n: int, *purpose: str | int) -> list[int]:
    """Return 0 .. n-1 in an order that depends on ``purpose`` alone (sorted by a hash, so no generator is involved).

    >>> permutation(5, "identities", 0)
    [0, 2, 3, 1, 4]
    """
    prefix = ":".join(str(part) for part in purpose)

    def rank(i: int) -> bytes:
        return hashlib.sha256(f"{prefix}:{i}".encode()).digest()

    return sorted(range(n), key=rank)


@dataclass(frozen=True)
class Identities:
    """Disjoint identities of a protocol.

    Attributes:
        private: identity of each class of the target; class k is ``private[k]``.
        public: identities that the attacker may learn from.
    """

    private: list[int]
    public: list[int]


def split_identities(split: Split, available: int) -> Identities:
    """Choose private and public identities.

    Raises:
        UsageError: if the dataset has fewer identities than the protocol wants.

    >>> split_identities(Split(private=2, public=2, train=1, val=0, test=1), available=5)
    Identities(private=[0, 2], public=[1, 3])
    """
    if split.private + split.public > available:
        wanted = f"{split.private} private and {split.public} public identities"
        raise UsageError(f"the protocol wants {wanted}; the dataset has {available}")
    order = permutation(available, "identities", split.seed)
    private = set(order[: split.private] if split.private_from == "front" else order[-split.private :])
    # Public identities start behind the front ones in both variants, so that they share a prior where there are enough.
    others = [i for i in order[split.private :] + order[: split.private] if i not in private]
    return Identities(sorted(private), sorted(others[: split.public]))


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


@dataclass(frozen=True)
class ImageSplit:
    """Indices into the private images."""

    train: list[int]
    val: list[int]
    test: list[int]


def split_images(split: Split, labels: Sequence[int], identities: Sequence[int]) -> ImageSplit:
    """Choose training, validation and test images of each class.

    Args:
        split: the protocol's split.
        labels: class of each private image.
        identities: identity of each class; the order of a class's images depends on its identity alone.

    Raises:
        UsageError: if a class has too few images.
    """
    by_class: dict[int, list[int]] = {label: [] for label in range(len(identities))}
    for index, label in enumerate(labels):
        by_class[int(label)].append(index)
    parts = ImageSplit([], [], [])
    wanted = split.train + split.val + split.test
    for label, own in by_class.items():
        if len(own) < wanted:
            raise UsageError(
                f"identity {identities[label]} has {len(own)} images; the protocol wants {split.train} to train, "
                f"{split.val} to validate and {split.test} to test"
            )
        order = [own[i] for i in permutation(len(own), "images", split.seed, identities[label])]
        parts.train.extend(sorted(order[: split.train]))
        parts.val.extend(sorted(order[split.train : split.train + split.val]))
        parts.test.extend(sorted(order[split.train + split.val : wanted]))
    return parts


@dataclass(frozen=True)
class PrivateSplit:
    """What decides which private images train, validate and test.

    Attributes:
        seed: seed of the permutations.
        train: images per identity that train.
        val: images per identity for choosing parameters.
        test: images per identity that are reported on.
        identities: identity of each class.
    """

    seed: int
    train: int
    val: int
    test: int
    identities: list[int]

    @classmethod
    def of(cls, split: Split, identities: Sequence[int]) -> PrivateSplit:
        """Return that part of a protocol's split."""
        return cls(split.seed, split.train, split.val, split.test, list(identities))


def private_indices(split: PrivateSplit, labels: Sequence[int]) -> ImageSplit:
    """Return which private images train, validate and test.

    Raises:
        UsageError: if a class has too few images.
    """
    people = len(split.identities)
    whole = Split(seed=split.seed, private=people, public=1, train=split.train, val=split.val, test=split.test)
    return split_images(whole, labels, split.identities)


@dataclass(frozen=True)
class HoldOut:
    """Which public images validate a public pre-training.

    Attributes:
        images: how many of each identity; 0 for none.
        seed: of the choice.
    """

    images: int
    seed: int


def hold_out(labels: Sequence[int], images: int, seed: int) -> ImageSplit:
    """Set images of each public identity aside to validate a public pre-training; the others train.

    Args:
        labels: class of each public image.
        images: how many of each class to set aside; 0 leaves all images in their order.
        seed: of the choice.

    Raises:
        UsageError: if a class would have no image left to train on.
    """
    by_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        by_class.setdefault(int(label), []).append(index)
    val: list[int] = []
    for label, own in by_class.items():
        if len(own) <= images:
            raise UsageError(
                f"public class {label} has {len(own)} images; the recipe's checkpoint rule sets {images} aside to"
                " validate, and none would be left to train on"
            )
        val.extend(own[i] for i in permutation(len(own), "public validation", seed, label)[:images])
    aside = set(val)
    return ImageSplit([index for index in range(len(labels)) if index not in aside], sorted(val), [])
