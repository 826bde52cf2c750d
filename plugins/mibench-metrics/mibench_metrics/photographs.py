"""The photographs that reconstructions are compared with: those of the people who were attacked."""

from __future__ import annotations

import torch

from mibench.api import ImageSet, MetricInputs, MibenchError


def of_classes(images: ImageSet, classes: set[int]) -> ImageSet:
    """Return the images of some classes, in order."""
    kept = torch.tensor([label in classes for label in images.labels_N.tolist()], dtype=torch.bool)
    return images if bool(kept.all()) else images.subset(kept.nonzero().flatten())


def of_attacked(images: ImageSet, evidence: MetricInputs, metric: str, what: str = "private training") -> ImageSet:
    """Return the images of the classes that were attacked, those on which the attack failed included.

    Args:
        images: of all classes.
        evidence: says which classes were attacked.
        metric: who asks, for errors.
        what: what the images are, for errors.

    Raises:
        MibenchError: if one of these classes has no image.
    """
    attacked = {*evidence.labels_N.tolist(), *evidence.failed}
    if absent := sorted(attacked - set(images.labels_N.tolist())):
        raise MibenchError(f"{metric}: classes {absent} are attacked but have no {what} image")
    return of_classes(images, attacked)
