"""The Hammersley-Chapman-Robbins bound on how well an image can be told from noisy features.

Shapes: B images, C channels, H = W pixels, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse.linalg import LinearOperator, lsqr
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
    generator,
)
from mibench_metrics.canonical_order import sample
from mibench_metrics.fisher_information import Released, root_mean_square
from mibench_metrics.jacobians import backward_product, forward_product
from mibench_metrics.measurements import average, required

Floats = NDArray[np.float64]
LOW = 32
"""Side of the corner of low frequencies that the released code reports."""
TOLERANCE = 0.02
"""Of the least-squares solver, relative to the shift of the features."""


@dataclass(frozen=True, kw_only=True)
class HammersleyChapmanRobbins(Metric):
    """Of features f(x) + N(0, s^2 I): a lower bound of the deviation of any unbiased estimate of x, by frequency.

    For any shift e of the image and z = f(x + e) - f(x), both exact, the coefficient k of the orthonormal discrete
    cosine transform has a deviation of at least |DCT(e)_k| / sqrt(exp(|z|^2 / s^2) - 1). Shifts are sought ``pits``
    times: e is the least-squares solution of J e = z, with J at the image shifted so far and z, scaled to a
    ``divisor``-th of s, what that shift does. The bound is the largest over ``restarts`` random first z. ``hcr``:
    median over coefficients, mean over images; ``hcr_low``: the same over the lowest 32 x 32. Pixels are in [0, 1];
    published numbers, of [-1, 1], are twice that.

    The bound holds for shifts that the solver finds and is below the truth elsewhere: a pixel that is never read has
    an infinite bound (``fisher-information``), and the solver does not move it. Released code solves for a whole batch
    at once; here each image is solved alone, so that a batch changes nothing. It needs a forward pass that is
    differentiable and not random, and is meant for small networks.

    Source: Chaudhuri, Guo, van der Maaten, Mahloujifar and Tygert, 2024 (arXiv 2404.02866); used by AT-AT, 2026.

    Attributes:
        split: whose images; published: validation.
        max_images: images that are measured, chosen by what they are.
        layer: what is released with noise; published: the last stage or, pooled, the features.
        sigma_scale: s, in root mean squares of that layer.
        restarts: random first directions.
        pits: solutions for each of them.
        divisor: s over the length of a shift of the features.
        iterations: of the least-squares solver, at most.
        max_inputs: numbers of an image up to which a network counts as small.
    """

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})

    split: Literal["train", "heldout"] = "heldout"
    max_images: Annotated[int, Ge(1)] = 32
    layer: Literal["features", "logits"] = "features"
    sigma_scale: Annotated[float, Gt(0)] = 2.0
    restarts: Annotated[int, Ge(1)] = 2
    pits: Annotated[int, Ge(1)] = 5
    divisor: Annotated[float, Gt(0)] = 500.0
    iterations: Annotated[int, Ge(1)] = 200
    max_inputs: Annotated[int, Ge(1)] = 3 * 64 * 64

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return ``hcr`` and ``hcr_low``.

        Raises:
            MibenchError: without a target or images; if images are larger than ``max_inputs``; if the forward pass is
                random or has no derivative; or if no shift moves the features.
        """
        target = required(evidence.target, "the target", "hcr").to(ctx.device).eval()
        wanted = evidence.gallery if self.split == "train" else evidence.heldout
        images = sample(required(wanted, "images", "hcr"), self.max_images)
        function = Released(target, self.layer)
        first_1CHW = images.images(torch.tensor([0])).to(ctx.device)
        self._check(function, first_1CHW)
        sigma = self.sigma_scale * root_mean_square(function, images, ctx)
        rows = []
        for index in range(len(images)):
            x_1CHW = images.images(torch.tensor([index])).to(ctx.device)
            bounds_CHW = self.bounds(function, x_1CHW, sigma)
            rows.append((np.median(bounds_CHW), np.median(bounds_CHW[:, :LOW, :LOW])))
            ctx.progress(index + 1, len(images), "images", {})
        details = {"sigma": sigma, "layer": self.layer, "split": self.split, "restarts": self.restarts}
        return [
            average(
                Quantity(base=base),
                torch.tensor(values),
                images.labels_N,
                evidence.num_classes,
                higher_is_better=True,
                unit="pixel",
                details=details,
            )
            for base, values in zip(("hcr", "hcr_low"), np.array(rows).T, strict=True)
        ]

    def bounds(self, function: Released, x_1CHW: Tensor, sigma: float) -> Floats:
        """Return the bound of each coefficient of one image (C, H, W), the largest over all restarts.

        Raises:
            MibenchError: if no restart moved the features.
        """
        found = []
        with torch.no_grad():
            start_1D = function(x_1CHW)
        for number in range(self.restarts):
            noise_1D = torch.randn(start_1D.shape, generator=generator("hcr", "direction", number)).to(start_1D)
            length = sigma / self.divisor * noise_1D.norm().item() / sqrt(start_1D.numel())
            shift_CHW, z = self._shift(function, x_1CHW, start_1D, noise_1D, length)
            spread = float(np.expm1(min(float(z @ z) / sigma**2, 700.0)))
            if spread > 0:
                found.append(np.abs(dctn(shift_CHW, axes=(1, 2), norm="ortho")) / sqrt(spread))
        if not found:
            raise MibenchError(
                "hcr: no shift of an image that the solver found moves the features, so it bounds nothing. The gradient"
                " of the target vanishes there; see zero-gradients of robust-accuracy."
            )
        largest: Floats = np.max(found, axis=0)
        return largest

    def _shift(
        self, function: Released, x_1CHW: Tensor, start_1D: Tensor, direction_1D: Tensor, length: float
    ) -> tuple[Floats, Floats]:
        """Return a shift of the image (C, H, W) and what it does to the features (D,)."""
        moved, d = x_1CHW.double(), direction_1D.double()
        for _ in range(self.pits):
            if float(d.norm()) == 0:
                break
            d = d / d.norm() * length
            moved = x_1CHW.double() + _solve(function, moved.to(x_1CHW), d, self.iterations)
            with torch.no_grad():
                d = (function(moved.to(x_1CHW)) - start_1D).double()
        exact = moved.to(x_1CHW)
        with torch.no_grad():
            z_1D = (function(exact) - start_1D).double()
        shift_CHW = (exact.double() - x_1CHW.double())[0]
        return shift_CHW.cpu().numpy(), z_1D[0].cpu().numpy()

    def _check(self, function: Released, x_1CHW: Tensor) -> None:
        if x_1CHW.numel() > self.max_inputs:
            raise MibenchError(
                f"hcr is for small networks: images have {x_1CHW.numel()} numbers, and it takes {self.max_inputs}."
                " Raise max_inputs if you can wait."
            )
        with torch.no_grad():
            first, again = function(x_1CHW), function(x_1CHW)
        if not torch.equal(first, again):
            raise MibenchError(
                "hcr does not apply: two forward passes of the target differ, and the bound is of a function"
            )
        with torch.enable_grad():
            differentiable = function(x_1CHW.detach().requires_grad_()).requires_grad
        if not differentiable:
            raise MibenchError("hcr does not apply: the target's features have no derivative by the image")


