"""A residual network for small images: the evaluator of another family than ``smallcnn``.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, MinLen
from torch import Tensor, nn
from torch.nn.functional import relu

from mibench.api import Classifier, Model
from mibench_models.small_cnn import Pooling

Blocks = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class SmallResNet(Model):
    """3x3 stem without max-pooling, stages of basic residual blocks, linear head on the flattened last map.

    With default parameters and one image of 1 x 64 x 64 pixels a forward pass costs 15.9 M multiply-adds and yields
    128 x 4 x 4 = 2048 features. Each stage after the first halves the map and doubles the width. The stages of the
    classifier are the outputs of these stages, after their ReLU. On few images it wants random shifts in training:
    unlike ``smallcnn`` it has no max-pooling that forgives them.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2 (small images); stages
    of four widths as in section 4.1.

    Attributes:
        blocks_per_stage: residual blocks of each stage.
        width: channels of the first stage.
        stem_stride: stride of the first convolution; 1 keeps full resolution at four times the cost.
        pooling: ``flatten`` gives the head the whole last map, ``average`` its mean over positions (He et al.).
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"tiny": {"blocks_per_stage": (1, 1), "width": 8}}

    blocks_per_stage: Annotated[tuple[Blocks, ...], MinLen(1)] = (1, 1, 1, 1)
    width: Annotated[int, Ge(1)] = 16
    stem_stride: Literal[1, 2] = 2
    pooling: Pooling = "flatten"

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        """Make an untrained network for images (B, C, H, W); images of another side than ``size`` are resized to it."""
        return Classifier(
            _Body(self, num_classes, channels, self._last_side(size)),
            head="head",
            stage_names=[f"stages.{index}" for index in range(len(self.blocks_per_stage))],
            mean=[0.5] * channels,
            std=[0.5] * channels,
            input_size=size,
            channels=channels,
        )

    def _last_side(self, size: int) -> int:
        halvings = len(self.blocks_per_stage) - 1 + (self.stem_stride == 2)
        return (size + (1 << halvings) - 1) >> halvings  # a padded convolution of stride 2 rounds up


class _Body(nn.Module):
    def __init__(self, config: SmallResNet, num_classes: int, channels: int, side: int) -> None:
        super().__init__()
        self.stem = _conv(channels, config.width, config.stem_stride)
        self.stem_norm = nn.BatchNorm2d(config.width)
        widths = [config.width << index for index in range(len(config.blocks_per_stage))]
        self.stages = nn.Sequential()
        enter = config.width
        for index, (leave, count) in enumerate(zip(widths, config.blocks_per_stage, strict=True)):
            first = _BasicBlock(enter, leave, stride=1 if index == 0 else 2)
            self.stages.append(nn.Sequential(first, *(_BasicBlock(leave, leave, stride=1) for _ in range(count - 1))))
            enter = leave
        flat = config.pooling == "flatten"
        self.pool = nn.Flatten() if flat else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(enter * (side * side if flat else 1), num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.head(self.pool(self.stages(relu(self.stem_norm(self.stem(x_BCHW))))))
        return logits_BK


class _BasicBlock(nn.Module):
    def __init__(self, enter: int, leave: int, *, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(enter, leave, stride), nn.BatchNorm2d(leave)
        self.conv2, self.norm2 = _conv(leave, leave, 1), nn.BatchNorm2d(leave)
        same = stride == 1 and enter == leave
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(enter, leave, 1, stride, bias=False), nn.BatchNorm2d(leave))
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inner = relu(self.norm1(self.conv1(x_BCHW)))
        return relu(self.norm2(self.conv2(inner)) + self.shortcut(x_BCHW))


def _conv(enter: int, leave: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(enter, leave, 3, stride, padding=1, bias=False)
