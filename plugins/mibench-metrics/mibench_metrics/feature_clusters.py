"""How the target's features lie: are images of a class nearer to each other than to those of other classes?

Distances are Euclidean between penultimate features. The numbers are those of the AT-AT paper's repository, in float64
and without its slip of leaving classes out by position instead of by name.

Shapes: N images, B of a batch, D features, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import (
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    MibenchError,
    Need,
    Quantity,
    Subject,
)
from mibench_metrics.feature_distances import Distances, distances
from mibench_metrics.inference import features_of
from mibench_metrics.measurements import average, required
from mibench_metrics.robust_accuracy.subset import stratified

Statistic = Callable[[Tensor], float]
STATISTICS: Mapping[str, Statistic] = {
    "mean": lambda own: own.mean().item(),
    "median": lambda own: own.quantile(0.5).item(),
    "min": lambda own: own.min().item(),
}


@dataclass(frozen=True, kw_only=True)
class FeatureClusters(Metric):
    """Nearest neighbours inside and outside the own class, their ratio, and the silhouette.

    ``nn_intra`` and ``nn_inter``: distance of an image to the nearest other one of its class, and to the nearest of any
    other class; ``/max`` divides by the largest of all distances, ``/zscore`` subtracts their mean and divides by their
    standard deviation (all N x N distances, zeros of the diagonal included). ``nn_ratio/mean``, ``/median`` and
    ``/min``: that statistic of a class's ``nn_intra`` over that of its ``nn_inter``. All are means over classes with at
    least two images. ``silhouette``: mean over all images of Rousseeuw's coefficient (1987), in [-1, 1]; an image alone
    in its class has 0. "Better" means better separated classes, which says nothing about privacy.

    Attributes:
        split: whose images; the AT-AT paper's repository takes the training images.
        max_images: look at a stratified part of at most this many images; ``None`` looks at all.
    """

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})

    split: Literal["train", "heldout"] = "train"
    max_images: Annotated[int, Ge(2)] | None = None

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return nearest-neighbour distances raw and normalised, three ratios, and the silhouette.

        Details of the ratios: ``over_classes``, the distribution over classes; ``zscore``, the same of the ratio of
        normalised distances, which can have any sign. (Dividing by the largest distance leaves a ratio as it is.)

        Raises:
            MibenchError: if there is no target, or fewer than two classes with two images.
        """
        target = required(evidence.target, "the target", "feature-clusters")
        images = required(evidence.gallery if self.split == "train" else evidence.heldout, "images", "feature-clusters")
        chosen = images.subset(stratified(images.labels_N, self.max_images))
        labels_N, classes = chosen.labels_N, chosen.num_classes
        if int((torch.bincount(labels_N, minlength=classes) > 1).sum()) < 2:
            raise MibenchError("feature-clusters needs two classes with at least two images each")
        found = distances(features_of(target, chosen, ctx), labels_N, classes)
        return [
            *_neighbours(found, labels_N, classes),
            *(_ratio(name, found, labels_N, classes) for name in STATISTICS),
            average(
                Quantity(base="silhouette"),
                found.silhouette_N,
                labels_N,
                classes,
                higher_is_better=True,
                unit="silhouette",
            ),
        ]


def _neighbours(found: Distances, labels_N: Tensor, classes: int) -> list[Measurement]:
    made = []
    for name, nearest_N, better in (("nn_intra", found.intra_N, False), ("nn_inter", found.inter_N, True)):
        for suffix, unit, change in found.normalisations():
            values_N = change(nearest_N)
            per_class = [fmean(own.tolist()) if len(own) else None for own in _by_class(values_N, labels_N, classes)]
            made.append(_over_classes(f"{name}{suffix}", per_class, unit, better, len(labels_N)))
    return made


def _ratio(name: str, found: Distances, labels_N: Tensor, classes: int) -> Measurement:
    plain, zscore = (
        [
            _divide(STATISTICS[name](intra), STATISTICS[name](inter)) if len(intra) else None
            for intra, inter in zip(
                _by_class(change(found.intra_N), labels_N, classes),
                _by_class(change(found.inter_N), labels_N, classes),
                strict=True,
            )
        ]
        for suffix, _, change in found.normalisations()
        if suffix != "/max"
    )
    details = {"over_classes": _distribution(plain), "zscore": _distribution(zscore)}
    return _over_classes(f"nn_ratio/{name}", plain, "ratio", False, len(labels_N), details)


def _by_class(values_N: Tensor, labels_N: Tensor, classes: int) -> list[Tensor]:
    """Return the values of each class; none of a class that has a single image, which has no neighbour."""
    parts = [values_N[labels_N == label] for label in range(classes)]
    return [own if len(own) > 1 else own[:0] for own in parts]


def _over_classes(
    name: str,
    per_class: Sequence[float | None],
    unit: str,
    better: bool,
    n: int,
    details: Mapping[str, Any] | None = None,
) -> Measurement:
    present = [value for value in per_class if value is not None]
    if not present:
        raise MibenchError(f"feature-clusters: {name} is not defined, for in every class a distance is 0")
    return Measurement(
        name=name,
        value=fmean(present),
        unit=unit,
        higher_is_better=better,
        n=n,
        per_class=list(per_class),
        details=details or {},
    )


def _divide(over: float, under: float) -> float | None:
    return over / under if under else None


def _distribution(per_class: Sequence[float | None]) -> dict[str, float | int | None]:
    """Return count, mean, standard deviation (n - 1), smallest, quartiles and largest; no class is ``None``."""
    values_K = torch.tensor([value for value in per_class if value is not None], dtype=torch.float64)
    if not len(values_K):
        return {"count": 0}
    points = torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64)
    quartiles = dict(zip(("min", "25%", "50%", "75%", "max"), values_K.quantile(points).tolist(), strict=True))
    std = values_K.std().item() if len(values_K) > 1 else math.nan
    return {
        "count": len(values_K),
        "mean": values_K.mean().item(),
        "std": std if math.isfinite(std) else None,
        **quartiles,
    }
