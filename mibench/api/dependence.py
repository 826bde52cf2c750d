"""How much one view of a batch tells about another: normalised HSIC and COCO, differentiable, on the views' device.

A view is one row per image: pixels, a layer's activations or one-hot labels; further axes are flattened. Both measures
compare the m x m Gram matrices of two views and work for any m >= 2. Neither is calibrated: with many images and few
classes, noise scores high and scaling a view changes its score, so compare with the score of shuffled rows.

Normalised HSIC is tr(R_x R_z) with R = K (K + eps m I)^-1 and K centred on both sides, which gives the same trace as
centring on one, from symmetric and better conditioned matrices. It goes from 0 (a constant view) to m - 1. COCO is
sqrt(norm of K_x K_z) / m with both K centred on both sides; the norm is Frobenius', as in BiDO, where the constrained
covariance of Gretton et al. (2005) has the spectral norm.

Source: Fukumizu, Gretton, Sun and Schoelkopf, NIPS 2007; as used by Peng et al., KDD 2022.

Shapes: B = m images of a batch, D numbers per image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from mibench.api.params import OmitIfDefault

Kernel = Literal["gaussian", "linear", "imq"]
"""``gaussian``: exp(-d / (2 sigma^2 D)) with d the squared distance; ``linear``: inner product; ``imq``: inverse
multiquadric, 1 / sqrt(1 + d)."""
ImageScale = Literal["symmetric", "unit"]
"""In which range the images of d(X, Z) are: ``symmetric`` [-1, 1], ``unit`` [0, 1]."""
Measure = Literal["hsic", "coco"]
"""``hsic``: normalised HSIC in its CCA form; ``coco``: constrained covariance."""


@dataclass(frozen=True, kw_only=True)
class Dependence:
    """How dependence is measured. There are two steps, so that a view that is compared often is encoded once.

    Attributes:
        measure: normalised HSIC, or COCO, whose values are far smaller and want larger weights.
        kernel: kernel of the labels; images and activations have a Gaussian one.
        sigma: width of the Gaussian kernel, per dimension.
        eps: ridge of the normalised HSIC, per image of the batch.
        precision: of kernels and solves; float32 halves memory and is faster on consumer GPUs.
        image_scale: range of X in d(X, Z), whatever the network sees: symmetric is [-1, 1] (AT-AT), unit is [0, 1] (the
            authors' code, whose networks also take images in [0, 1]: ``--set model.mean=[0,0,0]`` and ``std=[1,1,1]``).
            The Gaussian kernel is not invariant to it: squared distances are four times larger in [-1, 1].
    """

    measure: Measure = "hsic"
    kernel: Kernel = "linear"
    sigma: Annotated[float, Gt(0)] = 5.0
    eps: Annotated[float, Gt(0)] = 1e-5
    precision: Literal["float64", "float32"] = "float64"
    image_scale: Annotated[ImageScale, OmitIfDefault()] = "symmetric"

    def of_stages(self, x: Tensor, stages: Mapping[str, Tensor], labels_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Return d(X, Z_j) and d(Z_j, Y), one number for each stage j.

        Args:
            x: images in [0, 1], (B, C, H, W).
            stages: activations (B, ...) by stage.
            labels_BK: one-hot labels.
        """
        image_BB = self.encode(x if self.image_scale == "unit" else 2 * x - 1)
        label_BB = self.encode(labels_BK, self.kernel)
        encoded = [self.encode(activations) for activations in stages.values()]
        on_image = torch.stack([self.between(image_BB, z_BB) for z_BB in encoded])
        return on_image, torch.stack([self.between(z_BB, label_BB) for z_BB in encoded])

    def encode(self, view: Tensor, kernel: Kernel = "gaussian") -> Tensor:
        """Return what the measure compares, (B, B): the centred Gram matrix, regularised if the measure is HSIC."""
        dtype = getattr(torch, self.precision)
        matrix_BB = centred(gram(view.flatten(1).to(dtype), kernel, self.sigma))
        return ridge_smoother(matrix_BB, self.eps) if self.measure == "hsic" else matrix_BB

    def between(self, a_BB: Tensor, b_BB: Tensor) -> Tensor:
        """Return the dependence of two encoded views, a scalar."""
        if self.measure == "hsic":
            return (a_BB * b_BB.T).sum()  # the trace of the product
        # The norm is cut off at a tiny number, because its root has no finite gradient at 0 (a constant view).
        squared = (a_BB @ b_BB).square().sum().clamp(min=1e-30)
        return squared.pow(0.25) / len(a_BB)


def gram(view_BD: Tensor, kernel: Kernel, sigma: float = 5.0) -> Tensor:
    """Return the kernel of every two rows, (B, B)."""
    if kernel == "linear":
        return view_BD @ view_BD.T
    distances_BB = squared_distances(view_BD)
    if kernel == "imq":
        return (1 + distances_BB).rsqrt()
    return torch.exp(-distances_BB / (2 * sigma**2 * view_BD.shape[1]))


def squared_distances(view_BD: Tensor) -> Tensor:
    """Return the squared Euclidean distance of every two rows, (B, B), the diagonal exactly 0.

    The rows are moved to their mean first: far from the origin |a|^2 - 2ab + |b|^2 would cancel.
    """
    moved_BD = view_BD - view_BD.mean(0)
    inner_BB = moved_BD @ moved_BD.T
    lengths_B = inner_BB.diagonal()
    return (lengths_B[:, None] - 2 * inner_BB + lengths_B).clamp(min=0)


def centred(kernel_BB: Tensor) -> Tensor:
    """Return HKH with H = I - 11'/m: rows and columns have mean 0."""
    half_BB = kernel_BB - kernel_BB.mean(0, keepdim=True)
    return half_BB - half_BB.mean(1, keepdim=True)


def ridge_smoother(kernel_BB: Tensor, eps: float = 1e-5) -> Tensor:
    """Return K (K + eps m I)^-1 of a centred Gram matrix: its eigenvalues v become v / (v + eps m), below 1."""
    ridge_BB = eps * len(kernel_BB) * torch.eye(len(kernel_BB), dtype=kernel_BB.dtype, device=kernel_BB.device)
    smoother_BB: Tensor = torch.linalg.solve(kernel_BB + ridge_BB, kernel_BB)
    return smoother_BB
