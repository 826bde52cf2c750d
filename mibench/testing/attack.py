"""The contract of attacks.

Shapes: N images delivered per class, C channels, H = W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar
from unittest import SkipTest

import torch
from torch import nn

from mibench.api.attack import Attack, AttackContext, ClassResult
from mibench.api.images import check_images
from mibench.api.prior import Prior
from mibench.api.prior_view import metered
from mibench.api.rng import seeded
from mibench.api.specs import Kind
from mibench.api.target import Access, Budget, TargetView
from mibench.nodes.reconstruct import ReconstructFiles
from mibench.stages.files import load_tensors
from mibench.testing.checks import require, same_tensors, snapshot
from mibench.testing.component import ComponentContract
from mibench.testing.handed import handed_prior
from mibench.testing.tiny_stages import TESTED, tiny_stages

Results = dict[int, ClassResult]


class AttackContract(ComponentContract):
    """Subclass, set ``component`` and ``settings`` small enough for seconds, and run with pytest.

    Attributes:
        classes: the attacked classes.
        exact_cost: the cost formula gives what is spent; false for attacks that stop when they are done, whose formula
            is an upper bound.
    """

    classes: ClassVar[Sequence[int]] = (0, 1, 2)
    exact_cost: ClassVar[bool] = True

    def prior(self) -> Prior:
        """Return the prior that the attack uses; override for attacks that need blocks or a discriminator."""
        return self.world.prior()

    def context(self, seed: int) -> AttackContext:
        """Return what the attack may use; override it for attacks that train priors or ask a judge."""
        ctx = self.world.attack_context(seed=seed)
        ctx.public = ctx.public if self.make().needs_public else None
        return ctx

    def attack(
        self, classes: Sequence[int], *, seed: int = 0, target: TargetView | None = None, prior: Prior | None = None
    ) -> Results:
        """Attack some classes under the access that the component declares, each seeded as the stage does it."""
        made: Attack = self.make()
        target, ctx = target or self.world.target(made.access), self.context(seed)
        prior = metered(prior or self.prior(), target.ledger)
        results = {}
        with seeded(seed, "network"):
            shared = made.prepare(target, prior, ctx)
        for label in classes:
            with seeded(seed, "network", label):
                results[label] = made.reconstruct(label, shared, target, prior, ctx)
        return results

    def test_reconstruct_stage(self) -> None:
        """The stage ``reconstruct`` delivers all classes in order, the same after an interruption, within its cost."""
        made: Attack = self.make()
        components, parts = self.parts(made)
        with tiny_stages(self.world, components, **parts) as stages:
            artifact = stages.same_bytes(stages.cell.reconstructions)
            files = ReconstructFiles(artifact.path)
            made_of, ledger = files.read_evidence(load_tensors), files.ledger()
        labels, shape = list(range(self.world.classes)), (self.world.channels, self.world.size, self.world.size)
        require(list(map(int, ledger["per_class"])) == labels, f"classes {list(ledger['per_class'])}, not {labels}")
        require(tuple(made_of.pixels.shape[1:]) == shape, f"images {tuple(made_of.pixels.shape[1:])}, not {shape}")
        order_N = made_of.labels
        require(bool((order_N.diff() >= 0).all()), "images are not ordered by class")
        cost = stated_cost(made, len(labels))
        spent = {name: ledger["total"][name] for name in cost}
        if self.exact_cost:
            require(spent == cost, f"the cost formula says {cost}, the stage's ledger {spent}")

    def parts(self, made: Attack) -> tuple[dict[tuple[Kind, str], type], dict[str, Any]]:
        """Return components and the parts of a protocol under which the attack runs with the prior of this contract."""
        name, _, preset = (made.prior_choice() or TESTED).partition("/")
        handed = handed_prior(self.prior(), preset)
        per_class = {key: -(-count // self.world.classes) or None for key, count in self._counted(made).items()}
        attack = self.entry()
        return (
            {("attack", TESTED): self.component, ("prior", TESTED): handed, ("prior", name): handed},
            {"attacks": {TESTED: attack}, "prior": {"name": TESTED}, "budget": per_class},
        )

    def _counted(self, made: Attack) -> dict[str, int]:
        cost = stated_cost(made, self.world.classes)
        return {name: cost[name] for name in ("forward", "backward") if name in cost}

    def test_delivers_images(self) -> None:
        """Per class: N images (N, C, H, W), float32 in [0, 1] at the asked size, best first, finite scores (N,)."""
        results = self.attack(self.classes)
        got = [result.label for result in results.values()]
        require(got == list(self.classes), f"asked for classes {list(self.classes)}, got {got}")
        for label, result in results.items():
            _check_result(label, result, (self.world.channels, self.world.size, self.world.size))

    def test_same_seed_same_images(self) -> None:
        """Two runs with one seed give bit-equal images; with another seed some image differs."""
        first, again, other = self.attack(self.classes), self.attack(self.classes), self.attack(self.classes, seed=1)
        require(_equal(first, again), "two runs with one seed differ")
        require(not _equal(first, other), "another seed gave the very same images")

    def test_class_order_does_not_matter(self) -> None:
        """A class gets the same images whichever classes are attacked before it, or alone after a restart."""
        first, last = self.classes[0], self.classes[-1]
        forwards, alone = self.attack(self.classes), self.attack([last])
        backwards = self.attack(list(reversed(self.classes)))
        require(_equal(forwards, backwards), "images depend on the order of the classes")
        require(_equal({last: forwards[last]}, alone), f"class {last} depends on class {first} being attacked before")

    def test_target_and_prior_are_left_alone(self) -> None:
        """Weights of target and prior and whether they are frozen are the same after the attack; no gradients stay."""
        classifier, prior = self.world.trained(), self.prior()
        before = [(snapshot(module.state_dict()), _modes(module)) for module in (classifier, prior)]
        target = TargetView(classifier, self.make().access, classes=len(self.classes))
        self.attack(self.classes[:1], target=target, prior=prior)
        for module, (state, modes), name in zip((classifier, prior), before, ("target", "prior"), strict=True):
            require(same_tensors(state, snapshot(module.state_dict())), f"the attack changed weights of the {name}")
            require(modes == _modes(module), f"the attack left the {name} unfrozen or in another mode")
            spoilt = any(parameter.grad is not None for parameter in module.parameters())
            require(not spoilt, f"the attack left gradients in weights of the {name}; it computed them for nothing")

    def test_every_pass_is_counted(self) -> None:
        """All passes through the target go through the view, which grants the declared access and counts."""
        access = self.make().access
        require(isinstance(access, Access), f"access is {access!r}, expected a mibench.api.Access")
        classifier, passed = self.world.trained(), [0]
        classifier.body.register_forward_pre_hook(lambda _, inputs: passed.__setitem__(0, passed[0] + len(inputs[0])))
        target = TargetView(classifier, access, classes=len(self.classes))
        self.attack(self.classes, target=target)
        counted = target.ledger.forward
        require(passed[0] <= counted, f"{passed[0]} images passed the target, the view counted {counted}")

    def test_states_what_each_class_spent(self) -> None:
        """``spent`` of a class is what the view counted while that class was attacked."""
        made: Attack = self.make()
        target, ctx = self.world.target(made.access), self.context(0)
        prior = metered(self.prior(), target.ledger)
        shared = made.prepare(target, prior, ctx)
        for label in self.classes[:2]:
            with target.spending() as counted:
                result = made.reconstruct(label, shared, target, prior, ctx)
            require(result.spent == counted, f"class {label} reports {result.spent}, the view counted {counted}")

    def test_stays_within_its_stated_cost(self) -> None:
        """The attack spends what its cost formula says, so that plans, budgets and tables can trust it."""
        made: Attack = self.make()
        try:
            cost = made.cost(len(self.classes))
        except NotImplementedError as reason:
            raise SkipTest(str(reason)) from None
        per_class = {name: -(-cost[name] // len(self.classes)) for name in ("forward", "backward") if name in cost}
        target = TargetView(self.world.trained(), made.access, classes=len(self.classes), budget=Budget(**per_class))
        self.attack(self.classes, target=target)
        spent = {name: value for name, value in asdict(target.ledger).items() if name in cost}
        if self.exact_cost:
            require(spent == dict(cost), f"the cost formula says {dict(cost)}, the ledger {spent}")


def stated_cost(made: Attack, classes: int) -> dict[str, int]:
    """Return what an attack says that it costs; empty if it says nothing."""
    try:
        return dict(made.cost(classes))
    except NotImplementedError:
        return {}


def _check_result(label: int, result: ClassResult, shape: tuple[int, int, int]) -> None:
    images_NCHW, scores_N = result.images_NCHW, result.scores_N
    where = f"class {label}"
    require(isinstance(images_NCHW, torch.Tensor), f"{where}: images are {type(images_NCHW).__name__}, not a tensor")
    try:
        check_images(images_NCHW, where=where)
    except Exception as error:
        raise AssertionError(str(error)) from None
    require(len(images_NCHW) > 0, f"{where}: no images")
    require(tuple(images_NCHW.shape[1:]) == shape, f"{where}: images {tuple(images_NCHW.shape[1:])}, asked for {shape}")
    require(not images_NCHW.requires_grad, f"{where}: images still carry a graph; detach them")
    require(scores_N.shape == (len(images_NCHW),), f"{where}: scores of shape {tuple(scores_N.shape)}")
    require(bool(scores_N.isfinite().all()), f"{where}: scores are not finite")
    require(bool((scores_N.diff() <= 1e-5).all()), f"{where}: images are not ordered best first by their scores")


def _equal(first: Results, second: Results) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[label].images_NCHW, second[label].images_NCHW) for label in first
    )


def _modes(module: nn.Module) -> list[bool]:
    parameters = [parameter.requires_grad for parameter in module.parameters()]
    return parameters + [part.training for part in module.modules()]
