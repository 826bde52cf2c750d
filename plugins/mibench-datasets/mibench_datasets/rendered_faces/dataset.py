"""The dataset ``rendered-faces``: any number of people with exact ground truth, rendered from a CC0 head model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Le

from mibench.api import Dataset, TensorImages, UsageError
from mibench_datasets.rendered_faces.head import load_head
from mibench_datasets.rendered_faces.identity import Identity, sample_identity
from mibench_datasets.rendered_faces.render import render, sculpt
from mibench_datasets.rendered_faces.view import sample_view


@dataclass(frozen=True, kw_only=True)
class RenderedFaces(Dataset):
    """Faces whose identity is their shape: many people share skin, hair, style and beard, so colour identifies nobody.

    Identity k depends on the parameters and k alone, its image i on those and i; any subset has the same pixels.
    The head model and its shapes are MakeHuman's, dedicated to the public domain (CC0).

    Attributes:
        identities: size of the population.
        images_per_identity: photographs of each person; they differ in pose, light, expression, background and noise.
        seed: seed of the population.
        coarse_groups: how many combinations of skin, hair, style and beard all people share.
        shape_spread: standard deviation of the face-shape sliders; small values make people alike.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    identities: Annotated[int, Ge(1)] = 400
    images_per_identity: Annotated[int, Ge(1)] = 20
    seed: Annotated[int, Ge(0)] = 0
    coarse_groups: Annotated[int, Ge(1)] = 4
    shape_spread: Annotated[float, Gt(0), Le(0.4)] = 0.35

    def num_identities(self) -> int:
        """Return the size of the population."""
        return self.identities

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> TensorImages:
        """Render all images of these people.

        Raises:
            UsageError: for an identity that the population does not have.
        """
        images = []
        head = load_head()
        for number in identities:
            bust = sculpt(head, self.identity(number))
            for index in range(self.images_per_identity):
                view = sample_view(head, seed=self.seed, number=number, index=index)
                images.append(render(head, bust, view, size=size, channels=channels))
        labels_N = torch.arange(len(identities)).repeat_interleave(self.images_per_identity)
        return TensorImages(torch.from_numpy(np.stack(images)), labels_N, len(identities))

    def identity(self, number: int) -> Identity:
        """Return the true parameters of a person.

        Raises:
            UsageError: for a number outside of the population.
        """
        if not 0 <= number < self.identities:
            raise UsageError(f"dataset 'rendered-faces' has identities 0 to {self.identities - 1}, got {number}")
        return sample_identity(
            load_head(),
            seed=self.seed,
            number=number,
            coarse_groups=self.coarse_groups,
            shape_spread=self.shape_spread,
        )

    def slider_distance(self, a: int, b: int) -> float:
        """Return the Euclidean distance between the true shape parameters of two people."""
        return float(np.linalg.norm(self.identity(a).latent() - self.identity(b).latent()))
