"""How much a network's activations tell about its input and its label, as published and calibrated.

Shapes: N images, B = m of a batch, C channels, H = W pixels, K classes, D numbers per image, J stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import one_hot

from mibench.api import (
    Classifier,
    Dependence,
    FlatNames,
    ImageSet,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    MibenchError,
    Need,
    Subject,
    centred,
    generator,
    gram,
    squared_distances,
)
from mibench_metrics.canonical_order import sample
from mibench_metrics.measurements import required

FEATURES = "features"
"""What the penultimate features are called among the stages."""
LEAST = 4
"""Images of the smallest batch that says anything."""


@dataclass(frozen=True, kw_only=True)
class Dependency(Metric):
    """Dependence of each stage Z_j on the image X and on the label Y; columns are means over stages and batches.

    ``hsic_xz`` and ``hsic_zy``: normalised HSIC as published with BiDO and used in AT-AT's argument. It counts
    eigenvalues above eps * m and follows the scale of the activations, so noise scores high. ``_corrected``: the same
    minus its mean over shuffled rows of Z, 0 for independent views. ``cka_xz``, ``cka_zy``: linear CKA (Kornblith et
    al., ICML 2019), and ``hsic_median_xz``, ``hsic_median_zy``: the HSIC of Gaussian kernels whose width is the median
    distance, divided by both norms (0 to 1); neither follows the scale. Values of other m, sigma, eps do not compare.

    The published numbers are from augmented training batches; these are from the same images without augmentation, in
    an order that follows from the images. A batch that is not full is left out, unless it is the only one. The
    readme has what all columns say about Z = X, noise, 0.1 Z and shuffled rows.

    Source: Fukumizu et al., NIPS 2007; Peng et al., KDD 2022; Torp, Smith and Breuer, ICLR 2026.

    Attributes:
        split: whose images; the published numbers are of the training images.
        batch: images m of a batch; the normalised HSIC is at most m - 1.
        max_batches: batches that are measured; ``None`` measures all.
        shuffles: permutations behind the corrected value.
        stages: names of the stages; empty takes all that the network names, and the penultimate features.
        dependence: kernel of the label, sigma, eps and the range of X (published: linear, 5, 1e-5, symmetric).
    """

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})

    split: Literal["train", "heldout"] = "train"
    batch: Annotated[int, Ge(LEAST)] = 128
    max_batches: Annotated[int, Ge(1)] | None = 8
    shuffles: Annotated[int, Ge(1)] = 5
    stages: tuple[str, ...] = ()
    dependence: Annotated[Dependence, FlatNames()] = Dependence()

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return eight columns; details hold every stage's value, and m, sigma, eps, kernel, split and batches.

        Raises:
            MibenchError: without a target, with a stage that it does not have, or with fewer than four images.
        """
        target = required(evidence.target, "the target", "dependency").to(ctx.device).eval()
        images = required(evidence.gallery if self.split == "train" else evidence.heldout, "images", "dependency")
        size = min(self.batch, len(images))
        if size < LEAST:
            raise MibenchError(f"dependency needs {LEAST} images, and there are {len(images)}")
        chosen = sample(images, None if self.max_batches is None else size * self.max_batches)
        parts = [part for part in torch.arange(len(chosen)).split(size) if len(part) == size]
        rows: list[dict[str, dict[str, float]]] = []
        for done, part in enumerate(parts, 1):
            rows.append(self._of_batch(target, chosen.subset(part), evidence.num_classes, ctx))
            ctx.progress(done, len(parts), "batches", {})
        settings = {
            "m": size,
            "batches": len(parts),
            "split": self.split,
            "sigma": self.dependence.sigma,
            "eps": self.dependence.eps,
            "kernel_y": self.dependence.kernel,
            "shuffles": self.shuffles,
        }
        return [_column(name, rows, size * len(parts), evidence.num_classes, settings) for name in rows[0]]

    def _of_batch(
        self, target: Classifier, images: ImageSet, classes: int, ctx: MetricContext
    ) -> dict[str, dict[str, float]]:
        """Return a batch's values by column and stage."""
        x_BCHW, labels_B = images.all_images(), images.labels_N
        with torch.no_grad():
            outputs = target.outputs(x_BCHW.to(ctx.device), stages=True)
        named = {**outputs.stages, FEATURES: outputs.features}
        if strange := [name for name in self.stages if name not in named]:
            raise MibenchError(f"dependency: the target has no stage {strange[0]!r}; it has {', '.join(named)}")
        views = {name: named[name].flatten(1).double().cpu() for name in self.stages or named}
        x_BD = (x_BCHW if self.dependence.image_scale == "unit" else 2 * x_BCHW - 1).flatten(1).double()
        return measures(views, x_BD, one_hot(labels_B, classes).double(), self.dependence, self.shuffles)


