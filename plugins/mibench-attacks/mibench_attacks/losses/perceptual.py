"""Perceptual features of images: activations of a fixed convolutional network, scaled so that distances compare images.

Shapes: B images of a batch, C channels, H = W pixels, D features of a pixel, F entries of the whole feature vector.
Source: Zhang et al., CVPR 2018 (LPIPS), without its learned weights: each pixel's activation vector has length 1 in
every layer and layers count by the mean over their pixels, so that |f(x) - f(y)|^2 is the unweighted LPIPS distance.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, normalize, relu

from mibench.api import DataError, UsageError, freeze, generator, seeded, to_rgb

PerceptualName = Literal["vgg16", "random"]
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Features of the convolutions of VGG16 (Simonyan and Zisserman, 2015), by resolution."""
RANDOM = ((16,), (32,), (64,))
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the weights expect


class Perceptual(nn.Module):
    """Convolutions with ReLU in groups of one resolution; the last activation of each group is a layer.

    Attributes:
        groups: the convolutions.
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, widths: Sequence[Sequence[int]]) -> None:
        """Make a network with these numbers of features; the weights are torch's and to be replaced."""
        super().__init__()
        self.groups = nn.ModuleList()
        inside = 3
        for group in widths:
            sides = zip((inside, *group), group, strict=False)
            self.groups.append(nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in sides))
            inside = group[-1]
        self.register_buffer("mean_C11", torch.tensor(_MEAN).view(-1, 1, 1))
        self.register_buffer("std_C11", torch.tensor(_STD).view(-1, 1, 1))

    def forward(self, x_BCHW: Tensor, *, side: int | None = None) -> Tensor:
        """Return features (B, F), differentiable.

        Args:
            x_BCHW: images, nominally in [0, 1]; grey ones are repeated to three channels.
            side: larger images are shrunk to this side, by area.
        """
        x_BDHW = to_rgb(x_BCHW)
        if side is not None and side < x_BDHW.shape[-1]:
            x_BDHW = interpolate(x_BDHW, size=(side, side), mode="area")
        x_BDHW = (x_BDHW - self.mean_C11) / self.std_C11
        layers = []
        for index, group in enumerate(self.groups):
            x_BDHW = max_pool2d(x_BDHW, 2) if index else x_BDHW
            for convolution in group.children():
                x_BDHW = relu(convolution(x_BDHW))
            layers.append(_unit_length(x_BDHW))
        return torch.cat(layers, dim=1)

    def convolutions(self) -> list[nn.Conv2d]:
        """Return the convolutions from input to output."""
        return [module for module in self.groups.modules() if isinstance(module, nn.Conv2d)]


def perceptual(name: PerceptualName, weights: str = "") -> Perceptual:
    """Return a frozen feature network.

    Args:
        name: ``"vgg16"`` with weights of a file, or ``"random"``: three convolutions whose weights follow from a fixed
            seed, the same everywhere.
        weights: path of a state dict of torchvision's ``vgg16``; it may hold the classifier too.

    Raises:
        UsageError: for a file that is not wanted, or one that is and is not given.
        DataError: if the file is missing or does not fit.
    """
    if (name == "vgg16") != bool(weights):
        advice = "set perceptual_weights to a state dict of torchvision's vgg16, or perceptual=random"
        raise UsageError(f"perceptual features {name!r} with weights {weights!r}: {advice}")
    with seeded("perceptual features"):  # leaves global generators alone; every weight is replaced
        network = Perceptual(VGG16 if name == "vgg16" else RANDOM)
    with torch.no_grad():
        if name == "vgg16":
            _load(network, weights)
        else:
            _draw(network)
    return freeze(network)


def _unit_length(x_BDHW: Tensor) -> Tensor:
    """Give each pixel's activations length 1 and each image's layer as well, and flatten."""
    return (normalize(x_BDHW, dim=1, eps=1e-8) / math.sqrt(x_BDHW[0, 0].numel())).flatten(1)


def _draw(network: Perceptual) -> None:
    rng = generator("perceptual features", "random")
    for convolution in network.convolutions():
        size = (2 / convolution.weight[0].numel()) ** 0.5  # He et al. 2015: keeps the variance through ReLU
        convolution.weight.copy_(torch.randn(convolution.weight.shape, generator=rng) * size)
        assert convolution.bias is not None  # noqa: S101 - the default of Conv2d
        convolution.bias.zero_()


def _load(network: Perceptual, path: str) -> None:
    try:
        state = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
        found = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
        for index, convolution in zip(found, network.convolutions(), strict=True):
            layer = {part: state[f"features.{index}.{part}"] for part in ("weight", "bias")}
            convolution.load_state_dict(layer)
    except FileNotFoundError as error:
        raise DataError(f"perceptual_weights {path!r} does not exist") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"perceptual_weights {path!r} is not a state dict of torchvision's vgg16") from error
