"""How well the image could be told from noisy features at all: Fisher information loss and the Cramér-Rao bound.

Shapes: N images, B of a batch, C channels, H = W pixels, D features, P = C H W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from mibench.api import (
    Classifier,
    ImageSet,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    MibenchError,
    Need,
    Quantity,
    Subject,
)
from mibench_metrics.canonical_order import sample
from mibench_metrics.jacobians import column_squares, spectral_norms
from mibench_metrics.measurements import average, required

BATCH = 16


@dataclass(frozen=True, kw_only=True)
class FisherInformation(Metric):
    """Of features f(x) + N(0, s^2 I), with J the Jacobian of f at x: the Fisher information of x is J'J / s^2.

    ``fil``: Fisher information loss, |J|_2 / s: 1 / fil bounds the deviation of an unbiased estimate of the direction
    that is told best. ``unread_pixels``: share of positions whose columns of J are exactly 0 in all channels; no
    unbiased estimate of them has a finite variance, whatever s. ``crb_pixel``: median, over the other numbers k of an
    image, of s / |J_k|, a lower bound of the standard deviation of an unbiased estimate of k, and weak: it grants
    that all other pixels are known. Pixels are in [0, 1]. An attacker with a prior is biased, and no bound here holds
    for him.

    Source: Hannun, Guo and van der Maaten, UAI 2021 (Fisher information loss); the bound is the limit of ``hcr``
    for small shifts.

    Attributes:
        split: whose images.
        max_images: images that are measured, chosen by what they are; ``None`` measures all.
        layer: what is released with noise.
        sigma_scale: s, in root mean squares of that layer over the images.
        probes: random products that estimate |J_k|^2; ``None`` is exact with one product for each feature.
        steps: power iterations for the norm of J.
    """

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})

    split: Literal["train", "heldout"] = "heldout"
    max_images: Annotated[int, Ge(1)] | None = 32
    layer: Literal["features", "logits"] = "features"
    sigma_scale: Annotated[float, Gt(0)] = 2.0
    probes: Annotated[int, Ge(1)] | None = None
    steps: Annotated[int, Ge(1)] = 30

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return ``fil``, ``unread_pixels`` and, unless no pixel is read, ``crb_pixel``; details say s and the layer.

        Raises:
            MibenchError: without a target or images, or if the layer is 0 everywhere.
        """
        target = required(evidence.target, "the target", "fisher-information").to(ctx.device).eval()
        wanted = evidence.gallery if self.split == "train" else evidence.heldout
        images = sample(required(wanted, "images", "fisher-information"), self.max_images)
        function = Released(target, self.layer)
        sigma = self.sigma_scale * root_mean_square(function, images, ctx)
        rows = []
        for indices_B in torch.arange(len(images)).split(BATCH):
            x_BCHW = images.images(indices_B).to(ctx.device)
            squares = column_squares(function, x_BCHW, self.probes).cpu()
            rows.append((spectral_norms(function, x_BCHW, steps=self.steps) / sigma, *_of_pixels(squares, sigma)))
            ctx.progress(int(indices_B[-1]) + 1, len(images), "images", {})
        fil_N, unread_N, bound_N = (torch.cat(part) for part in zip(*rows, strict=True))
        details = {"sigma": sigma, "sigma_scale": self.sigma_scale, "layer": self.layer, "split": self.split}
        labels_N, classes = images.labels_N, evidence.num_classes
        made = [
            average(
                Quantity(base="fil"), fil_N, labels_N, classes, higher_is_better=False, unit="1/pixel", details=details
            ),
            average(Quantity(base="unread_pixels"), unread_N, labels_N, classes, higher_is_better=True),
        ]
        read_N = bound_N.isfinite()
        if read_N.any():
            made.append(
                average(
                    Quantity(base="crb_pixel"),
                    bound_N[read_N],
                    labels_N[read_N],
                    classes,
                    higher_is_better=True,
                    unit="pixel",
                    details=details,
                )
            )
        return made


class Released:
    """What of a network is released: images (B, C, H, W) to (B, D).

    Args:
        target: the network, in evaluation mode.
        layer: ``"features"`` or ``"logits"``.
    """

    def __init__(self, target: Classifier, layer: str) -> None:
        self.target, self.layer = target, layer

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return the layer (B, D)."""
        outputs = self.target.outputs(x_BCHW)
        return (outputs.features if self.layer == "features" else outputs.logits).flatten(1)


def root_mean_square(function: Released, images: ImageSet, ctx: MetricContext) -> float:
    """Return the root of the mean square of a layer over images.

    Raises:
        MibenchError: if it is 0, or not finite.
    """
    total, count = 0.0, 0
    with torch.no_grad():
        for indices_B in torch.arange(len(images)).split(BATCH):
            made_BD = function(images.images(indices_B).to(ctx.device)).double()
            total, count = total + made_BD.square().sum().item(), count + made_BD.numel()
    rms: float = (total / count) ** 0.5
    if not 0 < rms < float("inf"):
        raise MibenchError(
            f"the {function.layer} of the target have a root mean square of {rms}: no noise belongs to it"
        )
    return rms


def _of_pixels(squares_BCHW: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Return each image's share of positions that are never read (B,), and the median bound of the numbers that are."""
    unread_B = (squares_BCHW == 0).all(1).flatten(1).double().mean(1)
    bounds_BP = sigma / squares_BCHW.flatten(1).sqrt()
    median_B = torch.stack(
        [
            own[own.isfinite()].median() if own.isfinite().any() else torch.tensor(torch.inf).double()
            for own in bounds_BP
        ]
    )
    return unread_B, median_B
