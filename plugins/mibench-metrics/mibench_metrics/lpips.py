"""LPIPS: how different two images look, by the activations of a network of ImageNet whose weights come from a file.

The library is optional (``pip install "mibench-metrics[quality]"``).
Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (CVPR 2018).

Shapes: B pairs of images, C channels, H = W pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from mibench.api import DataError, freeze, read_state, to_rgb

Backbone = Literal["vgg", "alex", "squeeze"]
FILES = {
    "vgg": "vgg16-397923af.pth",
    "alex": "alexnet-owt-7be5be79.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
"""torchvision's weights of each backbone."""


_SLICE = re.compile(r"^(slice\d+|slices\.\d+)\.")


def how_to_get(backbone: Backbone) -> str:
    """Return how to get the weights of a backbone."""
    return (
        f"LPIPS's backbone {backbone!r}: download torchvision's {FILES[backbone]} and name it:"
        " sample-quality.backbone=FILE"
    )


def load_distance(backbone: Backbone, path: str, *, sha256: str = "") -> Callable[[Tensor, Tensor], Tensor]:
    """Return the distance: two batches of images (B, C, H, W) in [0, 1] to (B,), at least 0.

    The linear layers on top, which were fitted to human judgements, come with the library.

    Args:
        backbone: the network.
        path: its weights, in torchvision's naming.
        sha256: digest that the file must have; empty checks nothing.

    Raises:
        DataError: if the file is missing, has another digest or is of another network.
    """
    # The public class would download the backbone's weights.
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    network, state = _NoTrainLpips(net=backbone, pnet_rand=True), read_state(path, sha256=sha256)
    own = network.net.state_dict()
    source = {name: _SLICE.sub("features.", name) for name in own}
    if wrong := [name for name, there in source.items() if there not in state or state[there].shape != own[name].shape]:
        raise DataError(
            f"{path} holds no weights of LPIPS's backbone {backbone!r}: {len(wrong)} of {len(own)} tensors are missing"
            f" or have another shape (e.g. {source[wrong[0]]}). {how_to_get(backbone)}"
        )
    network.net.load_state_dict({name: state[there] for name, there in source.items()})
    freeze(network)

    def distance(one_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
        network.to(one_BCHW.device)
        with torch.no_grad():
            found: Tensor = network(to_rgb(one_BCHW), to_rgb(other_BCHW), normalize=True)
        return found.flatten()

    return distance
