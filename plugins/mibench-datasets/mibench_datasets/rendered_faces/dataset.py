"""The dataset ``rendered-faces``.

Shapes: N images, C channels, H = W side in pixels, P latent parameters, V vertices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from threadpoolctl import threadpool_limits

from mibench.api import Dataset, GroundTruth, TensorImages, UsageError
from mibench_datasets.checks import check_request
from mibench_datasets.rendered_faces.head import Floats, Ints, load_head
from mibench_datasets.rendered_faces.identity import Identity, sample_identity
from mibench_datasets.rendered_faces.render import Bust, render, sculpt
from mibench_datasets.rendered_faces.view import View, portrait_view, sample_view

_MILLIMETRES = 100
"""In a decimetre, the unit of the mesh."""


@dataclass(frozen=True, kw_only=True)
class RenderedFaces(Dataset):
    """Faces of people who do not exist, rendered from a CC0 head model, with exact ground truth.

    Identity k depends on ``(seed, k)`` and the parameters only, image i of it on ``(seed, k, i)``: any subset gives
    the same pixels. Identities of one coarse group share skin, hair, eye colour, style and beard exactly; what tells
    them apart is the shape of face, brows and hairline. Private and public sets are disjoint ranges of identities.

    Source: MakeHuman base mesh and targets (CC0 1.0). See the README of this distribution.

    Attributes:
        identities: how many identities there are.
        images_per_identity: images of each identity.
        seed: seed of the whole population.
        coarse_groups: number of combinations of skin, hair, style and beard that all identities share; 1 makes colour
            useless for recognition.
        shape_spread: standard deviation of the shape sliders, whose range is [-1, 1]; smaller is harder.
    """

    identities: Annotated[int, Ge(1)] = 400
    images_per_identity: Annotated[int, Ge(1)] = 20
    seed: Annotated[int, Ge(0)] = 0
    coarse_groups: Annotated[int, Ge(1)] = 4
    shape_spread: Annotated[float, Gt(0), Le(0.4)] = 0.35

    def num_identities(self) -> int:
        """Return how many identities there are."""
        return self.identities

    def num_images(self, identity: int) -> int:
        """Return how many images each identity has."""
        return self.images_per_identity

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> TensorImages:
        """Render all images of these identities, on as many cores as torch has threads.

        Args:
            identities: identity numbers in [0, num_identities); the k-th one becomes class k.
            size: side of the square images in pixels.
            channels: 1 (grey) or 3 (RGB).

        Returns:
            ``len(identities) * images_per_identity`` images, ordered by class, then by image number.

        Raises:
            UsageError: for an identity that does not exist, or an impossible size or number of channels.
        """
        count, head = self.images_per_identity, load_head()

        def view(number: int, image: int) -> View:
            return sample_view(head, seed=self.seed, number=number, index=image)

        return self._photographs(identities, count, view, size=size, channels=channels)

    def portraits(self, identities: Sequence[int], *, size: int, channels: int, take: int = 0) -> TensorImages:
        """Render one frontal portrait with a neutral expression of each of these identities.

        Args:
            identities: identity numbers in [0, num_identities); the k-th one becomes class k.
            size: side of the square images in pixels.
            channels: 1 (grey) or 3 (RGB).
            take: 0 for even light, a plain background and no noise; k > 0 for the k-th one with light, background and
                noise drawn as those of the images.

        Returns:
            ``len(identities)`` images, in order.

        Raises:
            UsageError: for an identity or a take that does not exist, or an impossible size or number of channels.
        """
        if take < 0:
            raise UsageError(f"dataset 'rendered-faces': expected a take of at least 0, got {take}.")
        head = load_head()

        def view(number: int, _: int) -> View:
            return portrait_view(head, seed=self.seed, number=number, take=take)

        return self._photographs(identities, 1, view, size=size, channels=channels)

    def _photographs(
        self, identities: Sequence[int], count: int, view: Callable[[int, int], View], *, size: int, channels: int
    ) -> TensorImages:
        """Render ``count`` images of each identity in the views that ``view(number, image)`` returns."""
        check_request("rendered-faces", identities, self.identities, size=size, channels=channels)
        pixels_NCHW = np.empty((len(identities) * count, channels, size, size), np.uint8)
        head = load_head()

        def draw(k: int) -> None:
            number = int(identities[k])
            bust = self._bust(number)
            for i in range(count):
                pixels_NCHW[k * count + i] = render(head, bust, view(number, i), size=size, channels=channels)

        # Threads of BLAS only get in the way of these: its matrices are small, and its threads wait by spinning.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(draw, range(len(identities))))
        labels_N = torch.arange(len(identities)).repeat_interleave(count)
        return TensorImages(torch.from_numpy(pixels_NCHW), labels_N, len(identities))

    def truth(self, identities: Sequence[int]) -> GroundTruth:
        """Return the shape of the neutral face of each of these identities, in millimetres.

        The points are the skin vertices in front of the ears, with their mean position removed: the distance of two
        people is their ``shape_distance``.

        Raises:
            UsageError: for an identity that does not exist.
        """
        check_request("rendered-faces", identities, self.identities)
        values_KD = np.empty((len(identities), 3 * len(_face_vertices())), np.float32)
        for k, number in enumerate(identities):
            values_KD[k] = self._face(number).ravel()
        return GroundTruth(torch.from_numpy(values_KD), "mm")

    def identity_parameters(self, number: int) -> Identity:
        """Return the true latent parameters of an identity.

        Raises:
            UsageError: if there is no such identity.
        """
        check_request("rendered-faces", [number], self.identities)
        return sample_identity(
            load_head(),
            seed=self.seed,
            number=number,
            coarse_groups=self.coarse_groups,
            shape_spread=self.shape_spread,
        )

    def slider_distance(self, a: int, b: int) -> float:
        """Return the root mean square difference of two identities' latent parameters; 0 for the same identity.

        The vector is ``Identity.latent``: sliders, macro mix, brows, hairline. Colours do not count.
        """
        first_P, second_P = self.identity_parameters(a).latent(), self.identity_parameters(b).latent()
        return float(np.sqrt(np.mean((first_P - second_P) ** 2)))

    def shape_distance(self, a: int, b: int) -> float:
        """Return the root mean square distance of corresponding skin vertices in front of the ears, in millimetres.

        Both faces are neutral and compared after their mean positions have been aligned.
        """
        apart_F3 = self._face(a) - self._face(b)
        return float(np.sqrt(np.mean(np.sum(apart_F3**2, axis=1))))

    def _face(self, number: int) -> Floats:
        """Return the skin vertices in front of the ears about their mean, millimetres: float32 (points, 3)."""
        identity = self.identity_parameters(number)
        points_F3 = load_head().shape(identity.sliders_S, identity.macros_M)[_face_vertices()]
        centred_F3: Floats = (_MILLIMETRES * (points_F3 - points_F3.mean(0, dtype=np.float64))).astype(np.float32)
        return centred_F3

    def _bust(self, number: int) -> Bust:
        return _sculpted(self.seed, number, self.coarse_groups, self.shape_spread)


@cache
def _face_vertices() -> Ints:
    head = load_head()
    skin = np.unique(head.triangles_of("skin"))
    face: Ints = skin[(head.template_V3[skin, 2] > 0.7) & (head.template_V3[skin, 1] > 5.9)]
    return face


@lru_cache(maxsize=32)
def _sculpted(seed: int, number: int, coarse_groups: int, shape_spread: float) -> Bust:
    head = load_head()
    identity = sample_identity(head, seed=seed, number=number, coarse_groups=coarse_groups, shape_spread=shape_spread)
    return sculpt(head, identity)
