"""The components of the tiny plugin.

Shapes: N images, B of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api.attack import Attack, AttackContext, ClassResult
from mibench.api.classifier import Classifier, Model, freeze
from mibench.api.data import Dataset, GroundTruth, ImageSet, TensorImages
from mibench.api.defense import Defense, Step, TrainContext
from mibench.api.images import to_uint8
from mibench.api.metric import Measurement, Metric, MetricContext, MetricInputs, Need, class_means
from mibench.api.prior import Prior, PriorModel, PriorTrainer
from mibench.api.rng import generator
from mibench.api.target import Access, TargetView
from mibench.testing.tiny_parts import TinyEmbedder, TinyPrior, smooth_noise, tiny_classifier


@dataclass(frozen=True, kw_only=True)
class TinyFaces(Dataset):
    """Each identity is a smooth pattern; each of its images that pattern under another disturbance.

    Attributes:
        identities: how many there are.
        per_identity: images of each.
        noise: strength of the disturbance in [0, 1] units.
    """

    identities: Annotated[int, Ge(1)] = 8
    per_identity: Annotated[int, Ge(1)] = 9
    noise: Annotated[float, Ge(0)] = 0.1

    def num_identities(self) -> int:
        """Return their number."""
        return self.identities

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> TensorImages:
        """Draw the images of these identities."""
        pixels = []
        for identity in identities:
            own = smooth_noise(1, channels, size, generator("tiny face", identity))
            rng = generator("tiny face images", identity)
            disturbance = smooth_noise(self.per_identity, channels, size, rng, grid=8)
            pixels.append(to_uint8(0.5 + 0.2 * own + self.noise * disturbance))
        labels_N = torch.arange(len(identities)).repeat_interleave(self.per_identity)
        return TensorImages(torch.cat(pixels), labels_N, len(identities))

    def portraits(self, identities: Sequence[int], *, size: int, channels: int, take: int = 0) -> TensorImages:
        """Draw the patterns of these identities; the first take is not disturbed at all."""
        pixels = []
        for identity in identities:
            own = smooth_noise(1, channels, size, generator("tiny face", identity))
            rng = generator("tiny face portraits", identity, take)
            disturbance = smooth_noise(1, channels, size, rng, grid=8) if take else torch.zeros_like(own)
            pixels.append(to_uint8(0.5 + 0.2 * own + self.noise * disturbance))
        return TensorImages(torch.cat(pixels), torch.arange(len(identities)), len(identities))

    def truth(self, identities: Sequence[int]) -> GroundTruth:
        """Draw four points of each identity, in millimetres."""
        return GroundTruth(torch.stack([10 * torch.randn(12, generator=generator("tiny face", i)) for i in identities]))


@dataclass(frozen=True, kw_only=True)
class TinyNet(Model):
    """A two-block CNN."""

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        """Make one; its weights follow the global generator, which the core has seeded."""
        return tiny_classifier(num_classes, channels, seed=int(torch.randint(2**31, ())))


@dataclass(frozen=True, kw_only=True)
class TinyEye(TinyEmbedder):
    """Coarse colours."""


class _Approach(PriorTrainer):
    """Pulls the patterns of a linear prior towards public images."""

    def __init__(self, prior: TinyPrior, images: ImageSet, steps: int, seed: int) -> None:
        self.prior, self.images, self.total_steps, self.seed = prior, images, steps, seed

    def step(self, index: int) -> dict[str, float]:
        rng = generator(self.seed, "step", index)
        picked_W = torch.randint(len(self.images), (self.prior.noise_size,), generator=rng)
        distance_WCHW = 0.1 * (self.images.images(picked_W) - 0.5) - self.prior.basis_WCHW
        self.prior.basis_WCHW += 0.1 * distance_WCHW
        return {"distance": float(distance_WCHW.square().mean())}

    def state(self) -> dict[str, Tensor]:
        return {"basis": self.prior.basis_WCHW}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.prior.basis_WCHW.copy_(state["basis"])

    def finish(self) -> Prior:
        return freeze(self.prior)


@dataclass(frozen=True, kw_only=True)
class TinyPatterns(PriorModel):
    """A linear prior.

    Attributes:
        steps: of its training.
    """

    steps: Annotated[int, Ge(1)] = 4

    def build(self, *, channels: int, size: int, classes: int = 0) -> Prior:
        """Make an untrained one."""
        return TinyPrior(channels, size)

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return its training."""
        if not isinstance(prior, TinyPrior):
            raise TypeError(f"expected a TinyPrior, got a {type(prior).__name__}")
        return _Approach(prior, images, self.steps, seed)


@dataclass(frozen=True, kw_only=True)
class TinyPlain(Defense):
    """Plain training."""


@dataclass(frozen=True, kw_only=True)
class TinyFailing(Defense):
    """Raises in its first step."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Raise."""
        raise RuntimeError("this defense fails, for a contract to see what becomes of the others")


@dataclass(frozen=True, kw_only=True)
class TinyChoice(Attack):
    """Delivers the samples of the prior that the target is surest of.

    Attributes:
        pool: samples.
        keep: images to deliver.
        brings: prior to attack with; empty for the protocol's.
    """

    access: ClassVar[Access] = Access.SCORES

    pool: Annotated[int, Ge(1)] = 8
    keep: Annotated[int, Ge(1)] = 2
    brings: str = ""

    def prior_choice(self) -> str | None:
        """Return the prior that it brings."""
        return self.brings or None

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> tuple[Tensor, Tensor]:
        """Score a pool."""
        with torch.no_grad():
            latent_NLW = prior.to_latent(prior.sample(self.pool, ctx.rng("pool")))
            x_NCHW = prior.crop_and_resize(prior.render(latent_NLW).clamp(0, 1), ctx.size)
        return x_NCHW, target.logits(x_NCHW).log_softmax(1)

    def reconstruct(
        self, label: int, shared: tuple[Tensor, Tensor], target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Choose the best of the pool."""
        x_NCHW, scores_NK = shared
        best = scores_NK[:, label].topk(self.keep).indices
        with target.spending() as spent:
            pass
        return ClassResult(label, x_NCHW[best], scores_NK[best, label], spent)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Every sample once, for all classes together."""
        return {"forward": self.pool, "backward": 0, "render": self.pool}


@dataclass(frozen=True, kw_only=True)
class TinyWhiteBoxChoice(TinyChoice):
    """The same with all access, as priors that the target guides demand."""

    access: ClassVar[Access] = Access.WHITE_BOX


@dataclass(frozen=True, kw_only=True)
class TinyNear(Metric):
    """Cosine between a reconstruction and the nearest training image, by the protocol's embedder."""

    needs: ClassVar[frozenset[Need]] = frozenset({"embedder"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Measure it."""
        if evidence.embedder is None:
            raise ValueError("the embedder that was asked for is absent")
        made_ND = evidence.embedder.embed(evidence.images_NCHW)
        near_N = (made_ND @ evidence.embedder.embed(evidence.gallery.all_images()).T).amax(1)
        row: dict[str, Any] = {"unit": "cosine", "higher_is_better": False, "n": len(near_N)}
        per_class = class_means(near_N, evidence.labels_N, evidence.num_classes)
        return [Measurement(name="near", value=near_N.double().mean().item(), per_class=per_class, **row)]
