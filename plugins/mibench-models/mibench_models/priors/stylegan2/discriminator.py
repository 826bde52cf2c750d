"""The residual discriminator with minibatch standard deviation.

Shapes: B batch, C features, c image channels, R side, G images of a group.
Source: Karras et al. 2020, fig. 7 (residual discriminator); Karras et al. 2018, sec. 3 (minibatch standard deviation).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mibench_models.priors.stylegan2.layers import EqualConv, EqualLinear
from mibench_models.priors.stylegan2.synthesis import channels_at, resolutions

GROUP = 4
"""Images per group of the minibatch statistic."""


def minibatch_spread(x_BCRR: Tensor, group: int = GROUP) -> Tensor:
    """Return how much the images of a group differ: (B, 1, 1, 1).

    The standard deviation over a group of images, averaged over features and pixels. Image ``i`` is in the group of
    ``i mod (B / G)``; G is the largest divisor of B up to ``group``.
    """
    batch = len(x_BCRR)
    size = next(g for g in range(min(group, batch), 0, -1) if batch % g == 0)
    y_GMCRR = x_BCRR.reshape(size, batch // size, *x_BCRR.shape[1:])
    deviation_MCRR = (y_GMCRR.var(dim=0, unbiased=False) + 1e-8).sqrt()
    return deviation_MCRR.mean(dim=(1, 2, 3)).repeat(size)[:, None, None, None]


class DiscriminatorBlock(nn.Module):
    """Two convolutions that halve the side, beside a linear skip; the first block also reads the image."""

    def __init__(self, inputs: int, outputs: int, *, img_channels: int, clamp: float | None) -> None:
        """Make a block; ``img_channels`` > 0 makes the first one, which reads the image."""
        super().__init__()
        self.fromrgb = EqualConv(img_channels, inputs, 1, clamp=clamp) if img_channels else None
        self.conv0 = EqualConv(inputs, inputs, 3, clamp=clamp)
        self.conv1 = EqualConv(inputs, outputs, 3, down=True, clamp=clamp)
        self.skip = EqualConv(inputs, outputs, 1, bias=False, activate=False, down=True)

    def forward(self, x_BCRR: Tensor) -> Tensor:
        """Return features of half the side."""
        if self.fromrgb is not None:
            x_BCRR = self.fromrgb(x_BCRR)
        skip: Tensor = self.skip(x_BCRR, gain=math.sqrt(0.5))
        main: Tensor = self.conv1(self.conv0(x_BCRR), gain=math.sqrt(0.5))
        return skip + main


class DiscriminatorEpilogue(nn.Module):
    """The 4 x 4 end: minibatch statistic, convolution, two linear layers."""

    def __init__(self, channels: int, *, clamp: float | None) -> None:
        super().__init__()
        self.conv = EqualConv(channels + 1, channels, 3, clamp=clamp)
        self.fc = EqualLinear(channels * 16, channels, activate=True)
        self.out = EqualLinear(channels, 1)

    def forward(self, x_BC44: Tensor, spread: Tensor) -> Tensor:
        """Return logits (B,); ``spread`` is the minibatch statistic, (B, 1, 1, 1) or a scalar."""
        plane_B144 = spread.expand(len(x_BC44), 1, 4, 4)
        y_BC44 = self.conv(torch.cat([x_BC44, plane_B144], dim=1))
        logits_B1: Tensor = self.out(self.fc(y_BC44.flatten(1)))
        return logits_B1[:, 0]


class Discriminator(nn.Module):
    """Blocks ``b{R}`` .. ``b8`` and the epilogue ``b4``."""

    def __init__(
        self,
        *,
        img_resolution: int,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.sides = resolutions(img_resolution)[:0:-1]
        for side in self.sides:
            inputs, outputs = (channels_at(r, channel_base, channel_max) for r in (side, side // 2))
            read = img_channels if side == img_resolution else 0
            self.add_module(f"b{side}", DiscriminatorBlock(inputs, outputs, img_channels=read, clamp=conv_clamp))
        self.b4 = DiscriminatorEpilogue(channels_at(4, channel_base, channel_max), clamp=conv_clamp)

    def features(self, x_BcRR: Tensor) -> Tensor:
        """Return the features (B, C, 4, 4) of images in [-1, 1]."""
        for side in self.sides:
            x_BcRR = self.get_submodule(f"b{side}")(x_BcRR)
        return x_BcRR

    def forward(self, x_BcRR: Tensor, spread: Tensor | None = None) -> Tensor:
        """Return realism logits (B,) of images in [-1, 1].

        Args:
            x_BcRR: images.
            spread: a fixed scalar in place of the minibatch statistic, which makes the logit of an image independent
                of the other images; ``None`` computes the statistic, as in training.
        """
        features_BC44 = self.features(x_BcRR)
        logits: Tensor = self.b4(features_BC44, minibatch_spread(features_BC44) if spread is None else spread)
        return logits
