"""The synthesis network: style vectors to an image, one block per resolution, RGB outputs summed.

Shapes: B batch, L style layers, W size of a style vector, C features, c image channels, R side of a block.
Source: Karras et al. 2020, fig. 2 (layers) and fig. 7 (skip architecture).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mibench_models.priors.stylegan2.modulated import SynthesisLayer, ToRgb
from mibench_models.priors.stylegan2.resample import binomial_filter, upsample


def resolutions(img_resolution: int) -> list[int]:
    """Return 4, 8, ... up to the image side.

    Raises:
        ValueError: unless the side is a power of two and at least 8.
    """
    exponent = img_resolution.bit_length() - 1
    if img_resolution < 8 or 2**exponent != img_resolution:
        raise ValueError(f"expected a side that is a power of two and at least 8, got {img_resolution}")
    return [2**power for power in range(2, exponent + 1)]


def num_ws(img_resolution: int) -> int:
    """Return the number of style layers: 2 log2(side) - 2 (18 at 1024 px, 10 at 64 px)."""
    return 2 * len(resolutions(img_resolution))


def channels_at(side: int, channel_base: int, channel_max: int) -> int:
    """Return the number of feature channels at a resolution: ``channel_base / side``, at most ``channel_max``."""
    return min(channel_base // side, channel_max)


class SynthesisBlock(nn.Module):
    """One resolution: (constant or upsampling convolution), convolution, RGB output.

    Attributes:
        const: (C, 4, 4) learned input; in the first block only.
        convolutions: number of convolutions, hence of style layers before the one of the RGB output.
    """

    fir: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, w_dim: int, side: int, img_channels: int, clamp: float | None
    ) -> None:
        """Make a block; ``inputs`` = 0 makes the first one, which starts from its constant."""
        super().__init__()
        self.first = inputs == 0
        self.convolutions = 1 if self.first else 2
        self.register_buffer("fir", binomial_filter(), persistent=False)
        if self.first:
            self.const = nn.Parameter(torch.randn(outputs, side, side))
        else:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim=w_dim, side=side, up=True, clamp=clamp)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim=w_dim, side=side, clamp=clamp)
        self.torgb = ToRgb(outputs, img_channels, w_dim=w_dim, clamp=clamp)

    def forward(
        self, x_BCRR: Tensor | None, image_BcRR: Tensor | None, ws_BLW: Tensor, noise: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return features and image after this block.

        Args:
            x_BCRR: features of the block before; ignored by the first block.
            image_BcRR: image of the block before; ``None`` if there is none.
            ws_BLW: the style vectors of this block, ``convolutions + 1`` of them.
            noise: see ``SynthesisLayer.forward``.
        """
        if self.first:
            x_BCRR = self.const.expand(len(ws_BLW), -1, -1, -1)
        else:
            assert x_BCRR is not None  # noqa: S101 - a first block has no input, all others have one
            x_BCRR = self.conv0(x_BCRR, ws_BLW[:, 0], noise)
        x_BCRR = self.conv1(x_BCRR, ws_BLW[:, self.convolutions - 1], noise)
        rgb_BcRR = self.torgb(x_BCRR, ws_BLW[:, self.convolutions])
        if image_BcRR is not None:
            rgb_BcRR = upsample(image_BcRR, self.fir) + rgb_BcRR
        return x_BCRR, rgb_BcRR


class Synthesis(nn.Module):
    """Blocks ``b4``, ``b8``, ...; neighbours share the style layer of an RGB output.

    Attributes:
        num_ws: L.
        sides: resolutions of the blocks.
    """

    def __init__(
        self,
        *,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.sides = resolutions(img_resolution)
        self.num_ws = num_ws(img_resolution)
        inputs = 0
        for side in self.sides:
            outputs = channels_at(side, channel_base, channel_max)
            block = SynthesisBlock(inputs, outputs, w_dim=w_dim, side=side, img_channels=img_channels, clamp=conv_clamp)
            self.add_module(f"b{side}", block)
            inputs = outputs

    def blocks(self) -> Iterator[SynthesisBlock]:
        """Yield the blocks from coarse to fine."""
        for side in self.sides:
            block = self.get_submodule(f"b{side}")
            assert isinstance(block, SynthesisBlock)  # noqa: S101 - registered above
            yield block

    def run_block(
        self,
        index: int,
        ws_BLW: Tensor,
        features: Tensor | None,
        image: Tensor | None,
        noise: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run block ``index`` with its share of the style layers."""
        block = self.get_submodule(f"b{self.sides[index]}")
        first = 0 if index == 0 else 2 * index - 1
        features, image = block(features, image, ws_BLW[:, first : first + (2 if index == 0 else 3)], noise)
        return features, image

    def forward(self, ws_BLW: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return images (B, c, R, R), nominally in [-1, 1]."""
        features: Tensor | None = None
        image: Tensor | None = None
        for index in range(len(self.sides)):
            features, image = self.run_block(index, ws_BLW, features, image, noise)
        assert image is not None  # noqa: S101 - there are at least two blocks
        return image
