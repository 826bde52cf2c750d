"""The component ``head-model``: parameters, and a training with nothing to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from mibench.api import ImageSet, Prior, PriorModel, PriorTrainer, TargetView, freeze
from mibench_datasets.head_model.person import Population
from mibench_datasets.head_model.prior import HeadFaces, Views
from mibench_datasets.rendered_faces.head import load_head


class NothingToTrain(PriorTrainer):
    """The training of a prior that is complete as it is built.

    Attributes:
        total_steps: 1, which changes nothing.
    """

    total_steps = 1

    def __init__(self, prior: Prior) -> None:
        self.prior = prior

    def step(self, index: int) -> dict[str, float]:
        """Do nothing; returns ``dimensions``, the size of a latent."""
        return {"dimensions": float(self.prior.latent_size)}

    def state(self) -> dict[str, Tensor]:
        """Return what tells populations apart."""
        return {name: tensor.clone() for name, tensor in self.prior.state_dict().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self.prior.load_state_dict(state)

    def finish(self) -> Prior:
        """Return the prior."""
        return freeze(self.prior)


@dataclass(frozen=True, kw_only=True)
class HeadModelPrior(PriorModel):
    """The generative process of ``rendered-faces`` itself: the attacker who knows how faces come about.

    It learns nothing: public images are not looked at. With the parameters of a protocol's dataset, its samples are
    people of the same population as the private ones, and what an attack cannot reconstruct with it was not in the
    target. Pixels are those of the dataset's renderer but for rounding, and differentiable in the latents.

    Attributes:
        coarse_groups: the dataset's: number of combinations of skin, hair, style and beard.
        shape_spread: the dataset's: standard deviation of the shape sliders.
        seed: the dataset's: it decides what the coarse groups look like.
        views: 'frontal' shows everybody as a portrait does (frontal, neutral, even light, plain background), and
            latents describe the person alone; 'free' appends pose, expression, light and background to the latents,
            distributed as in the dataset's images but without sensor noise.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "rendered64": {"coarse_groups": 4, "shape_spread": 0.35, "seed": 0},
        "free": {"views": "free"},
    }

    coarse_groups: Annotated[int, Ge(1)] = 4
    shape_spread: Annotated[float, Gt(0), Le(0.4)] = 0.35
    seed: Annotated[int, Ge(0)] = 0
    views: Views = "frontal"

    def build(self, *, channels: int, size: int, classes: int = 0) -> HeadFaces:
        """Make the prior, complete."""
        head = load_head()
        population = Population(head, seed=self.seed, coarse_groups=self.coarse_groups, shape_spread=self.shape_spread)
        return HeadFaces(head, population, views=self.views, channels=channels, size=size)

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return a training of one step that changes nothing."""
        return NothingToTrain(prior.to(device))