def measures(
    views: Mapping[str, Tensor], x_BD: Tensor, labels_BK: Tensor, dependence: Dependence, shuffles: int
) -> dict[str, dict[str, float]]:
    """Return every measure of every view by column and name of the view, from one batch in float64.

    Args:
        views: activations (B, D) by name.
        x_BD: images, in the range in which their kernel is taken.
        labels_BK: one-hot labels.
        dependence: how the published HSIC is measured.
        shuffles: permutations of the rows behind the corrected value.
    """
    orders = [
        torch.randperm(len(x_BD), generator=generator("dependency", "shuffle", number)) for number in range(shuffles)
    ]
    found: dict[str, dict[str, float]] = {}
    encoded = {"xz": dependence.encode(x_BD), "zy": dependence.encode(labels_BK, dependence.kernel)}
    for pair, other_BD in (("xz", x_BD), ("zy", labels_BK)):
        other_BB = encoded[pair]
        for name, z_BD in views.items():
            z_BB = dependence.encode(z_BD)
            raw = dependence.between(other_BB, z_BB).item()
            shuffled = fmean(dependence.between(other_BB, z_BB[order][:, order]).item() for order in orders)
            found.setdefault(f"hsic_{pair}", {})[name] = raw
            found.setdefault(f"hsic_{pair}_corrected", {})[name] = raw - shuffled
            found.setdefault(f"cka_{pair}", {})[name] = alignment(
                centred(gram(other_BD, "linear")), centred(gram(z_BD, "linear"))
            )
            found.setdefault(f"hsic_median_{pair}", {})[name] = alignment(median_gram(other_BD), median_gram(z_BD))
    return found


def alignment(a_BB: Tensor, b_BB: Tensor) -> float:
    """Return the cosine of two centred Gram matrices, in [0, 1]; 0 if one of them is of a constant view."""
    norms = a_BB.norm() * b_BB.norm()
    return ((a_BB * b_BB).sum() / norms).clamp(0, 1).item() if norms > 0 else 0.0


def median_gram(view_BD: Tensor) -> Tensor:
    """Return the centred Gaussian kernel (B, B) with the median distance between rows as its width."""
    squared_BB = squared_distances(view_BD)
    apart = squared_BB[~torch.eye(len(view_BD), dtype=torch.bool)]
    width = apart[apart > 0].median() if (apart > 0).any() else torch.ones((), dtype=view_BD.dtype)
    return centred(torch.exp(-squared_BB / (2 * width)))


def _column(
    name: str, rows: Sequence[Mapping[str, Mapping[str, float]]], n: int, classes: int, settings: Mapping[str, Any]
) -> Measurement:
    by_stage = {stage: fmean(row[name][stage] for row in rows) for stage in rows[0][name]}
    shared = name.startswith(("cka", "hsic_median"))
    return Measurement(
        base=name,
        value=fmean(by_stage.values()),
        unit="fraction" if shared else "normalised HSIC",
        higher_is_better=False,
        n=n,
        per_class=[None] * classes,
        details={"stages": by_stage, **settings},
    )
