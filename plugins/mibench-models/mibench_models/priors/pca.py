"""Eigenfaces as a prior: a linear generator, for fast tests and as the weakest honest baseline.

Shapes: N images, B latents, Z components, D = C * H * W pixels, C channels, H = W side.
Source: Turk and Pentland, "Eigenfaces for Recognition" (1991), read as a Gaussian model of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import BlockState, ImageSet, MibenchError, Prior, PriorModel, PriorTrainer, TargetView, generator

EXACT_SIDE = 1500
"""Data matrices up to this many rows or columns are decomposed exactly."""


class LinearFaces(Prior):
    """``x = mean + basis^T (scale * z)`` with z from N(0, I); latents are (B, 1, Z).

    Attributes:
        mean: (C, H, W) mean image.
        basis: (Z, D) orthonormal directions, strongest first; zero beyond the rank of the data.
        scale: (Z,) standard deviation of the data along each direction.
    """

    mean: Tensor
    basis: Tensor
    scale: Tensor

    def __init__(self, components: int, *, channels: int, size: int) -> None:
        super().__init__()
        self.latent_layers, self.latent_size, self.noise_size = 1, components, components
        self.register_buffer("mean", torch.full((channels, size, size), 0.5))
        self.register_buffer("basis", torch.zeros(components, channels * size * size))
        self.register_buffer("scale", torch.zeros(components))

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Return ``truncation * z`` as (B, 1, Z); the only layer is left alone if ``cutoff`` is 0."""
        return (z_BZ if cutoff == 0 else z_BZ * truncation)[:, None]

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Return images (B, C, H, W), not clamped.

        Raises:
            ValueError: if ``start`` is not 0; a linear model has no middle.
        """
        if start != 0:
            raise ValueError(f"a PCA prior has one block; got start={start}")
        x_BD = (latent_BLW[:, 0] * self.scale) @ self.basis
        return self.mean + x_BD.reshape(-1, *self.mean.shape)

    def project(self, x_BCHW: Tensor) -> Tensor:
        """Return the latents (B, 1, Z) whose renderings are closest to the images in squared error."""
        coefficients_BZ = (x_BCHW - self.mean).flatten(1) @ self.basis.T
        return (coefficients_BZ / self.scale.clamp_min(1e-12) * (self.scale > 0))[:, None]


def principal_components(x_ND: Tensor, components: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (D,), directions (Z', D) and standard deviations (Z',) of data, with Z' at most ``components``.

    Small matrices are decomposed exactly. Large ones by randomised subspace iteration (Halko, Martinsson and Tropp,
    2011, algorithm 4.4) with 20 extra columns and 6 iterations. The largest entry of a direction is positive.

    Args:
        x_ND: data, float64.
        components: how many directions.
        rng: for the start of the iteration.
    """
    mean_D = x_ND.mean(dim=0)
    centred_ND = x_ND - mean_D
    rows, columns = centred_ND.shape
    if min(rows, columns) > EXACT_SIDE and components + 20 < min(rows, columns):
        start_DK = torch.randn(columns, components + 20, generator=rng, dtype=x_ND.dtype).to(x_ND.device)
        span_NK = torch.linalg.qr(centred_ND @ start_DK).Q
        for _ in range(6):
            span_NK = torch.linalg.qr(centred_ND @ (centred_ND.T @ span_NK)).Q
        centred_ND = span_NK.T @ centred_ND
    _, values_R, directions_RD = torch.linalg.svd(centred_ND, full_matrices=False)
    rank = int((values_R > values_R.max().clamp_min(1e-300) * 1e-10).sum())
    kept_ZD = directions_RD[: min(components, rank)]
    largest_Z1 = kept_ZD.gather(1, kept_ZD.abs().argmax(dim=1, keepdim=True))
    return mean_D, kept_ZD * largest_Z1.sign(), values_R[: len(kept_ZD)] / max(rows - 1, 1) ** 0.5


class PcaTrainer(PriorTrainer):
    """Fits the prior in its single step.

    Attributes:
        total_steps: 1.
    """

    total_steps = 1

    def __init__(self, prior: LinearFaces, images: ImageSet, *, mirror: bool, seed: int) -> None:
        """Prepare.

        Raises:
            MibenchError: if there are no images.
        """
        if len(images) == 0:
            raise MibenchError("a PCA prior needs at least one public image")
        self.prior, self.images, self.mirror, self.seed = prior, images, mirror, seed

    @torch.no_grad()
    def step(self, index: int) -> dict[str, float]:
        """Decompose the images; returns ``explained``, the share of their variance that the components hold."""
        x_NCHW = self.images.all_images()
        if self.mirror:
            x_NCHW = torch.cat([x_NCHW, x_NCHW.flip(3)])
        x_ND = x_NCHW.flatten(1).to(self.prior.device, torch.float64)
        rng = generator(self.seed, "pca", index)
        mean_D, basis_ZD, scale_Z = principal_components(x_ND, self.prior.latent_size, rng)
        found = len(scale_Z)
        self.prior.mean.copy_(mean_D.reshape(self.prior.mean.shape))
        self.prior.basis.zero_()[:found] = basis_ZD.float()
        self.prior.scale.zero_()[:found] = scale_Z.float()
        total = (x_ND - mean_D).square().sum().item() / max(len(x_ND) - 1, 1)
        return {"explained": scale_Z.square().sum().item() / total if total > 0 else 1.0, "components": float(found)}

    def state(self) -> dict[str, Tensor]:
        """Return mean, basis and scale."""
        return {name: tensor.clone() for name, tensor in self.prior.state_dict().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self.prior.load_state_dict(state)

    def finish(self) -> LinearFaces:
        """Return the prior; it has no parameters to freeze."""
        return self.prior.eval()


@dataclass(frozen=True, kw_only=True)
class PcaPrior(PriorModel):
    """Principal components of public images, sampled as a Gaussian.

    Attributes:
        components: number of directions; with fewer images the rest stays unused.
        mirror: also learn from mirrored images.
    """

    components: Annotated[int, Ge(1)] = 100
    mirror: bool = True

    def build(self, *, channels: int, size: int, classes: int = 0) -> LinearFaces:
        """Make an unfitted prior, which renders grey."""
        return LinearFaces(self.components, channels=channels, size=size)

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return the one-step fit."""
        if not isinstance(prior, LinearFaces):
            raise TypeError(f"expected a LinearFaces that build() made, got {type(prior).__name__}")
        return PcaTrainer(prior.to(device), images, mirror=self.mirror, seed=seed)
