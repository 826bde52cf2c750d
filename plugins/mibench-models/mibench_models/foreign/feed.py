"""What pictures a network takes: normalisation, channels and their order, side.

Shapes: C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge

from mibench.api import UsageError
from mibench_models.foreign.sources import timm_normalisation

NORMALISATIONS = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "-1 to 1": ((0.5,), (0.5,)),
    "0 to 1": ((0.0,), (1.0,)),
    "0 to 255": ((0.0,), (1 / 255,)),
}
"""How pictures usually enter networks: mean and standard deviation in [0, 1] units."""

_ORDERS: tuple[Literal["rgb", "bgr"], ...] = ("rgb", "bgr")


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What pictures a network was trained on.

    Attributes:
        mean: per-channel mean that is subtracted, [0, 1] units, in the order of the network's channels; one number
            counts for all. Empty: timm's configuration for its networks, else 0.
        std: per-channel standard deviation that is divided by; empty: timm's, else 1. A network that takes pixels from
            0 to 255 has the mean 0 and the deviation 1/255.
        channels: 3, or 1 for a network that takes grey images.
        channel_order: ``rgb``, or ``bgr`` as OpenCV reads files.
        input_size: side in pixels to which images are resized; ``None`` is the protocol's size.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: Literal[1, 3] = 3
    channel_order: Literal["rgb", "bgr"] = "rgb"
    input_size: Annotated[int | None, Ge(1)] = None

    def normalisation(self, source: str) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation for each channel of an image, red first.

        Raises:
            UsageError: for numbers that are neither one nor one for each channel, or a deviation that is not positive.
        """
        usual = None if self.mean and self.std else timm_normalisation(source)
        mean = self.mean or (usual[0] if usual else (0.0,))
        std = self.std or (usual[1] if usual else (1.0,))
        for name, numbers in (("mean", mean), ("std", std)):
            if len(numbers) not in (1, self.channels):
                raise UsageError(f"--{name}: expected 1 or {self.channels} numbers, got {len(numbers)}")
        if min(std) <= 0:
            raise UsageError(f"--std: expected positive numbers, got {min(std):g}")
        full = [[*mean] * (self.channels // len(mean)), [*std] * (self.channels // len(std))]
        if self.channel_order == "bgr":  # images are turned around behind the normalisation
            full = [numbers[::-1] for numbers in full]
        return full[0], full[1]

    def others(self) -> Mapping[str, Feed]:
        """Return the other usual ways to feed a network, by the options of ``mibench audit`` that state them."""
        found: dict[str, Feed] = {}
        for mean, std in [(self.mean, self.std), *NORMALISATIONS.values()]:
            if len(mean) > self.channels:
                mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
            for order in _ORDERS if self.channels > 1 else _ORDERS[:1]:
                fed = replace(self, mean=mean, std=std, channel_order=order)
                found.setdefault(self._words(fed), fed)
        return {words: fed for words, fed in found.items() if words}

    def _words(self, other: Feed) -> str:
        """Return the options that state another feed than this one; empty if it is the same."""
        words = []
        if (other.mean, other.std) != (self.mean, self.std):
            words += [f"--{name} {','.join(f'{n:.6g}' for n in getattr(other, name))}" for name in ("mean", "std")]
        if other.channel_order != self.channel_order:
            words.append(f"--channel-order {other.channel_order}")
        return " ".join(words)
