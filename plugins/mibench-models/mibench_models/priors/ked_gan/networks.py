"""The discriminator of KED-MI's inversion-specific GAN; its generator is DCGAN's.

Shapes: B images of a batch, C channels, S = side in pixels, K classes, F features, M minibatch kernels, D their size.
Sources: Chen et al., "Knowledge-Enriched Distributional Model Inversion Attacks" (ICCV 2021); Salimans et al.,
"Improved Techniques for Training GANs" (NeurIPS 2016) for minibatch discrimination.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mibench_models.priors.dcgan.networks import down, halvings


class MinibatchDiscriminator(nn.Module):
    """Four strided convolutions with InstanceNorm and LeakyReLU to 4 x 4, closeness to the batch, K class logits.

    At 64 px: three 5 x 5 convolutions to width, 2 width and 4 width channels and a 3 x 3 one that keeps 4 width.

    Args:
        classes: K.
        width: channels after the first layer; 64 in the paper.
        channels: C.
        size: S, 16 or more.
        kernels: M.
        kernel_size: D.
    """

    def __init__(self, *, classes: int, width: int, channels: int, size: int, kernels: int, kernel_size: int) -> None:
        super().__init__()
        k = halvings(size, least=2)
        widths = [width << index for index in range(k - 1)]
        convolutions = [down(enter, leave) for enter, leave in zip([channels, *widths], widths, strict=False)]
        self.body = nn.Sequential(*convolutions, down(widths[-1], widths[-1], 3), nn.Flatten())
        features = widths[-1] * 16
        # Two images begin about 1 apart. With unit variance they are so far apart that exp is 0 and nothing is learnt.
        scale = 1 / (kernel_size * features**0.5)
        self.kernels_FMD = nn.Parameter(scale * torch.randn(features, kernels, kernel_size))
        self.head = nn.Linear(features + kernels, classes)

    def features(self, x_BCSS: Tensor) -> Tensor:
        """Return features (B, F) of images in [0, 1], before the minibatch layer."""
        features_BF: Tensor = self.body(x_BCSS)
        return features_BF

    def closeness(self, features_BF: Tensor) -> Tensor:
        """Return ``o_M = sum over the others of exp(-|M_i - M_j|_1)`` for each image and kernel (B, M)."""
        projected_BMD = torch.einsum("bf,fmd->bmd", features_BF, self.kernels_FMD)
        apart_BBM = (projected_BMD[:, None] - projected_BMD[None]).abs().sum(3)
        return (-apart_BBM).exp().sum(1) - 1

    def classify(self, features_BF: Tensor, closeness_BM: Tensor) -> Tensor:
        """Return class logits (B, K)."""
        logits_BK: Tensor = self.head(torch.cat([features_BF, closeness_BM.expand(len(features_BF), -1)], 1))
        return logits_BK

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return class logits (B, K) that depend on the whole batch, as in training."""
        features_BF = self.features(x_BCSS)
        return self.classify(features_BF, self.closeness(features_BF))


class KedCritic(nn.Module):
    """The discriminator as an attack sees it: images in [0, 1] to realism, each independent of the others.

    Attributes:
        net: the trained network.
        closeness_M: stands in for the minibatch layer: its mean over public images, set when training ends.
    """

    closeness_M: Tensor

    def __init__(self, net: MinibatchDiscriminator) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("closeness_M", torch.zeros(net.kernels_FMD.shape[1]))

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return the log-sum-exp of the class logits (B,); ``softplus(-D)`` is the paper's prior loss."""
        return self.net.classify(self.net.features(x_BCSS), self.closeness_M[None]).logsumexp(1)