def _solve(function: Released, x_1CHW: Tensor, d_1D: Tensor, iterations: int) -> Tensor:
    """Return the least-squares solution e (1, C, H, W) of J e = d, float64."""
    shape, size = x_1CHW.shape, x_1CHW.numel()

    def forward(v: Floats) -> Floats:
        v_1CHW = torch.from_numpy(np.asarray(v).reshape(shape)).to(x_1CHW)
        return forward_product(function, x_1CHW, v_1CHW).double().cpu().numpy().ravel()

    def backward(u: Floats) -> Floats:
        u_1D = torch.from_numpy(np.asarray(u).reshape(1, -1)).to(x_1CHW)
        return backward_product(function, x_1CHW, u_1D).double().cpu().numpy().ravel()

    operator = LinearOperator((d_1D.numel(), size), matvec=forward, rmatvec=backward, dtype=np.float64)
    target = d_1D[0].cpu().numpy()
    solution = lsqr(operator, target, atol=TOLERANCE * float(np.linalg.norm(target)), iter_lim=iterations)[0]
    if not isfinite(float(solution.sum())):
        raise MibenchError("hcr: the least-squares solver found no finite shift; the target's gradient is not finite")
    return torch.from_numpy(solution.reshape(shape)).to(x_1CHW.device)
