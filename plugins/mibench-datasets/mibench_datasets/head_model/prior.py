"""The prior: latents, and the images of the people that they stand for.

Shapes: B latents, W latent size, C channels, H = W side in pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mibench.api import BlockState, Prior, renders
from mibench_datasets.head_model.free import Free
from mibench_datasets.head_model.person import Population
from mibench_datasets.head_model.renderer import Renderer
from mibench_datasets.head_model.shot import Plain
from mibench_datasets.rendered_faces.head import Head

Views = Literal["frontal", "free"]
PIECE = 32
"""Images that a CPU renders at once: what one of them needs on the way then stays in its caches."""


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
        return self._images(person_BW, self.view, view_BW)

    @renders(lambda latent_BLW, view_BV: len(latent_BLW))
    def render_views(self, latent_BLW: Tensor, view_BV: Tensor) -> Tensor:
        """Return images (B, C, H, W) of the people in views as ``Free`` makes them; free views are in the latents."""
        person_BW, own_BW = latent_BLW[:, 0].split([self.population.size, self.view.size], dim=1)
        other = (self.other_views, view_BV) if self.view_size else (self.view, own_BW)
        return self._images(person_BW, *other)

    def _images(self, person_BW: Tensor, view: nn.Module, view_BV: Tensor) -> Tensor:
        """Render; on a CPU, without a gradient, a few at a time: sooner, in less memory, the same but for rounding."""
        differentiated = torch.is_grad_enabled() and (person_BW.requires_grad or view_BV.requires_grad)
        piece = PIECE if person_BW.device.type == "cpu" and not differentiated else max(1, len(person_BW))
        parts = zip(person_BW.split(piece), view_BV.split(piece), strict=True)
        return torch.cat([self.renderer(self.population(person), view(seen)) for person, seen in parts])
