"""A world for tests: a few synthetic identities, networks that train on them in a second, and nothing to download.

Shapes: N images, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mibench.api.attack import AttackContext
from mibench.api.classifier import Classifier, freeze
from mibench.api.data import GroundTruth, TensorImages
from mibench.api.defense import Defense, TrainContext
from mibench.api.images import to_uint8
from mibench.api.metric import IdentityGallery, MetricContext, MetricInputs
from mibench.api.prior import Prior
from mibench.api.rng import derive_seed, generator
from mibench.api.target import Access, Budget, TargetView
from mibench.testing.tiny_parts import TinyEmbedder, TinyPrior, smooth_noise, tiny_classifier
from mibench.testing.training import CPU, train_steps


@dataclass(frozen=True, kw_only=True)
class TinyWorld:
    """Synthetic identities: each is a smooth pattern, each of its images that pattern under another disturbance.

    Everything follows from the fields; nothing is drawn from global generators.

    Attributes:
        classes: K.
        per_class: training images per identity; as many are held out.
        size: side in pixels.
        channels: 1 or 3.
        noise: strength of the disturbance in [0, 1] units; identities differ by about 0.2.
        seed: of everything.
    """

    classes: int = 4
    per_class: int = 6
    size: int = 16
    channels: int = 3
    noise: float = 0.1
    seed: int = 0

    def images(self, part: str = "train") -> TensorImages:
        """Return the images of a part ("train" or "heldout", or any other name), ordered by class."""
        own = smooth_noise(self.classes, self.channels, self.size, generator("tiny identities", self.seed))
        labels_N = torch.arange(self.classes).repeat_interleave(self.per_class)
        rng = generator("tiny images", self.seed, part)
        disturbance = smooth_noise(len(labels_N), self.channels, self.size, rng, grid=8)
        return TensorImages(to_uint8(0.5 + 0.2 * own[labels_N] + self.noise * disturbance), labels_N, self.classes)

    def batch(self, size: int = 8) -> tuple[Tensor, Tensor]:
        """Return fixed training images (B, C, H, W) and labels (B,), several classes among them."""
        data = self.images()
        picked = torch.randperm(len(data), generator=generator("tiny batch", self.seed))[:size]
        return data.images(picked), data.labels_N[picked]

    def classifier(self, *, seed: int = 0, width: int = 8) -> Classifier:
        """Return an untrained classifier in training mode."""
        return tiny_classifier(self.classes, self.channels, seed=derive_seed(self.seed, seed), width=width)

    def trained(self, *, seed: int = 0) -> Classifier:
        """Return a frozen classifier after a short plain training."""
        classifier = self.classifier(seed=seed)
        classifier.load_state_dict(_trained_weights(self, seed))
        return freeze(classifier)

    def prior(self) -> Prior:
        """Return a frozen linear prior."""
        return freeze(TinyPrior(self.channels, self.size, seed=self.seed))

    def context(self, *, epochs: int = 2, steps_per_epoch: int = 3, seed: int = 0) -> TrainContext:
        """Return the context of a training that is about to begin."""
        return TrainContext(
            num_classes=self.classes,
            channels=self.channels,
            size=self.size,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            device=CPU,
            rng=generator("tiny defense", self.seed, seed),
            batch=-(-self.classes * self.per_class // steps_per_epoch),
            num_images=self.classes * self.per_class,
        )

    def target(self, access: Access = Access.WHITE_BOX, *, budget: Budget | None = None) -> TargetView:
        """Return a view of a trained classifier."""
        return TargetView(self.trained(), access, classes=self.classes, budget=budget)

    def attack_context(self, *, seed: int = 0) -> AttackContext:
        """Return the context of an attack, with public images of other identities."""
        public = TinyWorld(
            classes=self.classes, per_class=self.per_class, size=self.size, channels=self.channels, seed=self.seed + 1
        )
        return AttackContext(
            seed=seed, size=self.size, channels=self.channels, device=CPU, public=public.images("public")
        )

    def evidence(self) -> MetricInputs:
        """Return complete evidence; the reconstructions are disturbed training images, in mixed order."""
        made = self.images("reconstructions")
        order = torch.randperm(len(made), generator=generator("tiny order", self.seed))
        mixed = made.subset(order)
        return MetricInputs(
            num_classes=self.classes,
            heldout=self.images("heldout"),
            gallery=self.images(),
            images_NCHW=mixed.all_images(),
            labels_N=mixed.labels_N,
            target=self.trained(),
            evaluators={"tiny": self.trained(seed=1), "other": self.trained(seed=2)},
            embedder=TinyEmbedder(),
            identities=self.people(),
        )

    def people(self) -> IdentityGallery:
        """Return the people among whom a judge looks: the training images, and as many distractors with one each."""
        others = TinyWorld(
            classes=self.classes, per_class=1, size=self.size, channels=self.channels, seed=self.seed + 2
        )
        return IdentityGallery(self.images(), others.images(), self._shapes(self.seed), self._shapes(others.seed))

    def _shapes(self, seed: int) -> GroundTruth:
        """Draw four points of each identity, in millimetres."""
        return GroundTruth(10 * torch.randn(self.classes, 12, generator=generator("tiny shapes", seed)))

    def metric_context(self, *, seed: int = 0) -> MetricContext:
        """Return the context of a measurement."""
        return MetricContext(seed=seed, device=CPU)


@lru_cache(maxsize=8)
def _trained_weights(world: TinyWorld, seed: int) -> dict[str, Tensor]:
    return train_steps(Defense(), world, epochs=8, seed=seed).model.state_dict()
