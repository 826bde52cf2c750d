"""Which images train, validate and test: pure functions of the protocol, the same on every machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from mibench.api.errors import UsageError
from mibench.protocol.frozen import without
from mibench.protocol.identities import permutation
from mibench.protocol.people import Split


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
        assigned: whether the dataset says what each image is for; then the three numbers are the fewest per identity.
    """

    seed: int
    train: int
    val: int
    test: int
    identities: list[int]
    assigned: bool = False

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first keys while it is unset."""
        return without(dump(self), *([] if self.assigned else ["assigned"]))

    @classmethod
    def of(cls, split: Split, identities: Sequence[int]) -> PrivateSplit:
        """Return that part of a protocol's split."""
        return cls(split.seed, split.train, split.val, split.test, list(identities), split.assigned)


def private_indices(split: PrivateSplit, labels: Sequence[int], parts: Sequence[int] | None = None) -> ImageSplit:
    """Return which private images train, validate and test.

    Args:
        split: what decides it.
        labels: class of each private image.
        parts: what each image is for, where the dataset says it: 0 to train, 1 to validate, 2 to test, 3 for nothing.

    Raises:
        UsageError: if a class has too few images, or the dataset should say what images are for and does not.
    """
    if split.assigned:
        return _assigned(split, labels, parts)
    people = len(split.identities)
    whole = Split(seed=split.seed, private=people, public=1, train=split.train, val=split.val, test=split.test)
    return split_images(whole, labels, split.identities)


def _assigned(split: PrivateSplit, labels: Sequence[int], parts: Sequence[int] | None) -> ImageSplit:
    if parts is None:
        raise UsageError(
            "the protocol leaves it to the dataset which images train and test (split.assigned), and the dataset does"
            " not say; give it a split file, or set split.assigned to false"
        )
    found = ImageSplit(*([index for index, part in enumerate(parts) if part == wanted] for wanted in range(3)))
    for name, fewest in (("train", split.train), ("val", split.val), ("test", split.test)):
        counts = Counter(labels[index] for index in getattr(found, name))
        for label, identity in enumerate(split.identities):
            if counts[label] < fewest:
                raise UsageError(
                    f"identity {identity} has {counts[label]} images for {name!r} in the dataset's split; the protocol"
                    f" wants at least {fewest}"
                )
    return found


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
