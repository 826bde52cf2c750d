"""Inception-ResNet-v1 as FaceNet uses it, with the parameter names of the weights that are in circulation.

Shapes: B faces, 3 channels, H = W = 160 pixels, embeddings of 512 numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

DIMENSIONS = 512
"""Length of an embedding."""
SIDE = 160
"""Side in pixels of the faces that it was trained on."""

_EPS = 1e-3
_Size = int | tuple[int, int]


class _ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, ReLU; ``same`` keeps the side."""

    def __init__(self, taken: int, made: int, kernel: _Size, *, stride: int = 1, same: bool = False) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if same else (0, 0)
        self.conv = nn.Conv2d(taken, made, sides, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(made, eps=_EPS)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        made_BCHW: Tensor = self.bn(self.conv(x_BCHW))
        return made_BCHW.relu()


class _Branches(nn.Module):
    """Several ways side by side, joined by channel; a pooled one may come last."""

    def __init__(self, branches: Sequence[nn.Module], *, pooled: bool = False) -> None:
        super().__init__()
        self.count = len(branches)
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)
        self.pool = nn.MaxPool2d(3, stride=2) if pooled else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        made = [self.get_submodule(f"branch{index}")(x_BCHW) for index in range(self.count)]
        return torch.cat([*made, *([] if self.pool is None else [self.pool(x_BCHW)])], 1)


class _Residual(_Branches):
    """Adds to its input a share of what its branches make, mixed by a 1 x 1 convolution."""

    def __init__(
        self, branches: Sequence[nn.Module], joined: int, width: int, *, share: float, active: bool = True
    ) -> None:
        super().__init__(branches)
        self.conv2d = nn.Conv2d(joined, width, 1)
        self.share, self.active = share, active

    def forward(self, x_BCHW: Tensor) -> Tensor:
        sum_BCHW: Tensor = x_BCHW + self.share * self.conv2d(super().forward(x_BCHW))
        return sum_BCHW.relu() if self.active else sum_BCHW


def _chain(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def _block35() -> _Residual:
    """35 x 35 positions in the paper: 1 x 1, 3 x 3, and twice 3 x 3."""
    short = _chain(_ConvNorm(256, 32, 1), _ConvNorm(32, 32, 3, same=True))
    long = _chain(_ConvNorm(256, 32, 1), _ConvNorm(32, 32, 3, same=True), _ConvNorm(32, 32, 3, same=True))
    return _Residual([_ConvNorm(256, 32, 1), short, long], 96, 256, share=0.17)


def _block17() -> _Residual:
    """17 x 17 positions in the paper: 1 x 1, and 1 x 7 with 7 x 1."""
    strips = (_ConvNorm(896, 128, 1), _ConvNorm(128, 128, (1, 7), same=True), _ConvNorm(128, 128, (7, 1), same=True))
    return _Residual([_ConvNorm(896, 128, 1), _chain(*strips)], 256, 896, share=0.1)


def _block8(*, share: float = 0.2, active: bool = True) -> _Residual:
    """8 x 8 positions in the paper: 1 x 1, and 1 x 3 with 3 x 1."""
    strips = (_ConvNorm(1792, 192, 1), _ConvNorm(192, 192, (1, 3), same=True), _ConvNorm(192, 192, (3, 1), same=True))
    return _Residual([_ConvNorm(1792, 192, 1), _chain(*strips)], 384, 1792, share=share, active=active)


def _reduction_a() -> _Branches:
    long = _chain(_ConvNorm(256, 192, 1), _ConvNorm(192, 192, 3, same=True), _ConvNorm(192, 256, 3, stride=2))
    return _Branches([_ConvNorm(256, 384, 3, stride=2), long], pooled=True)


def _reduction_b() -> _Branches:
    first = _chain(_ConvNorm(896, 256, 1), _ConvNorm(256, 384, 3, stride=2))
    second = _chain(_ConvNorm(896, 256, 1), _ConvNorm(256, 256, 3, stride=2))
    third = _chain(_ConvNorm(896, 256, 1), _ConvNorm(256, 256, 3, same=True), _ConvNorm(256, 256, 3, stride=2))
    return _Branches([first, second, third], pooled=True)


def _repeat(block: Callable[[], nn.Module], times: int) -> nn.Sequential:
    return nn.Sequential(*(block() for _ in range(times)))


class InceptionResnetV1(nn.Module):
    """Normalised faces to raw embeddings.

    Source: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning (AAAI
    2017), with the last linear layer and batch normalisation of FaceNet (Schroff et al., CVPR 2015).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = _ConvNorm(3, 32, 3, stride=2)
        self.conv2d_2a = _ConvNorm(32, 32, 3)
        self.conv2d_2b = _ConvNorm(32, 64, 3, same=True)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = _ConvNorm(64, 80, 1)
        self.conv2d_4a = _ConvNorm(80, 192, 3)
        self.conv2d_4b = _ConvNorm(192, 256, 3, stride=2)
        self.repeat_1 = _repeat(_block35, 5)
        self.mixed_6a = _reduction_a()
        self.repeat_2 = _repeat(_block17, 10)
        self.mixed_7a = _reduction_b()
        self.repeat_3 = _repeat(_block8, 5)
        self.block8 = _block8(share=1.0, active=False)
        self.last_linear = nn.Linear(1792, DIMENSIONS, bias=False)
        self.last_bn = nn.BatchNorm1d(DIMENSIONS, eps=_EPS)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return embeddings (B, 512), not yet of length 1.

        Args:
            x_BCHW: RGB faces after normalisation, at least 75 px.
        """
        for name, layer in self.named_children():
            if not name.startswith("last_"):
                x_BCHW = layer(x_BCHW)
        embedding_BD: Tensor = self.last_bn(self.last_linear(x_BCHW.mean((2, 3))))
        return embedding_BD
