"""A small class-conditional U-Net that estimates the noise in an image.

Shapes: B images, K classes, E size of the embedding, C channels, H = W pixels, N = H * W positions.
Sources: Ho et al. (NeurIPS 2020); scale-and-shift conditioning as in Dhariwal and Nichol, "Diffusion Models Beat GANs"
(NeurIPS 2021); patches as in Hoogeboom et al., "simple diffusion" (ICML 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, scaled_dot_product_attention, silu


class ResBlock(nn.Module):
    """norm, SiLU, conv3, norm scaled and shifted by the embedding, SiLU, conv3 (zero at first); beside it conv1."""

    def __init__(self, inside: int, outside: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(inside), _norm(outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = _zero(nn.Conv2d(outside, outside, 3, padding=1))
        self.style = nn.Linear(embedding, 2 * outside)
        self.skip = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x_BCHW: Tensor, embedding_BE: Tensor) -> Tensor:
        """Return activations of the same side."""
        h_BCHW = self.norm2(self.conv1(silu(self.norm1(x_BCHW))))
        gain_BC11, bias_BC11 = self.style(embedding_BE)[:, :, None, None].chunk(2, dim=1)
        changed: Tensor = self.conv2(silu(torch.addcmul(bias_BC11, h_BCHW, 1 + gain_BC11)))
        skipped: Tensor = self.skip(x_BCHW)
        return skipped + changed


class Attention(nn.Module):
    """Residual self-attention over all positions; the embedding is not used."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(4, channels)
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x_BCHW: Tensor, embedding_BE: Tensor) -> Tensor:
        """Return activations of the same shape."""
        batch, channels, height, width = x_BCHW.shape
        qkv_3BhNd = self.qkv(self.norm(x_BCHW)).reshape(batch, 3, self.heads, channels // self.heads, height * width)
        q, k, v = qkv_3BhNd.transpose(3, 4).unbind(1)
        mixed_BCHW = scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(batch, channels, height, width)
        changed: Tensor = self.project(mixed_BCHW)
        return x_BCHW + changed


class UNet(nn.Module):
    """Noisy images (B, C, H, W), times (B,) and class weights (B, K) to the noise in them.

    Class weights may be one-hot, a mixture, or 0 throughout, which means no class: what they lack of 1 goes to a learnt
    embedding of its own, the null label of classifier-free guidance.

    Args:
        channels: C.
        classes: K.
        width: channels of the first level.
        factors: channels of each level in units of ``width``; each level has half the side of the one before.
        blocks: residual blocks per level.
        attention: number of last levels with self-attention.
        patch: the image is cut into squares of this side first, which become channels.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        width: int,
        factors: Sequence[int],
        blocks: int,
        attention: int,
        patch: int,
    ) -> None:
        super().__init__()
        self.patch, self.embedding = patch, 4 * width
        self.register_buffer("pace", torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2)))
        self.time = nn.Sequential(
            nn.Linear(width // 2 * 2, self.embedding), nn.SiLU(), nn.Linear(self.embedding, self.embedding)
        )
        self.class_KE = nn.Parameter(torch.randn(classes, self.embedding))
        self.null_E = nn.Parameter(torch.randn(self.embedding))
        self.enter = nn.Conv2d(channels * patch * patch, width, 3, padding=1)
        widths = [width * factor for factor in factors]
        self.attends = [level >= len(widths) - attention for level in range(len(widths))]
        self.middle = nn.ModuleList(
            [*self._block(widths[-1], widths[-1], True), ResBlock(widths[-1], widths[-1], self.embedding)]
        )
        self._build_levels(width, widths, blocks)
        self.leave = nn.Sequential(_norm(widths[0]), nn.SiLU())
        self.paint = _zero(nn.Conv2d(widths[0], channels * patch * patch, 3, padding=1))

    def _build_levels(self, width: int, widths: Sequence[int], blocks: int) -> None:
        """Make the levels down and up; what enters a block going up is widened by what left one going down."""
        self.down, self.up, self.halve = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        skips = [width]
        for level, outside in enumerate(widths):
            if level:
                self.halve.append(nn.Conv2d(skips[-1], skips[-1], 3, stride=2, padding=1))
                skips.append(skips[-1])
            insides = [skips[-1]] + [outside] * (blocks - 1)
            self.down.append(nn.ModuleList(self._block(inside, outside, self.attends[level]) for inside in insides))
            skips += [outside] * blocks
        current = widths[-1]
        for level in reversed(range(len(widths))):
            stack = nn.ModuleList()
            for _ in range(blocks + 1):
                stack.append(self._block(current + skips.pop(), widths[level], self.attends[level]))
                current = widths[level]
            self.up.append(stack)

    def _block(self, inside: int, outside: int, attends: bool) -> nn.ModuleList:
        parts: list[nn.Module] = [ResBlock(inside, outside, self.embedding)]
        return nn.ModuleList([*parts, Attention(outside)] if attends else parts)

    pace: Tensor

    def forward(self, x_BCHW: Tensor, time_B: Tensor, weights_BK: Tensor) -> Tensor:
        """Return the estimated noise (B, C, H, W)."""
        embedding_BE = silu(self._embed(time_B, weights_BK))
        h_BCHW = self.enter(pixel_unshuffle(x_BCHW, self.patch))
        skips = [h_BCHW]
        for level, stack in enumerate(self.down):
            if level:
                h_BCHW = self.halve[level - 1](h_BCHW)
                skips.append(h_BCHW)
            for block in stack.children():
                h_BCHW = _through(block, h_BCHW, embedding_BE)
                skips.append(h_BCHW)
        h_BCHW = _through(self.middle, h_BCHW, embedding_BE)
        for level, stack in enumerate(self.up):
            if level:
                h_BCHW = interpolate(h_BCHW, scale_factor=2, mode="nearest")
            for block in stack.children():
                h_BCHW = _through(block, torch.cat([h_BCHW, skips.pop()], dim=1), embedding_BE)
        return pixel_shuffle(self.paint(self.leave(h_BCHW)), self.patch)

    def guided(self) -> list[nn.Parameter]:
        """Return what Diff-MI tunes by the target: label embeddings, and the convolutions of the middle."""
        convolutions = [part for part in self.middle.modules() if isinstance(part, nn.Conv2d)]
        return [self.class_KE, self.null_E, *(weights for part in convolutions for weights in part.parameters())]

    def _embed(self, time_B: Tensor, weights_BK: Tensor) -> Tensor:
        angles_Bh = time_B[:, None].float() * self.pace
        waves_BE: Tensor = self.time(torch.cat([angles_Bh.cos(), angles_Bh.sin()], dim=1))
        return waves_BE + weights_BK @ self.class_KE + (1 - weights_BK.sum(1, keepdim=True)) * self.null_E


def _through(parts: nn.Module, x_BCHW: Tensor, embedding_BE: Tensor) -> Tensor:
    for part in parts.children():
        x_BCHW = part(x_BCHW, embedding_BE)
    return x_BCHW


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, channels), channels)


def _zero(module: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return module
