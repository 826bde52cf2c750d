"""The prior: latents, and the images of the people that they stand for.

Shapes: B latents, W latent size, C channels, H = W side in pixels.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mibench.api import BlockState, Prior, renders
from mibench_datasets.head_model.free import Free
from mibench_datasets.head_model.person import Population
from mibench_datasets.head_model.renderer import Renderer
from mibench_datasets.head_model.shot import Plain
from mibench_datasets.rendered_faces.head import Head

Views = Literal["frontal", "free"]


class HeadFaces(Prior):
    """Renders the people, and with free views also the photographs, that latents stand for.

    Latents are (B, 1, W) and standard normal, so that they are the noise itself: first what ``Population`` makes a
    person of, then what ``Free`` makes a view of. Every real vector renders to a valid face; truncation pulls towards
    the median person.

    Args:
        head: the head model.
        population: who there is.
        views: see ``HeadModelPrior``.
        channels: C.
        size: H.
    """

    def __init__(self, head: Head, population: Population, *, views: Views, channels: int, size: int) -> None:
        super().__init__()
        self.population = population
        self.other_views = Free(head)
        self.view = Plain(head) if views == "frontal" else self.other_views
        self.view_size = self.other_views.size if views == "frontal" else 0
        self.renderer = Renderer(head, size=size, channels=channels)
        self.latent_layers, self.latent_size = 1, population.size + self.view.size
        self.noise_size = self.latent_size

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Return ``truncation * z`` as (B, 1, Z); the only layer is left alone if ``cutoff`` is 0."""
        return (z_BZ if cutoff == 0 else z_BZ * truncation)[:, None]

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Return images (B, C, H, W), not clamped.

        Derivatives include those of outlines (``edges``).

        Raises:
            ValueError: if ``start`` is not 0; this prior has no middle.
        """
        if start != 0:
            raise ValueError(f"the prior 'head-model' has one block; got start={start}")
        person_BW, view_BW = latent_BLW[:, 0].split([self.population.size, self.view.size], dim=1)
        images_BCHW: Tensor = self.renderer(self.population(person_BW), self.view(view_BW))
        return images_BCHW

    @renders(lambda latent_BLW, view_BV: len(latent_BLW))
    def render_views(self, latent_BLW: Tensor, view_BV: Tensor) -> Tensor:
        """Return images (B, C, H, W) of the people in views as ``Free`` makes them; free views are in the latents."""
        person_BW, own_BW = latent_BLW[:, 0].split([self.population.size, self.view.size], dim=1)
        view = self.other_views(view_BV) if self.view_size else self.view(own_BW)
        images_BCHW: Tensor = self.renderer(self.population(person_BW), view)
        return images_BCHW
