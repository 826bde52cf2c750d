"""The contract of priors: one class, whether training asks a target or not; components of the old two still work."""

from typing import Any

import pytest
import torch

from mibench.api import GuidedPriorModel, PriorModel, PriorTrainer, UsageError, given
from mibench.api.prior import build_prior, prior_trainer
from mibench.testing import TinyWorld
from mibench.testing.tiny_parts import TinyPrior

CPU = torch.device("cpu")


class Told(PriorTrainer):
    """Keeps what it was told."""

    total_steps = 1

    def __init__(self, **told):
        self.told = told

    def step(self, index):
        return {}

    def state(self):
        return {}

    def load_state(self, state):
        pass

    def finish(self):
        return self.told["prior"]


class Plain(PriorModel):
    """As components without a target were always written: no `classes`, no `target`."""

    def build(self, *, channels, size):
        return TinyPrior(channels, size)

    def trainer(self, prior, images, *, seed, device):
        return Told(prior=prior, images=images, seed=seed, device=device)


class Guided(PriorModel):
    """One that needs a target."""

    needs_target = True

    def build(self, *, channels, size, classes=0):
        prior = TinyPrior(channels, size)
        prior.classes = classes
        return prior

    def trainer(self, prior, images, *, seed, device, target=None):
        return Told(prior=prior, images=images, seed=seed, device=device, target=given(target))


def old_guided():
    class OldGuided(GuidedPriorModel):
        def build(self, *, channels, size, classes):
            return Guided().build(channels=channels, size=size, classes=classes)

        def trainer(self, prior, images, target, *, seed, device):
            return Told(prior=prior, images=images, seed=seed, device=device, target=target)

    return OldGuided


def train(component, target):
    prior = build_prior(component, channels=1, size=8, classes=5)
    images = TinyWorld().images("public")
    trainer: Any = prior_trainer(component, prior, images, seed=3, device=CPU, target=target)
    assert trainer.finish() is prior
    assert (trainer.told["images"], trainer.told["seed"], trainer.told["device"]) == (images, 3, CPU)
    return prior, trainer.told


def test_a_component_that_needs_no_target_gets_none():
    prior, told = train(Plain(), TinyWorld().target())
    assert prior.classes == 0
    assert "target" not in told


def test_a_component_that_needs_a_target_gets_it_and_its_classes():
    target = TinyWorld().target()
    prior, told = train(Guided(), target)
    assert prior.classes == 5
    assert told["target"] is target
    with pytest.raises(UsageError, match="trained on a target"):
        train(Guided(), None)


def test_the_old_class_of_guided_components_works_and_warns():
    with pytest.warns(DeprecationWarning, match=r"OldGuided derives from GuidedPriorModel.*needs_target = True"):
        component = old_guided()()
    target = TinyWorld().target()
    prior, told = train(component, target)
    assert (prior.classes, told["target"]) == (5, target)
    assert isinstance(component, PriorModel)
    assert component.missing() == []


def test_by_default_nothing_is_missing_and_deploying_changes_nothing():
    prior = TinyPrior(1, 8)
    for component in (Plain(), Guided()):
        assert component.missing() == []
        assert component.deploy(prior) is prior
