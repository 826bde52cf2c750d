"""The contract of defenses.

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

import json
from typing import ClassVar

import torch
from torch import Tensor

from mibench.api.classifier import Classifier, freeze
from mibench.api.defense import Defense, SelfCheck, Step, TrainContext
from mibench.api.extras import flat_extras
from mibench.api.rng import seeded
from mibench.api.specs import Kind
from mibench.registry.build import Components
from mibench.stages.classifier import load_classifier
from mibench.testing.checks import global_rng_untouched, largest_difference, require, same_tensors, snapshot
from mibench.testing.component import ComponentContract
from mibench.testing.handed import handed_model
from mibench.testing.tiny_stages import TESTED, tiny_stages
from mibench.testing.training import CPU, Trained, tiny_recipe, train_steps


class DefenseContract(ComponentContract):
    """Subclass, set ``component``, and run with pytest.

    Attributes:
        randomised: what is deployed answers the same image differently on purpose.
        differentiable: attackers with the weights can take input gradients of what is deployed.
        epochs: length of the tiny training.
    """

    randomised: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    epochs: ClassVar[int] = 2

    def train(self, seed: int = 0) -> Trained:
        """Train the component in the tiny world."""
        defense: Defense = self.make()
        return train_steps(defense, self.world, epochs=self.epochs, seed=seed)

    def test_step_gives_finite_loss_with_gradients(self) -> None:
        """One training step yields a finite scalar loss and finite gradients, not all of them zero."""
        defense, model, ctx, (x_BCHW, y_B) = self._first_step()
        with seeded("contract"):
            step = defense.training_step(model, x_BCHW, y_B, ctx)
        require(isinstance(step, Step), f"training_step returned {type(step).__name__}, expected Step")
        require(
            step.loss.ndim == 0 and bool(step.loss.isfinite()), f"the loss is {step.loss}, expected a finite scalar"
        )
        step.loss.backward()
        gradients = [p.grad for p in defense.parameters(model, ctx) if p.grad is not None]
        require(any(bool(g.ne(0).any()) for g in gradients), "no parameter received a gradient")
        require(all(bool(g.isfinite().all()) for g in gradients), "some gradients are not finite")

    def test_inputs_are_left_alone(self) -> None:
        """A training step changes neither the images nor the labels it was given."""
        defense, model, ctx, (x_BCHW, y_B) = self._first_step()
        x_before, y_before = x_BCHW.clone(), y_B.clone()
        with seeded("contract"):
            defense.training_step(model, x_BCHW, y_B, ctx)
        require(torch.equal(x_BCHW, x_before), "the training step changed its input images in place")
        require(torch.equal(y_B, y_before), "the training step changed its labels in place")

    def test_follows_no_global_seed(self) -> None:
        """Trainings under other global seeds end alike: every hook may draw where it likes, for the loop seeds it."""
        with seeded("contract", "global", 1):
            first = self.train()
        with seeded("contract", "global", 2):
            again = self.train()
        _require_same(first, again, "under another global seed, a training")

    def test_global_generators_are_left_alone(self) -> None:
        """After a training the global generators of Python, numpy and torch are where they were."""
        with global_rng_untouched("training"):
            train_steps(self.make(), self.world, epochs=1)

    def test_same_seed_same_weights(self) -> None:
        """Two trainings with one seed give bit-equal weights, with another seed other weights."""
        first, again, other = self.train(), self.train(), self.train(seed=1)
        weights = first.model.state_dict()
        require(same_tensors(weights, again.model.state_dict()), "two trainings with one seed differ")
        require(not same_tensors(weights, other.model.state_dict()), "another seed gave the very same weights")

    def test_resumes_byte_equal(self) -> None:
        """A training that was interrupted and restored from a checkpoint ends with the same bits, extras included."""
        whole = train_steps(self.make(), self.world, epochs=self.epochs)
        resumed = train_steps(self.make(), self.world, epochs=self.epochs, interrupt=self.epochs // 2)
        _require_same(whole, resumed, "an interrupted training", "; keep all state in the network or in ctx.extras")

    def test_target_stage(self) -> None:
        """The stage ``target`` makes the same artifact after an interruption, and its network is deployed alike."""
        recipe = tiny_recipe(epochs=self.epochs).model_dump(mode="json")
        parts = {"undefended": self.entry(), "recipe": recipe, "model": {"name": TESTED}}
        components: dict[tuple[Kind, str], type] = {
            ("defense", TESTED): self.component,
            ("model", TESTED): handed_model(self.world),
        }
        with tiny_stages(self.world, components, **parts) as stages:
            artifact = stages.same_bytes(stages.cell.target, stop=self.epochs // 2)
            x_BCHW, answers = self.world.batch()[0], []
            for seed in (1, 2):
                with seeded("contract", "global", seed):
                    deployed = load_classifier(Components(stages.registry), artifact, CPU)
                with seeded("contract", "answer"):
                    answers.append(deployed(x_BCHW))
        shape = (len(x_BCHW), self.world.classes)
        require(
            tuple(answers[0].shape) == shape, f"a loaded target gives logits {tuple(answers[0].shape)}, not {shape}"
        )
        require(bool(answers[0].isfinite().all()), "logits of a loaded target are not finite")
        require(
            torch.equal(*answers), "a target that is loaded twice answers otherwise; draw in inference from ctx.rng"
        )

    def test_component_keeps_no_state(self) -> None:
        """Training leaves the component as it was; what must last belongs into ``ctx.extras``."""
        defense = self.make()
        before = dict(vars(defense))
        train_steps(defense, self.world, epochs=1)
        require(vars(defense) == before, "training changed attributes of the component; keep state in ctx.extras")

    def test_inference_returns_logits(self) -> None:
        """What is deployed maps images in [0, 1] to finite logits (B, K), not probabilities, also one image alone."""
        deployed = freeze(self.train().deployed)
        require(
            isinstance(deployed, Classifier), f"inference returned {type(deployed).__name__}, expected a Classifier"
        )
        x_BCHW, _ = self.world.batch()
        logits_BK = deployed(x_BCHW)
        require(logits_BK.shape == (len(x_BCHW), self.world.classes), f"logits of shape {tuple(logits_BK.shape)}")
        require(bool(logits_BK.isfinite().all()), "logits are not finite")
        require(not _are_probabilities(logits_BK), "inference returns probabilities; return logits (their logarithm)")
        if not self.randomised:
            require(torch.equal(deployed(x_BCHW), logits_BK), "two passes in evaluation mode differ; set randomised")
            apart = largest_difference(deployed(x_BCHW[:1]), logits_BK[:1])
            require(apart < 1e-3, f"an image alone and in a batch gets logits that differ by {apart:.2g}")

    def test_inference_is_differentiable(self) -> None:
        """Input gradients of what is deployed are finite and not all zero, unless declared otherwise."""
        if not self.differentiable:
            return
        deployed = self.train().deployed
        x_BCHW = self.world.batch()[0].requires_grad_(True)
        (gradient,) = torch.autograd.grad(deployed(x_BCHW).square().sum(), x_BCHW)
        require(bool(gradient.isfinite().all()), "input gradients are not finite")
        require(bool(gradient.ne(0).any()), "input gradients are all zero; set differentiable = False if that is meant")

    def test_state_round_trips(self) -> None:
        """Weights and saved extras, loaded into a freshly built network, give the same logits."""
        if self.randomised:
            return
        defense, trained = self.make(), self.train()
        state = snapshot(trained.model.state_dict())
        ctx = self.world.context(epochs=self.epochs)
        with seeded("contract", "other weights"):
            fresh = defense.build(self.world.classifier(seed=99), ctx)
        fresh.load_state_dict(state)
        ctx.extras.update(snapshot(flat_extras(trained.ctx.extras)))
        x_BCHW, _ = self.world.batch()
        logits_BK = defense.inference(fresh, ctx).eval()(x_BCHW)
        require(
            torch.equal(logits_BK, trained.deployed.eval()(x_BCHW)), "a saved and restored defense answers otherwise"
        )

    def test_self_check_reports(self) -> None:
        """``self_check`` returns plain numbers, and a reason where it calls the defense inactive."""
        verdict = self.train().verdict
        require(isinstance(verdict, SelfCheck), f"self_check returned {type(verdict).__name__}, expected SelfCheck")
        json.dumps({"active": verdict.active, "signals": dict(verdict.signals), "reason": verdict.reason})
        require(verdict.active or bool(verdict.reason), "self_check calls the defense inactive without a reason")

    def _first_step(self) -> tuple[Defense, Classifier, TrainContext, tuple[Tensor, Tensor]]:
        defense: Defense = self.make()
        ctx = self.world.context(epochs=self.epochs)
        with seeded("contract", "build"):
            model = defense.build(self.world.classifier(), ctx)
        return defense, model.train(), ctx, self.world.batch()


def _require_same(first: Trained, again: Trained, who: str, hint: str = "") -> None:
    weights = same_tensors(first.model.state_dict(), again.model.state_dict())
    require(weights, f"{who} ends with other weights{hint}")
    extras = same_tensors(flat_extras(first.ctx.extras), flat_extras(again.ctx.extras))
    require(extras, f"{who} ends with other extras{hint}")
    require(first.ctx.history == again.ctx.history, f"{who} logs other signals")


def _are_probabilities(values_BK: Tensor) -> bool:
    return bool((values_BK >= 0).all()) and largest_difference(values_BK.sum(1), torch.ones(len(values_BK))) < 1e-4
