"""A small convolutional classifier that trains and is attacked in seconds on a CPU.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt, MinLen
from torch import Tensor, nn

from mibench.api import Classifier, Model, UsageError

Pooling = Literal["flatten", "average"]
Width = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class SmallCnn(Model):
    """Blocks of 3x3 convolution, BatchNorm, ReLU and 2x2 max-pooling, a linear feature layer and a linear head.

    With default parameters and one image of 1 x 64 x 64 pixels a forward pass costs 8.5 M multiply-adds (8.7 M for
    three channels) and ends in a 96 x 4 x 4 map. That map is flattened, not averaged: the features keep where things
    are in the image, which is what an inversion can recover.

    The stem halves the image by its stride instead of a pool. The stages are the outputs of the blocks.
    The preset ``paper`` is the convolutional network of the toy experiments in AT-AT (Torp, Smith, Breuer, ICLR 2026).

    Attributes:
        widths: channels of each block.
        stem_stride: stride of the first convolution; 1 gives the first block a max-pool instead (about 4 times
            the cost of that block, the same output size).
        features: features D.
        pooling: ``flatten`` feeds the whole last map to the feature layer, ``average`` its mean over positions.
        dropout: probability of dropping a feature in training.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"widths": (64, 128, 256), "stem_stride": 1, "features": 256},
        "tiny": {"widths": (8, 16), "features": 32},
    }

    widths: Annotated[tuple[Width, ...], MinLen(1)] = (12, 24, 48, 96)
    stem_stride: Literal[1, 2] = 2
    features: Annotated[int, Ge(1)] = 256
    pooling: Pooling = "flatten"
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        """Make an untrained network.

        Args:
            num_classes: K.
            channels: channels C of the images.
            size: side of the images in pixels; each block halves it. Images of another size are resized to it.

        Raises:
            UsageError: if the image is too small for the number of blocks.
        """
        side = size >> len(self.widths)
        if side < 1:
            raise UsageError(
                f"smallcnn with {len(self.widths)} blocks needs images of at least {2 ** len(self.widths)} px, got"
                f" {size}. Use fewer widths: at most {size.bit_length() - 1} blocks fit."
            )
        return Classifier(
            _Body(self, num_classes, channels, side),
            head="head",
            stage_names=[f"blocks.{index}" for index in range(len(self.widths))],
            mean=[0.5] * channels,
            std=[0.5] * channels,
            input_size=size,
            channels=channels,
        )


class _Body(nn.Module):
    def __init__(self, config: SmallCnn, num_classes: int, channels: int, side: int) -> None:
        super().__init__()
        inputs = (channels, *config.widths[:-1])
        strides = (config.stem_stride, *(1 for _ in config.widths[1:]))
        self.blocks = nn.Sequential(
            *(_block(enter, leave, stride) for enter, leave, stride in zip(inputs, config.widths, strides, strict=True))
        )
        flat = config.pooling == "flatten"
        self.pool = nn.Identity() if flat else nn.AdaptiveAvgPool2d(1)
        entering = config.widths[-1] * (side * side if flat else 1)
        self.feature = nn.Sequential(
            nn.Flatten(), nn.Linear(entering, config.features), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.head = nn.Linear(config.features, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.head(self.feature(self.pool(self.blocks(x_BCHW))))
        return logits_BK


def _block(enter: int, leave: int, stride: int) -> nn.Sequential:
    layers = [
        nn.Conv2d(enter, leave, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(leave),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if stride == 1 else []))
