"""What a contract has ready (a prior, the networks of its world) in the shape of components, so that stages use it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from mibench.api.classifier import Classifier, Model, freeze
from mibench.api.data import ImageSet
from mibench.api.prior import Prior, PriorModel, PriorTrainer
from mibench.api.target import TargetView
from mibench.testing.training import World


class _Nothing(PriorTrainer):
    """A training of one step that changes nothing."""

    total_steps = 1

    def __init__(self, prior: Prior) -> None:
        self.prior = prior

    def step(self, index: int) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take nothing over."""

    def finish(self) -> Prior:
        return freeze(self.prior)


@dataclass(frozen=True, kw_only=True)
class _Handed(PriorModel):
    """A prior that is there already, whatever images it is asked for."""

    def build(self, *, channels: int, size: int, classes: int = 0) -> Prior:
        return copy.deepcopy(_made(type(self)))

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        return _Nothing(prior)


def _made(component: type) -> Prior:
    prior: Prior = component.__dict__["made"]
    return prior


def handed_prior(prior: Prior, preset: str = "") -> type[PriorModel]:
    """Return a component that builds copies of a prior.

    Args:
        prior: what it builds.
        preset: a preset that it has, for attacks that name one.
    """
    presets: dict[str, dict[str, str]] = {preset: {}} if preset else {}
    return type("Handed", (_Handed,), {"made": prior, "presets": presets, "__module__": __name__})


@dataclass(frozen=True, kw_only=True)
class _HandedModel(Model):
    """The network of a world, whatever it is asked for."""

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        world: World = type(self).__dict__["world"]
        return world.classifier(seed=int(torch.randint(2**31, ())))  # from the generator that the core seeded


def handed_model(world: World) -> type[Model]:
    """Return a component that builds the classifiers of a world."""
    return type("HandedModel", (_HandedModel,), {"world": world, "__module__": __name__})
