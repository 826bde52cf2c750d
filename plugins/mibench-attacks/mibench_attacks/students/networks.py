"""The networks that LOMMA distils from the target.

Shapes: B images of a batch, C channels, S = side in pixels, K classes.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from mibench.api import UsageError


class Student(nn.Module):
    """A network on images in [0, 1].

    Args:
        body: maps images in [-1, 1] with ``channels`` channels to logits.
        channels: channels that it takes; grey images are repeated.
    """

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.body, self.channels = body, channels

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return logits (B, K)."""
        logits_BK: Tensor = self.body(x_BCSS.expand(-1, self.channels, -1, -1) * 2 - 1)
        return logits_BK


def make_student(name: str, *, channels: int, num_classes: int) -> Student:
    """Make an untrained student; call it with torch's global generator seeded.

    Args:
        name: ``efficientnet_b0`` to ``efficientnet_b7``, or ``cnn-WIDTH`` for a small network of three convolutions.
        channels: C of the images.
        num_classes: K.

    Raises:
        UsageError: for another name.
    """
    check_student(name)
    if name.startswith("cnn-"):
        return Student(_small(channels, int(name.removeprefix("cnn-")), num_classes), channels)
    from torchvision.models import get_model  # heavy, and only the published students need it

    return Student(get_model(name, weights=None, num_classes=num_classes), 3)


def check_student(name: str) -> None:
    """Raise a ``UsageError`` unless ``make_student`` knows the name."""
    family, _, number = name.rpartition("-" if name.startswith("cnn") else "_b")
    small = family == "cnn" and number.isdecimal() and int(number) > 0
    if not small and not (family == "efficientnet" and number in set("01234567")):
        raise UsageError(f"unknown student {name!r}; expected efficientnet_b0 .. efficientnet_b7, or cnn-16, say")


def _small(channels: int, width: int, num_classes: int) -> nn.Sequential:
    widths = [channels, width, 2 * width, 4 * width]
    layers: list[nn.Module] = []
    for enter, leave in pairwise(widths):
        layers += [nn.Conv2d(enter, leave, 3, 2, 1, bias=False), nn.BatchNorm2d(leave), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * width, num_classes))
