"""The contract of classifier architectures.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from mibench.api.classifier import Classifier, Model, freeze
from mibench.api.rng import seeded
from mibench.registry.build import Components
from mibench.stages.classifier import load_classifier
from mibench.testing.checks import largest_difference, require, same_tensors
from mibench.testing.component import ComponentContract
from mibench.testing.tiny_stages import TESTED, tiny_stages
from mibench.testing.tiny_world import TinyWorld
from mibench.testing.training import CPU


class ModelContract(ComponentContract):
    """Subclass, set ``component`` (a ``Model``) and a ``world`` whose images are large enough, and run with pytest.

    Checks are skipped while the model says that something is ``missing``.
    """

    world: ClassVar[TinyWorld] = TinyWorld(size=32)

    def build(self, seed: int = 0) -> Classifier:
        """Build an untrained classifier for the world's images, seeded as the core does it."""
        self.require_files()
        model: Model = self.make()
        with seeded(seed, "init"):
            return model.build(num_classes=self.world.classes, channels=self.world.channels, size=self.world.size)

    def test_gives_logits_and_features(self) -> None:
        """A pass gives finite logits (B, K) and the features (B, D) that the head maps to them."""
        classifier = self.build()
        require(isinstance(classifier, Classifier), f"build returned {type(classifier).__name__}, expected Classifier")
        require(classifier.num_classes == self.world.classes, f"num_classes is {classifier.num_classes}")
        x_BCHW, _ = self.world.batch()
        outputs = freeze(classifier).outputs(x_BCHW)
        shapes = tuple(outputs.logits.shape), tuple(outputs.features.shape)
        wanted = (len(x_BCHW), self.world.classes), (len(x_BCHW), classifier.feature_dim)
        require(shapes == wanted, f"logits and features of shapes {shapes}, expected {wanted}")
        require(bool(outputs.logits.isfinite().all()), "logits are not finite")
        apart = largest_difference(classifier.head(outputs.features), outputs.logits)
        require(apart < 1e-5, f"the head maps the features to logits that differ by {apart:.2g}")

    def test_stages_are_named(self) -> None:
        """Every named stage is reached in a pass, and gradients flow from it to the image."""
        classifier = freeze(self.build())
        require(bool(classifier.stage_names), "no stage is named; defenses that look inside have nothing to look at")
        x_BCHW = self.world.batch()[0].requires_grad_(True)
        stages = classifier.stages(x_BCHW)
        lost = [name for name in classifier.stage_names if name not in stages]
        require(not lost, f"stages that no pass reaches: {', '.join(lost)}")
        for name, activation in stages.items():
            (gradient,) = torch.autograd.grad(activation.square().sum(), x_BCHW, retain_graph=True)
            require(bool(gradient.isfinite().all()), f"gradients of stage {name} are not finite")
            require(bool(gradient.ne(0).any()), f"no gradient flows from stage {name} to the image")

    def test_same_seed_same_network(self) -> None:
        """One seed gives equal weights whatever the global seed was, another seed other weights."""
        with seeded("contract", "global", 1):
            first = self.build().state_dict()
        with seeded("contract", "global", 2):
            again = self.build().state_dict()
        require(same_tensors(first, again), "two networks of one seed differ")
        require(not same_tensors(first, self.build(1).state_dict()), "another seed gave the very same weights")

    def test_an_image_does_not_see_its_batch(self) -> None:
        """In evaluation mode an image has the same logits alone and in a batch, every time."""
        classifier, (x_BCHW, _) = freeze(self.build()), self.world.batch()
        logits_BK = classifier(x_BCHW)
        require(torch.equal(classifier(x_BCHW), logits_BK), "two passes in evaluation mode differ")
        apart = largest_difference(classifier(x_BCHW[:1]), logits_BK[:1])
        require(apart < 1e-3, f"an image alone and in a batch gets logits that differ by {apart:.2g}")

    def test_target_stage(self) -> None:
        """The stage ``target`` trains it, the same after an interruption, and loads what it saved."""
        self.require_files()
        with tiny_stages(self.world, {("model", TESTED): self.component}, model=self.entry()) as stages:
            artifact = stages.same_bytes(stages.cell.target)
            x_BCHW, _ = self.world.batch()
            first, again = (load_classifier(Components(stages.registry), artifact, CPU)(x_BCHW) for _ in range(2))
        require(bool(first.isfinite().all()), "logits of the trained network are not finite")
        require(torch.equal(first, again), "a network that is loaded twice answers otherwise")
