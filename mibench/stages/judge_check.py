"""How good a trained classifier is, and whether an evaluator is good enough to judge.

Shapes: N images, B of a batch, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mibench.api.classifier import Classifier
from mibench.api.data import ImageSet
from mibench.api.errors import MibenchError

BATCH = 256


def accuracy(model: Classifier, images: ImageSet, device: torch.device) -> float | None:
    """Return top-1 accuracy, for a card's sanity score; ``None`` without images."""
    if not len(images):
        return None
    return int((_answers(model, images, device) == images.labels_N).sum()) / len(images)


def check_judge(model: Classifier, images: ImageSet, device: torch.device, least: float) -> float:
    """Return an evaluator's accuracy on private test images.

    Raises:
        MibenchError: if that is less than ``least``; it says what may be the reason.
    """
    answers_N, labels_N = _answers(model, images, device), images.labels_N
    found = int((answers_N == labels_N).sum()) / max(1, len(labels_N))
    if found >= least:
        return found
    renamed = _renamed(answers_N, labels_N, images.num_classes)
    reason = (
        f"Under another order of classes it would be right about {renamed:.1%}: its outputs do not stand in the order"
        " of the dataset's identities"
        if renamed >= least
        else "Its normalisation (model.mean, model.std), its side or the crop of its training images may be another"
    )
    raise MibenchError(
        f"the evaluator recognises {found:.1%} of {len(labels_N)} private test images; the protocol wants at least"
        f" {least:.1%} (least_accuracy), so it may not judge. {reason}."
    )


def _answers(model: Classifier, images: ImageSet, device: torch.device) -> Tensor:
    """Return the class that is answered for each image (N,), on the CPU."""
    with torch.no_grad():
        batches = torch.arange(len(images)).split(BATCH)
        return torch.cat([model(images.images(indices_B).to(device)).argmax(1).cpu() for indices_B in batches])


def _renamed(answers_N: Tensor, labels_N: Tensor, classes: int) -> float:
    """Return the accuracy if each class were called by its most frequent answer, no answer for two classes."""
    counts_KK = torch.zeros(classes, classes, dtype=torch.long)
    counts_KK.index_put_((labels_N, answers_N), torch.ones_like(labels_N), accumulate=True)
    best_K, name_K = counts_KK.max(1)
    if len(set(name_K.tolist())) < classes:
        return 0.0
    return int(best_K.sum()) / max(1, len(labels_N))
