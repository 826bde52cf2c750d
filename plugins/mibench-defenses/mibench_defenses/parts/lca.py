"""Convolutional sparse coding by the locally competitive algorithm (LCA).

Shapes: B images of a batch, C channels, H x W pixels, F features of the dictionary, h x w positions of the code,
P = C s^2 channels of an image whose s x s tiles are stacked (s is the stride).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, pixel_shuffle, pixel_unshuffle, relu
from torch.nn.grad import conv2d_weight
from torch.utils.checkpoint import checkpoint

from mibench.api import UsageError

TINY = 1e-6
"""Below this a norm or standard deviation counts as 0 and is not divided by."""


@dataclass(frozen=True, kw_only=True)
class Lca:
    """The filters and the iterations of a layer.

    Attributes:
        kernel: side of the filters in pixels, odd.
        stride: pixels between positions of a code, at most (kernel + 1) / 2; each position costs.
        lam: threshold, in units of the standardised image; larger is sparser and loses more of the image.
        tau: time constant in iterations; more features want a larger one, or the descent diverges (see ``ConvLca``).
        iterations: of each layer; about 5 tau settle.
        segment: iterations that the backward pass recomputes at a time, to save memory; 0 keeps all in memory.

    Raises:
        UsageError: for an even kernel, or a stride that is too large.
    """

    kernel: Annotated[int, Ge(1)] = 5
    stride: Annotated[int, Ge(1)] = 2
    lam: Annotated[float, Ge(0)] = 0.25
    tau: Annotated[float, Ge(1)] = 5.0
    iterations: Annotated[int, Ge(1)] = 25
    segment: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise UsageError(f"kernel = {self.kernel}: the filters have a centre. Use an odd side, such as 5.")
        if self.stride > (self.kernel + 1) // 2:
            raise UsageError(f"stride = {self.stride}: use at most half the kernel, up to {(self.kernel + 1) // 2}.")


class ConvLca(nn.Module):
    """A sparse, non-negative code a of images u in a dictionary Phi of unit-norm filters.

    It descends 1/2 |u - Phi a|^2 + lam |a|_1. Potentials start at v = 0 and move by v += (b - v - G a) / tau with the
    drive b = Phi'u, the lateral kernel G = Phi'Phi less its unit diagonal, and a = max(v - lam, 0). The image lies on
    a canvas of zeros, so that no filter is cut at the border. The descent is stable if 2 tau exceeds the largest
    eigenvalue of Phi'Phi (about 10 for 12 random 5 x 5 filters of a grey image at stride 2), and may diverge if not.

    Inside, the canvas has its stride x stride tiles stacked as channels, so Phi and Phi' are convolutions of stride 1.

    Args:
        channels: C.
        features: F.
        how: filters and iterations.
        trained: whether the dictionary is a parameter for gradients.
    """

    dictionary: Tensor

    def __init__(self, channels: int, features: int, how: Lca, *, trained: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride, self.lam, self.tau = how.kernel, how.stride, how.lam, how.tau
        self.iterations, self.segment = how.iterations, how.segment or how.iterations
        filters = nn.init.trunc_normal_(torch.empty(features, channels, how.kernel, how.kernel))
        if trained:
            self.dictionary = nn.Parameter(filters)
        else:
            self.register_buffer("dictionary", filters)
        self.renormalise()

    def forward(self, u_BCHW: Tensor) -> Tensor:
        """Return the potentials v (B, F, h, w) after the last iteration; ``threshold`` makes them the code."""
        canvas_BPhw, filters = self.canvas(u_BCHW), self.filters()
        v_BFhw = torch.zeros_like(conv2d(canvas_BPhw, filters[0]))
        for start in range(0, self.iterations, self.segment):
            count = min(self.segment, self.iterations - start)
            inputs = (canvas_BPhw, v_BFhw, filters, count)
            if self.segment < self.iterations and torch.is_grad_enabled():
                v_BFhw = checkpoint(self._iterate, *inputs, use_reentrant=False, preserve_rng_state=False)
            else:
                v_BFhw = self._iterate(*inputs)
        return v_BFhw

    def threshold(self, v_BFhw: Tensor) -> Tensor:
        """Return the code a = max(v - lam, 0)."""
        return relu(v_BFhw - self.lam)

    def analyse(self, canvas_BPhw: Tensor) -> Tensor:
        """Return Phi' of a canvas: its inner product with each filter at each position, (B, F, h, w)."""
        return conv2d(canvas_BPhw, self.filters()[0])

    def synthesise(self, a_BFhw: Tensor) -> Tensor:
        """Return Phi a as a canvas."""
        return _spread(a_BFhw, self.filters()[1])

    def canvas(self, u_BCHW: Tensor) -> Tensor:
        """Return images on their canvas: with a border of zeros, tiles stacked as channels."""
        left, reach, (height, width) = self.kernel // 2, self._reach() * self.stride, u_BCHW.shape[-2:]
        right, below = (self.stride * (-(-side // self.stride) - 1) + reach - side - left for side in (width, height))
        return pixel_unshuffle(pad(u_BCHW, (left, right, left, below)), self.stride)

    def images(self, canvas_BPhw: Tensor, size: Sequence[int]) -> Tensor:
        """Return the images (B, C, *size) that lie on a canvas."""
        left = self.kernel // 2
        return pixel_shuffle(canvas_BPhw, self.stride)[..., left : left + size[0], left : left + size[1]]

    def filters(self) -> tuple[Tensor, Tensor]:
        """Return the dictionary as the weights of the convolutions Phi' and Phi."""
        rest = self._reach() * self.stride - self.kernel
        analysis_FPkk = pixel_unshuffle(pad(self.dictionary, (0, rest, 0, rest)), self.stride)
        return analysis_FPkk, analysis_FPkk.transpose(0, 1).flip(2, 3).contiguous()

    @torch.no_grad()
    def summary(self, u_BCHW: Tensor, v_BFhw: Tensor) -> Tensor:
        """Return (3,): share of non-zero coefficients, share of positive potentials silenced, relative error."""
        canvas, a_BFhw = self.canvas(u_BCHW), self.threshold(v_BFhw)
        active, positive = (a_BFhw > 0).float().mean(), (v_BFhw > 0).float().mean()
        left_B = (canvas - self.synthesise(a_BFhw)).flatten(1).norm(dim=1)
        error = (left_B / canvas.flatten(1).norm(dim=1).clamp(min=TINY)).mean()
        return torch.stack([active, 1 - active / positive.clamp(min=TINY), error]).float()

    @torch.no_grad()
    def renormalise(self) -> None:
        """Scale every filter to norm 1, in place."""
        norms_F = self.dictionary.flatten(1).norm(dim=1).clamp(min=TINY)
        self.dictionary.div_(norms_F.view(-1, 1, 1, 1))

    @torch.no_grad()
    def hebbian_step(self, u_BCHW: Tensor, a_BFhw: Tensor, eta: float) -> None:
        """Move each filter by eta <a, u - Phi a> / (times it was active + 1), then scale it to norm 1."""
        residual = pixel_shuffle(self.canvas(u_BCHW) - self.synthesise(a_BFhw), self.stride)
        change = conv2d_weight(residual, list(self.dictionary.shape), a_BFhw, stride=self.stride)
        active_F = (a_BFhw > 0).sum((0, 2, 3))
        self.dictionary.add_(eta * change / (active_F + 1).view(-1, 1, 1, 1))
        self.renormalise()

    def _iterate(self, canvas_BPhw: Tensor, v_BFhw: Tensor, filters: tuple[Tensor, Tensor], count: int) -> Tensor:
        analysis, synthesis = filters
        for _ in range(count):
            a_BFhw = self.threshold(v_BFhw)
            # The drive less the lateral inhibition, b - G a, is Phi'(u - Phi a) + a.
            inward = conv2d(canvas_BPhw - _spread(a_BFhw, synthesis), analysis) + a_BFhw
            v_BFhw = torch.lerp(v_BFhw, inward, 1 / self.tau)
        return v_BFhw

    def _reach(self) -> int:
        return -(-self.kernel // self.stride)


def _spread(a_BFhw: Tensor, synthesis_PFkk: Tensor) -> Tensor:
    return conv2d(a_BFhw, synthesis_PFkk, padding=synthesis_PFkk.shape[-1] - 1)
