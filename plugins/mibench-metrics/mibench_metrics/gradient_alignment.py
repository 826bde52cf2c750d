"""Do the target's gradients point along images, or away from them? What an attack can use of a gradient.

Shapes: N images, B of a batch, M references, C channels, H = W pixels, P = C H W, K classes, Q dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import cross_entropy

from mibench.api import (
    Classifier,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    MibenchError,
    Need,
    Quantity,
    Subject,
    resize,
)
from mibench_metrics.canonical_order import sample
from mibench_metrics.inference import batches
from mibench_metrics.measurements import average, required

SAME = 1e-3
"""Distance of images of which no 8-bit pixel differs, with the rounding of distances."""


@dataclass(frozen=True, kw_only=True)
class GradientAlignment(Metric):
    """Project the gradient of the loss of the image's own class onto the tangent space of images around it.

    ``tangent_cosine``: length of the projection over that of the gradient, in [0, 1], mean over images: AlignMI's
    measure of how far a gradient stays on the manifold of images. A random direction has about sqrt(Q / P) (detail
    ``chance``). The tangent space at an image is spanned by the first ``dimensions`` principal directions of its
    nearest references: the people of the gallery who are neither private nor public, else the private training images.
    An image whose gradient is 0 counts as 0 and is in the detail ``zero_gradients``.

    Source: AlignMI, NeurIPS 2025 (gradients mostly leave the manifold, and aligned ones invert better; there
    the tangent space is that of a generator).

    Attributes:
        split: whose images.
        max_images: images that are measured, chosen by what they are.
        references: images that the tangent space is taken from, at most.
        neighbours: nearest references of an image.
        dimensions: of the tangent space; fewer where there are not as many neighbours.
    """

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target", "identities"})

    split: Literal["train", "heldout"] = "heldout"
    max_images: Annotated[int, Ge(1)] | None = 200
    references: Annotated[int, Ge(2)] = 2000
    neighbours: Annotated[int, Ge(2)] = 50
    dimensions: Annotated[int, Ge(1)] = 20

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the measurement.

        Raises:
            MibenchError: without a target, a gallery, images, or two references.
        """
        target = required(evidence.target, "the target", "gradient-alignment").to(ctx.device).eval()
        wanted = evidence.gallery if self.split == "train" else evidence.heldout
        images = sample(required(wanted, "images", "gradient-alignment"), self.max_images)
        people = required(evidence.identities, "an identity gallery", "gradient-alignment")
        known = sample(people.distractors or people.private, self.references)
        if len(known) < 2:
            raise MibenchError("gradient-alignment needs two reference images, and the gallery has fewer")
        side = images.images(torch.tensor([0])).shape[-1]
        known_MP = resize(known.all_images(), side).flatten(1).double()
        rows = []
        for start, x_BCHW in zip(range(0, len(images), 64), batches(images, ctx), strict=False):
            labels_B = images.labels_N[start : start + len(x_BCHW)]
            gradient_BP = loss_gradient(target, x_BCHW, labels_B, ctx).flatten(1).double().cpu()
            apart_BM = torch.cdist(x_BCHW.flatten(1).double(), known_MP)
            for apart_M, gradient_P in zip(apart_BM, gradient_BP, strict=True):
                basis_QP = tangent_basis(apart_M, known_MP, self.neighbours, self.dimensions)
                rows.append((cosine(gradient_P, basis_QP), len(basis_QP), float(gradient_P.norm() == 0)))
        cosine_N, size_N, zero_N = torch.tensor(rows, dtype=torch.float64).T
        details = {
            "chance": (size_N / known_MP.shape[1]).sqrt().mean().item(),
            "zero_gradients": zero_N.mean().item(),
            "references": len(known_MP),
            "of": "distractors" if people.distractors else "private",
        }
        quantity, labels_N = Quantity(base="tangent_cosine"), images.labels_N
        return [average(quantity, cosine_N, labels_N, evidence.num_classes, higher_is_better=False, details=details)]


def loss_gradient(target: Classifier, x_BCHW: Tensor, labels_B: Tensor, ctx: MetricContext) -> Tensor:
    """Return the gradient of the cross-entropy of each image's label by the image (B, C, H, W)."""
    with torch.enable_grad():
        x_BCHW = x_BCHW.to(ctx.device).requires_grad_()
        loss = cross_entropy(target(x_BCHW), labels_B.to(ctx.device), reduction="sum")
        gradient_BCHW: Tensor = torch.autograd.grad(loss, x_BCHW)[0]
    return gradient_BCHW


def tangent_basis(apart_M: Tensor, known_MP: Tensor, neighbours: int, dimensions: int) -> Tensor:
    """Return an orthonormal basis (Q, P) of the principal directions of an image's nearest references.

    Args:
        apart_M: distance of the image to each reference; one nearer than ``SAME`` is the image itself and left out.
        known_MP: references.
        neighbours: how many.
        dimensions: Q, or fewer where the neighbours span less.
    """
    other_M = apart_M > SAME
    nearest = apart_M.masked_fill(~other_M, torch.inf).argsort()[: min(neighbours, int(other_M.sum()))]
    near_NP = known_MP[nearest]
    _, size_N, basis_NP = torch.linalg.svd(near_NP - near_NP.mean(0), full_matrices=False)
    kept = min(dimensions, int((size_N > 1e-9 * size_N[0]).sum())) if len(size_N) and size_N[0] > 0 else 0
    basis_QP: Tensor = basis_NP[:kept]
    return basis_QP


def cosine(gradient_P: Tensor, basis_QP: Tensor) -> float:
    """Return the length of a gradient's projection over its own; 0 for a gradient of 0."""
    length = gradient_P.norm()
    share: float = ((basis_QP @ gradient_P).norm() / length).item() if length > 0 else 0.0
    return min(1.0, share)
