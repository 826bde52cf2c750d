"""A conditional denoiser behind the prior contract: an image is what DDIM makes of noise in a few steps.

Shapes: B latents, K classes, T public images per class or diffusion times, L = 1, C channels, S = side in pixels,
Z = C * S * S pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from mibench.api import BlockState, renders
from mibench_models.priors.diffusion.process import Schedule, ddim, signal_shares, spaced
from mibench_models.priors.diffusion.unet import UNet
from mibench_models.priors.parts.class_conditional import ConditionalPrior


class DiffusionPrior(ConditionalPrior):
    """Latents are the noise that sampling starts from, and a class; ``render`` is DDIM in a few steps.

    Without a class it renders under the null label. Attacks on images may use ``noise_estimate`` and ``denoise``; they
    work on images in [-1, 1] and times 1 .. ``len(share_T)``.

    Attributes:
        net: the U-Net; of a trained prior, the moving average of the weights.
        share_T: alpha-bar, the share of the clean image's variance at each time.
        pseudo_KT: indices of the public images that were taken for each class, the target's favourites first.
        image_shape: (C, S, S).
    """

    share_T: Tensor
    pseudo_KT: Tensor

    def __init__(
        self, net: UNet, *, shape: tuple[int, int, int], classes: int, top: int, schedule: Schedule, times: int,
        guidance: float, sample_steps: int,
    ) -> None:  # fmt: skip
        super().__init__(shape[0] * shape[1] * shape[2], classes, unconditioned=0.0)
        self.net, self.image_shape, self.guidance, self.sample_steps = net, shape, guidance, sample_steps
        self.register_buffer("share_T", signal_shares(schedule, times))
        self.register_buffer("pseudo_KT", torch.zeros(classes, top, dtype=torch.long))
        self.to(memory_format=torch.channels_last)

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Return images (B, C, S, S), not clamped.

        Raises:
            ValueError: if ``start`` is not 0; there is nothing to enter in the middle.
        """
        if start != 0:
            raise ValueError(f"a diffusion prior has one block; got start={start}")
        noise_BZ, weights_BK = self.parts(latent_BLW)
        return (self.sample_path(noise_BZ.unflatten(1, self.image_shape), weights_BK)[-1] + 1) / 2

    def sample_path(self, noise_BCSS: Tensor, weights_BK: Tensor) -> list[Tensor]:
        """Return the clean image in [-1, 1] as seen at each step of sampling; the last one is the sample."""
        times = spaced(len(self.share_T), self.sample_steps)
        return ddim(noise_BCSS, lambda x, t: self._estimate(x, t, weights_BK, self.guidance), self.share_T, times)

    @renders(lambda x_BCSS, *_, **__: len(x_BCSS))
    def noise_estimate(self, x_BCSS: Tensor, time: int, labels_B: Tensor, *, guidance: float) -> Tensor:
        """Estimate the noise in images at a time: without class + guidance x (with class - without class)."""
        return self._estimate(x_BCSS, time, one_hot(labels_B, self.classes).to(x_BCSS), guidance)

    @renders(lambda x_BCSS, *_, steps, **__: len(x_BCSS) * steps)
    def denoise(self, x_BCSS: Tensor, time: int, labels_B: Tensor, *, guidance: float, steps: int) -> Tensor:
        """Return the clean images that DDIM reaches from noisy ones at a time."""
        weights_BK = one_hot(labels_B, self.classes).to(x_BCSS)
        times = spaced(time, steps)
        return ddim(x_BCSS, lambda x, t: self._estimate(x, t, weights_BK, guidance), self.share_T, times)[-1]

    def _estimate(self, x_BCSS: Tensor, time: int, weights_BK: Tensor, guidance: float) -> Tensor:
        time_B = torch.full((len(x_BCSS),), time, device=x_BCSS.device)
        if guidance == 1:
            found: Tensor = self.net(x_BCSS, time_B, weights_BK)
            return found
        doubled_BK = torch.cat([torch.zeros_like(weights_BK), weights_BK])
        without_BCSS, with_BCSS = self.net(x_BCSS.repeat(2, 1, 1, 1), time_B.repeat(2), doubled_BK).chunk(2)
        return torch.lerp(without_BCSS, with_BCSS, guidance)

    @property
    def tunable(self) -> Sequence[nn.Parameter]:
        """The U-Net's weights."""
        return list(self.net.parameters())
