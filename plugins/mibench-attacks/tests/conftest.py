"""A toy world for attacks: a linear prior with three style layers, and a small convolutional target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mibench.api import Access, AttackContext, Classifier, Prior, TargetView, generator

SIDE, CLASSES = 8, 8


class LinearPrior(Prior):
    """Images are linear in all style layers; each layer maps the same noise differently."""

    latent_layers, latent_size, noise_size = 3, 6, 6
    crop = 0.75

    def __init__(self) -> None:
        super().__init__()
        rng = generator("toy prior")
        self.maps_LZW = nn.Parameter(torch.randn(3, 6, 6, generator=rng) / 6**0.5)
        self.paint_LWP = nn.Parameter(torch.randn(3, 6, 3 * 12 * 12, generator=rng) / 3**0.5)

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        latent_BLW = torch.einsum("bz,lzw->blw", z_BZ, self.maps_LZW)
        layers = self.latent_layers if cutoff is None else cutoff
        return torch.cat([latent_BLW[:, :layers] * truncation, latent_BLW[:, layers:]], dim=1)

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: object = None) -> Tensor:
        return 0.5 + 0.15 * torch.einsum("blw,lwp->bp", latent_BLW, self.paint_LWP).view(-1, 3, 12, 12)


def small_classifier(num_classes: int = CLASSES) -> Classifier:
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8 * 16, num_classes)
    )
    rng = generator("toy target")
    for weights in body.parameters():
        weights.data = torch.randn(weights.shape, generator=rng) * (0.5 if weights.ndim > 1 else 0.1)
    return Classifier(body, head="4", stage_names=["0"], mean=[0.5] * 3, std=[0.25] * 3)


@pytest.fixture()
def prior() -> Prior:
    return LinearPrior()


@pytest.fixture()
def classifier() -> Classifier:
    return small_classifier()


@pytest.fixture()
def view_of(classifier: Classifier) -> Callable[..., TargetView]:
    return lambda access=Access.WHITE_BOX, **more: TargetView(classifier, Access(access), **more)


@pytest.fixture()
def ctx() -> AttackContext:
    return AttackContext(seed=3, size=SIDE, channels=3, device=torch.device("cpu"))
