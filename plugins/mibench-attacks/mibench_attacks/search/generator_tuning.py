"""How PPDG-MI tunes a generator between rounds, as parameters; ``prior_tuning.py`` does it.

Shapes: N style vectors, W their size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from mibench.api import FlatNames, InputFile, Prior
from mibench_attacks.losses.perceptual import Perceptual, PerceptualName, perceptual
from mibench_attacks.search.adam_search import RampedSearch
from mibench_attacks.search.prior_tuning import PriorTuning, TunerName

FLAT = FlatNames(
    distance="tuner", images="pseudo", noise="w_noise", steps="tune_steps", lr="tune_lr", weights="perceptual_weights",
    **{"search.steps": "invert_steps", "search.lr": "invert_lr"},
)  # fmt: skip
"""Flat names of its parameters."""


@dataclass(frozen=True, kw_only=True)
class GeneratorTuning:
    """Tuning of a generator towards images: latents are sought near them, then the weights are moved.

    Attributes:
        distance: distance from the images: 'pw' image by image, 'ct' or 'mmd' between sets.
        images: K, images that the generator is tuned towards.
        search: descent of the latents near them.
        noise: noise on these latents in units of the spread of style vectors; it fades over three quarters.
        d_weight: weight of the discriminator while they are sought; 0 for priors without one.
        mean_of: style vectors that their mean and spread are measured on.
        steps: updates of the generator's weights.
        lr: learning rate of these (Adam).
        perceptual: feature network of the distances: 'vgg16', with perceptual_weights, or 'random' convolutions.
        weights: path of a state dict of torchvision's vgg16.
    """

    distance: TunerName = "pw"
    images: Annotated[int, Ge(1)] = 5
    search: RampedSearch = RampedSearch(steps=300, lr=0.01)
    noise: Annotated[float, Ge(0)] = 0.05
    d_weight: Annotated[float, Ge(0)] = 0.1
    mean_of: Annotated[int, Ge(1)] = 600
    steps: Annotated[int, Ge(0)] = 150
    lr: Annotated[float, Gt(0)] = 3e-4
    perceptual: PerceptualName = "vgg16"
    weights: Annotated[str, InputFile()] = ""

    @property
    def renders(self) -> int:
        """Images that one tuning renders: the images themselves, then each of them in every step."""
        return self.images * (1 + self.search.steps + self.steps)

    def features(self) -> Perceptual:
        """Return the network of the distances.

        Raises:
            UsageError: if the weights are missing.
        """
        return perceptual(self.perceptual, self.weights)

    def statistics(self, prior: Prior, rng: torch.Generator) -> tuple[Tensor, float]:
        """Return the mean style vector (1, 1, W), and the root mean squared distance of style vectors from it."""
        with torch.no_grad():
            w_NW = prior.to_latent(prior.sample(self.mean_of, rng))[:, 0]
        spread = (w_NW - w_NW.mean(0)).square().sum(1).mean().sqrt().item()
        return w_NW.mean(0)[None, None], spread

    def made(self, features: Perceptual, spread: float, *, batch: int) -> PriorTuning:
        """Return the tuning; distances between sets need all images in one batch."""
        return PriorTuning(
            tuner=self.distance,
            features=features,
            search=self.search.descent(batch=batch if self.distance == "pw" else self.images),
            noise=self.noise * spread,
            d_weight=self.d_weight,
            steps=self.steps,
            lr=self.lr,
        )
