"""Training augmentation: per-sample random crops, flips and colour jitter on batches, by kornia.

Kornia draws from torch's global generator; the training loop seeds and restores it around every call.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mibench.protocol.schema import Augmentation


def make_augmentation(settings: Augmentation, size: int) -> Callable[[Tensor], Tensor]:
    """Return a transform of batches (B, C, H, W) in [0, 1]."""
    chain = nn.Sequential(*_steps(settings, size))

    def augment(x_BCHW: Tensor) -> Tensor:
        out: Tensor = chain(x_BCHW).clamp(0, 1)
        return out

    return augment


def _steps(settings: Augmentation, size: int) -> list[nn.Module]:
    if settings.crop_scale is None and settings.flip <= 0 and not settings.jitters:
        return []
    import kornia.augmentation as K  # takes a second, and only training needs it

    steps: list[nn.Module] = []
    if settings.crop_scale is not None:
        steps.append(K.RandomResizedCrop((size, size), scale=settings.crop_scale, ratio=(1.0, 1.0)))
    if settings.flip > 0:
        steps.append(K.RandomHorizontalFlip(p=settings.flip))
    if settings.jitters:
        strengths = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
        # Not ColorJiggle, whose brightness is added and whose contrast is about 0.
        steps.append(K.ColorJitter(*strengths, p=1.0))
    return steps
