"""The autoencoder of probability vectors that purifies confidences, its divergence, and the swap of labels.

Shapes: B vectors of a batch, K classes, Z latent size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot


@dataclass(frozen=True, kw_only=True)
class Autoencoder:
    """What the network that purifies is.

    Attributes:
        cvae: a variational autoencoder that is told the predicted class; else a plain one.
        latent: size Z of the latent.
        hidden: units of the hidden layer of encoder and decoder.
    """

    cvae: bool = True
    latent: Annotated[int, Ge(1)] = 8
    hidden: Annotated[int, Ge(1)] = 128


class ConfidencePurifier(nn.Module):
    """An autoencoder of probability vectors; with ``cvae`` a variational one that is told the predicted class.

    Args:
        classes: K.
        how: sizes and kind.
    """

    def __init__(self, classes: int, how: Autoencoder) -> None:
        super().__init__()
        self.cvae, told = how.cvae, classes if how.cvae else 0
        code = 2 * how.latent if how.cvae else how.latent
        self.encoder = nn.Sequential(nn.Linear(classes + told, how.hidden), nn.ReLU(), nn.Linear(how.hidden, code))
        self.decoder = nn.Sequential(
            nn.Linear(how.latent + told, how.hidden), nn.ReLU(), nn.Linear(how.hidden, classes)
        )
        self.classes = classes

    def encode(self, p_BK: Tensor, label_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the latent, each (B, Z); the latter is 0 if not variational."""
        code: Tensor = self.encoder(self._told(p_BK, label_B))
        if not self.cvae:
            return code, torch.zeros_like(code)
        mean_BZ, log_var_BZ = code.chunk(2, 1)
        return mean_BZ, log_var_BZ

    def decode(self, latent_BZ: Tensor, label_B: Tensor) -> Tensor:
        """Return purified log-probabilities (B, K)."""
        return log_softmax(self.decoder(self._told(latent_BZ, label_B)), 1)

    def forward(self, p_BK: Tensor) -> Tensor:
        """Return purified log-probabilities (B, K), from the mean of the latent: the same for the same input."""
        label_B = p_BK.argmax(1)
        return self.decode(self.encode(p_BK, label_B)[0], label_B)

    def _told(self, values: Tensor, label_B: Tensor) -> Tensor:
        return torch.cat([values, one_hot(label_B, self.classes).to(values)], 1) if self.cvae else values


def divergence(mean_BZ: Tensor, log_var_BZ: Tensor) -> Tensor:
    """Return KL(N(mean, var) || N(0, I)) of each row (B,), in nats."""
    return (mean_BZ.square() + log_var_BZ.exp() - 1 - log_var_BZ).sum(1) / 2


def swap_top(scores_BK: Tensor, label_B: Tensor) -> Tensor:
    """Exchange each row's largest score with that of its label, so that the label is the prediction."""
    top_B1, label_B1 = scores_BK.argmax(1, keepdim=True), label_B[:, None]
    order_BK = torch.arange(scores_BK.shape[1], device=scores_BK.device).expand_as(scores_BK)
    return scores_BK.gather(1, order_BK.scatter(1, label_B1, top_B1).scatter(1, top_B1, label_B1))
