"""FID and KID: how far the distribution of made images is from that of real ones, in Inception features.

The libraries are optional (``pip install "mibench-metrics[quality]"``); the network's weights come from a file.

Shapes: R real images, M made images, B of a batch, D = 2048 features.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mibench.api import DataError, read_state, seeded, to_rgb, to_uint8

FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256_BEGINS = "6726825d"
"""What the digest of the usual weights begins with, as their name says."""
HOW_TO_GET = (
    f"Inception's weights for FID: download {FILE} from the release v0.2.0 of github.com/toshas/torch-fidelity and name"
    " it: sample-quality.inception=FILE"
)
SUBSETS, SUBSET = 100, 1000
"""KID is the mean over so many subsets of so many images, as its authors measure it."""


def load_network(path: str, *, sha256: str = "") -> Callable[[Tensor], Tensor]:
    """Return the network of FID: images (B, C, H, W) in [0, 1] to features (B, 2048).

    It is the one that TensorFlow's original FID uses, which resizes to 299 px as TensorFlow 1 did. Images pass with 8
    bits.

    Raises:
        DataError: if the file is missing, has another digest or is of another network.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # Read as tensors only and handed on in memory: the library itself would run what a file carries.
    safe = io.BytesIO()
    torch.save(read_state(path, sha256=sha256), safe)
    safe.seek(0)
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=safe)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:160]
        raise DataError(f"{path} holds the weights of another network ({told} ...). {HOW_TO_GET}") from error

    def features(x_BCHW: Tensor) -> Tensor:
        network.to(x_BCHW.device)
        found: Tensor = network(to_uint8(to_rgb(x_BCHW)))[0]
        return found.flatten(1)

    return features


def frechet_distance(real_RD: Tensor, made_MD: Tensor) -> float:
    """Return FID: |difference of means|^2 + trace(A + B - 2 (A B)^1/2) of covariances A and B, float64.

    Raises:
        ValueError: with fewer than two images of a kind.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    if min(len(real_RD), len(made_MD)) < 2:
        raise ValueError(f"FID takes two images of each kind, got {len(real_RD)} and {len(made_MD)}")
    metric = FrechetInceptionDistance(feature=_Ready(real_RD.shape[1])).set_dtype(torch.float64)
    metric.update(real_RD.double(), real=True)
    metric.update(made_MD.double(), real=False)
    return float(metric.compute())


def kernel_distance(real_RD: Tensor, made_MD: Tensor) -> float:
    """Return KID: the unbiased squared maximum mean discrepancy under the kernel (x.y / D + 1)^3, float64.

    The mean over 100 subsets of 1000 images, or of as many as there are of both kinds; over one where that is all.
    Subsets are drawn by content, so the order of images does not matter. Slightly negative for equal distributions.

    Raises:
        ValueError: with fewer than two images of a kind.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(SUBSET, len(real_RD), len(made_MD))
    if size < 2:
        raise ValueError(f"KID takes two images of each kind, got {len(real_RD)} and {len(made_MD)}")
    subsets = 1 if len(real_RD) == len(made_MD) == size else SUBSETS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all features
        metric = KernelInceptionDistance(feature=_Ready(real_RD.shape[1]), subsets=subsets, subset_size=size)
    metric = metric.set_dtype(torch.float64)
    metric.update(_sorted(real_RD.double()), real=True)
    metric.update(_sorted(made_MD.double()), real=False)
    with seeded("kid"):
        mean, _ = metric.compute()
    return float(mean)


class _Ready(nn.Module):
    """Stands for a network where features are at hand already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features_BD: Tensor) -> Tensor:
        return features_BD


def _sorted(features_ND: Tensor) -> Tensor:
    """Return the rows in an order that depends on them alone."""
    return features_ND[torch.from_numpy(np.lexsort(features_ND[:, :8].cpu().numpy().T))]
