"""The components of the fake plugin. Shapes as in ``mibench.api``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mibench.api import (
    Arm,
    Attack,
    AttackContext,
    ClassFailed,
    Classifier,
    ClassResult,
    Dataset,
    Defense,
    Design,
    Embedder,
    ExtraMetric,
    Figure,
    Findings,
    FlatNames,
    GroundTruth,
    IdentityGallery,
    ImageSet,
    InferenceOnly,
    InputFile,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    Model,
    OmitIfDefault,
    Prior,
    PriorModel,
    PriorTrainer,
    SelfCheck,
    Step,
    Study,
    StudyContext,
    StudyEvidence,
    Table,
    TargetView,
    TensorImages,
    TrainContext,
    Transform,
    WarmStart,
    class_means,
    freeze,
    generator,
    to_uint8,
)
from mibench.testing.tiny_parts import TinyEmbedder, smooth_noise, tiny_classifier

IMAGES = 8
GALLERIES: list[IdentityGallery] = []
"""Among whom metrics of this process looked."""
SEEN: list[tuple[TargetView, Prior, AttackContext]] = []
"""What attacks of this process were handed."""


@dataclass(frozen=True, kw_only=True)
class Blobs(Dataset):
    """Each identity is a smooth pattern under 8 disturbances; its images can be told by their content alone."""

    identities: Annotated[int, Ge(1)] = 12

    def num_identities(self) -> int:
        return self.identities

    def groups(self) -> dict[str, list[str]]:
        return {"parity": ["odd" if identity % 2 else "even" for identity in range(self.identities)]}

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> TensorImages:
        pixels = []
        for identity in identities:
            own = smooth_noise(1, channels, size, generator("blob", identity))
            noise = smooth_noise(IMAGES, channels, size, generator("blob images", identity), grid=8)
            pixels.append(to_uint8(0.5 + 0.2 * own + 0.1 * noise))
        labels = torch.arange(len(identities)).repeat_interleave(IMAGES)
        return TensorImages(torch.cat(pixels), labels, len(identities))

    def portraits(self, identities: Sequence[int], *, size: int, channels: int, take: int = 0) -> TensorImages:
        pixels = []
        for identity in identities:
            own = smooth_noise(1, channels, size, generator("blob", identity))
            noise = smooth_noise(1, channels, size, generator("blob portrait", identity), grid=8)
            pixels.append(to_uint8(0.5 + 0.2 * own + 0.02 * take * noise))
        return TensorImages(torch.cat(pixels), torch.arange(len(identities)), len(identities))

    def truth(self, identities: Sequence[int]) -> GroundTruth:
        return GroundTruth(torch.tensor([[float(identity), 0.0, 0.0] for identity in identities]))


@dataclass(frozen=True, kw_only=True)
class Tiny(Model):
    """A two-block CNN."""

    presets: ClassVar = {"wide": {"width": 6}}
    width: Annotated[int, Ge(1)] = 4

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        seed = int(torch.randint(2**31, ()))  # the core seeded the global generator
        return tiny_classifier(num_classes, channels, seed=seed, width=self.width)


@dataclass(frozen=True, kw_only=True)
class Filed(Tiny):
    """Starts from weights that a file scales."""

    scale: Annotated[str, InputFile("none")] = "none"

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        made = super().build(num_classes=num_classes, channels=channels, size=size)
        if self.scale != "none":
            with torch.no_grad():
                for weight in made.parameters():
                    weight *= float(Path(self.scale).read_text())
        return made


@dataclass(frozen=True, kw_only=True)
class Trap(Tiny):
    """An evaluator that nobody may touch."""

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        raise AssertionError("the evaluator was used")


@dataclass(frozen=True, kw_only=True)
class Coarse(TinyEmbedder):
    """An embedder."""


@dataclass(frozen=True, kw_only=True)
class TrapEye(Embedder):
    """An embedder that nobody may touch."""

    def embed(self, x_NCHW: Tensor) -> Tensor:
        raise AssertionError("the embedder was used")


class LinearPrior(Prior):
    """Mean image plus a linear map of the noise, both learned."""

    latent_layers, latent_size, noise_size = 1, 4, 4

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.full((channels, size, size), 0.5))
        self.basis = nn.Parameter(0.05 * torch.randn(4, channels, size, size))

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        return truncation * z_BZ[:, None, :]

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: object = None) -> Tensor:
        return self.mean + torch.tensordot(latent_BLW[:, 0], self.basis, dims=1)


class LinearTrainer(PriorTrainer):
    """Gradient steps with momentum, so that there is state beside the weights."""

    def __init__(self, prior: LinearPrior, images: ImageSet, steps: int, seed: int) -> None:
        self.prior, self.images, self.total_steps, self.seed = prior, images, steps, seed
        self.velocity = {name: torch.zeros_like(p) for name, p in prior.named_parameters()}

    def step(self, index: int) -> dict[str, float]:
        rng = generator(self.seed, "step", index)
        picked = torch.randint(len(self.images), (4,), generator=rng)
        loss = (self.prior.render(self.prior.sample(4, rng)[:, None]) - self.images.images(picked)).square().mean()
        self.prior.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, parameter in self.prior.named_parameters():
                self.velocity[name] = 0.9 * self.velocity[name] + parameter.grad
                parameter -= self.velocity[name]
        return {"loss": float(loss.detach())}

    def state(self) -> dict[str, Tensor]:
        return {**self.prior.state_dict(), **{f"velocity.{name}": v for name, v in self.velocity.items()}}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.prior.load_state_dict({name: t for name, t in state.items() if not name.startswith("velocity.")})
        self.velocity = {name: state[f"velocity.{name}"] for name in self.velocity}

    def finish(self) -> Prior:
        return freeze(self.prior)


@dataclass(frozen=True, kw_only=True)
class Linear(PriorModel):
    """A linear prior.

    Attributes:
        steps: gradient steps.
        gain: contrast of a trained prior in attacks.
    """

    presets: ClassVar = {"loud": {"gain": 2.0}}
    steps: Annotated[int, Ge(1)] = 10
    gain: Annotated[float, Gt(0), InferenceOnly()] = 1.0

    def deploy(self, prior: Prior) -> Prior:
        prior.basis.mul_(self.gain)
        return prior

    def build(self, *, channels: int, size: int) -> Prior:
        return LinearPrior(channels, size)

    def trainer(self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device) -> PriorTrainer:
        return LinearTrainer(prior, images, self.steps, seed)


@dataclass(frozen=True, kw_only=True)
class Plain(Defense):
    """Plain training."""


@dataclass(frozen=True, kw_only=True)
class Guided(PriorModel):
    """A linear prior whose training looks at the target's features, one pass of two images per step."""

    needs_target = True

    steps: Annotated[int, Ge(1)] = 6

    def build(self, *, channels: int, size: int, classes: int = 0) -> Prior:
        prior = LinearPrior(channels, size)
        prior.classes = classes
        return prior

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        inner = LinearTrainer(prior, images, self.steps, seed)
        step = inner.step

        def guided(index: int) -> dict[str, float]:
            target.features(images.images(torch.arange(2)))
            return step(index)

        inner.step = guided
        return inner


@dataclass(frozen=True, kw_only=True)
class Noisy(Defense):
    """Noise on inputs, with everything that a resume can get wrong: own draws in every hook and state beside the model.

    Attributes:
        lam: strength of the noise.
    """

    presets: ClassVar = {"toy": {"lam": 0.25}, "strong": {"lam": 0.5}}
    lam: Annotated[float, Ge(0), Le(1)] = 0.125

    def cost(self) -> float:
        return 2.0

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        critic = nn.Linear(classifier.feature_dim, 1)
        ctx.extras["critic"] = critic
        ctx.extras["critic optimizer"] = torch.optim.Adam(critic.parameters(), lr=0.01)
        ctx.extras["trigger"] = torch.randn(ctx.channels, ctx.size, ctx.size, generator=ctx.rng)
        ctx.extras["bias"] = torch.zeros(1)
        return classifier

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        ctx.extras["bias"].copy_(torch.rand(1, generator=ctx.rng))

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        noise = torch.randn(x_BCHW.shape, generator=ctx.rng) + ctx.extras["trigger"]
        outputs = model.outputs(x_BCHW + self.lam * (noise + ctx.extras["bias"]))
        critic, optimizer = ctx.extras["critic"], ctx.extras["critic optimizer"]
        optimizer.zero_grad()
        critic(outputs.features.detach()).square().mean().backward()
        optimizer.step()
        loss = cross_entropy(outputs.logits, y_B) + 0.1 * critic(outputs.features).square().mean()
        return Step(loss, {"noise": float(noise.std())})

    def on_epoch_end(self, model: Classifier, ctx: TrainContext) -> None:
        ctx.extras["trigger"].mul_(0.9).add_(0.1 * torch.rand(1, generator=ctx.rng))


@dataclass(frozen=True, kw_only=True)
class Warm(Defense):
    """Starts from a public pre-training and remembers the first weights that it was given."""

    def starts_from(self) -> WarmStart:
        return WarmStart("public")

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        first = next(classifier.parameters()).detach().clone()
        ctx.extras["first"] = first
        ctx.extras["started"] = torch.tensor(ctx.start is not None)
        return classifier


@dataclass(frozen=True, kw_only=True)
class Staged(Defense):
    """Trains in two stages: the second is given what the first left behind.

    Attributes:
        stage: which of the two.
    """

    stage: Literal["first", "second"] = "second"

    def starts_from(self) -> WarmStart | None:
        return WarmStart("private", replace(self, stage="first")) if self.stage == "second" else None

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        ctx.extras["found"] = torch.zeros(1)
        if self.stage == "second" and ctx.start is not None:
            ctx.extras["found"] = ctx.start["mark"].clone()
        return classifier

    def on_epoch_end(self, model: Classifier, ctx: TrainContext) -> None:
        if self.stage == "first":
            ctx.extras["mark"] = torch.full((1,), float(ctx.epoch + 1))


@dataclass(frozen=True, kw_only=True)
class Flipped(Defense):
    """Mirrors every training image: changes the transform alone.

    Attributes:
        both: upside down too.
    """

    both: bool = False

    def train_transform(self, base: Transform, ctx: TrainContext) -> Transform:
        ctx.extras["count"] = torch.zeros(1)

        def transform(x_BCHW: Tensor) -> Tensor:
            ctx.extras["count"] += 1
            return base(x_BCHW).flip(2, 3) if self.both else base(x_BCHW).flip(3)

        return transform

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        return SelfCheck(bool(ctx.extras["count"] > 0), {"count": float(ctx.extras["count"])}, "mirrored")


@dataclass(frozen=True, kw_only=True)
class Broken(Defense):
    """Raises in the first step."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        raise RuntimeError("this defense is broken")


@dataclass(frozen=True, kw_only=True)
class Diverging(Defense):
    """Its loss is NaN from the fourth step on."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        loss = cross_entropy(model(x_BCHW), y_B)
        return Step(loss * float("nan") if ctx.step >= 4 else loss)


@dataclass(frozen=True, kw_only=True)
class Deadly(Defense):
    """Kills its process, as the kernel does when memory runs out. Only for worker processes."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


@dataclass(frozen=True, kw_only=True)
class Busy(Defense):
    """Computes for ever, after it has left its process's number in the file that ``$FAKE_BUSY`` names."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        place = Path(os.environ["FAKE_BUSY"])
        place.with_suffix(".new").write_text(str(os.getpid()))
        place.with_suffix(".new").rename(place)
        while True:
            model(x_BCHW)


@dataclass(frozen=True, kw_only=True)
class Quitting(Defense):
    """Ends the program, as a script would."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        sys.exit(0)


@dataclass(frozen=True, kw_only=True)
class Guess(Attack):
    """A few gradient steps per class from shared random starts.

    Attributes:
        steps: gradient steps.
        images: images to deliver.
        lr: length of a step.
    """

    presets: ClassVar = {"quick": {"steps": 3}, "deep": {"steps": 4}}
    steps: Annotated[int, Ge(1)] = 2
    images: Annotated[int, Ge(1)] = 3
    lr: Annotated[float, Gt(0)] = 0.1

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Tensor:
        SEEN.append((target, prior, ctx))
        starts = prior.sample(self.images, ctx.rng("starts"))
        target.logits(self._render(prior, starts, ctx))
        return starts

    def reconstruct(
        self, label: int, shared: Tensor, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        wanted = torch.full((self.images,), label)
        z_NZ = (shared + 0.1 * prior.sample(self.images, ctx.rng("class", label))).requires_grad_()
        losses = []
        with target.spending() as spent:
            for _ in range(self.steps):
                loss = cross_entropy(target.logits(self._render(prior, z_NZ, ctx)), wanted)
                (gradient,) = torch.autograd.grad(loss, z_NZ)
                z_NZ = (z_NZ - self.lr * gradient.sign()).detach().requires_grad_()
                losses.append(float(loss.detach()))
            images = self._render(prior, z_NZ, ctx).detach()
            scores = target.logits(images)[:, label].detach()
        return ClassResult(label, images, scores, spent, {"loss": losses})

    def _render(self, prior: Prior, z_NZ: Tensor, ctx: AttackContext) -> Tensor:
        return prior.crop_and_resize(prior.render(prior.to_latent(z_NZ)), ctx.size).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """A group of parameters.

    Attributes:
        width: a number.
        start: a file, if there is one.
    """

    width: Annotated[float, Gt(0)] = 1.0
    start: Annotated[str, InputFile()] = ""


@dataclass(frozen=True, kw_only=True)
class Grouped(Guess):
    """Has parameters in groups, which change nothing.

    Attributes:
        old: a group whose parameters had flat names before.
        new: a group that was there from the beginning.
    """

    presets: ClassVar = {"broad": {"old": {"width": 8.0}, "new.width": 9.0}, "toy": {"width": 2.0}}
    old: Annotated[Knobs, FlatNames(start="begin")] = Knobs(width=3.0)
    new: Knobs = Knobs(width=4.0)


@dataclass(frozen=True, kw_only=True)
class Reader(Guess):
    """Needs the public images."""

    needs_public: ClassVar = True


@dataclass(frozen=True, kw_only=True)
class Picky(Guess):
    """Uses all that an attack may: a prior of its own, tensors that it remembers, a judge; and fails on some classes.

    Attributes:
        fails: classes for which there is nothing to deliver.
        brings: prior to attack with.
        judged: choose by an evaluator.
        trains: steps for which the prior is trained on, before the attack.
        younger: a parameter that came later.
    """

    fails: tuple[int, ...] = ()
    brings: str = ""
    judged: bool = False
    trains: Annotated[int, Ge(0)] = 0
    younger: Annotated[int, Ge(0), OmitIfDefault()] = 7

    def prior_choice(self) -> str | None:
        return self.brings or None

    def uses_evaluator(self) -> bool:
        return self.judged

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Tensor:
        SEEN.append((target, prior, ctx))
        if self.trains:
            shown = to_uint8(prior.render(prior.to_latent(prior.sample(4, ctx.rng("shown")))).detach())
            images = TensorImages(shown, torch.zeros(4, dtype=torch.long), 1)
            SEEN.append((prior, ctx.train_prior(prior, images, self.trains, "on"), ctx))

        def make() -> dict[str, Tensor]:
            images = prior.render(prior.to_latent(prior.sample(5, ctx.rng("remember")))).clamp(0, 1)
            return {"starts": torch.rand(self.images, prior.noise_size), "seen": target.logits(images)}

        return ctx.cached("starts", make)["starts"]

    def reconstruct(
        self, label: int, shared: Tensor, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        result = super().reconstruct(label, shared, target, prior, ctx)
        if label in self.fails:
            raise ClassFailed(f"class {label}: nothing finite")
        return result


@dataclass(frozen=True, kw_only=True)
class Pool(Attack):
    """The floor: samples that the target likes best."""

    size: Annotated[int, Ge(2)] = 4

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> tuple[Tensor, Tensor]:
        images = prior.render(prior.to_latent(prior.sample(self.size, ctx.rng("pool")))).clamp(0, 1).detach()
        return images, target.logits(images).detach()

    def reconstruct(
        self, label: int, shared: tuple[Tensor, Tensor], target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        images, logits = shared
        best = logits[:, label].topk(2).indices
        with target.spending() as spent:
            pass
        return ClassResult(label, images[best], logits[best, label], spent)


@dataclass(frozen=True, kw_only=True)
class Hits(Metric):
    """Accuracy of the target."""

    subject: ClassVar = "target"
    needs: ClassVar = frozenset({"target"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        data = evidence.heldout
        right = (evidence.target(data.all_images()).argmax(1) == data.labels_N).float()
        return [_measured("accuracy", right, data.labels_N, evidence.num_classes, higher_is_better=True)]


@dataclass(frozen=True, kw_only=True)
class Match(Metric):
    """Whether the judges name the intended class among their first ``k``, and whether the embedder is near."""

    needs: ClassVar = frozenset({"evaluators", "embedder"})
    k: Annotated[int, Ge(1)] = 1

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        images, labels = evidence.images_NCHW, evidence.labels_N
        (judge,) = evidence.evaluators.values()
        named = (judge(images).topk(self.k, dim=1).indices == labels[:, None]).any(1).float()
        gallery = evidence.embedder.embed(evidence.gallery.all_images())
        near = (evidence.embedder.embed(images) @ gallery.T).max(1).values
        k = evidence.num_classes
        return [
            _measured(f"match@{self.k}", named, labels, k, higher_is_better=False),
            _measured("near", near, labels, k, higher_is_better=False),
        ]


@dataclass(frozen=True, kw_only=True)
class Light(Metric):
    """Brightness of the reconstructions, times a factor."""

    scale: float = 1.0

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        values = self.scale * evidence.images_NCHW.mean((1, 2, 3))
        return [_measured("light", values, evidence.labels_N, evidence.num_classes, higher_is_better=True)]


@dataclass(frozen=True, kw_only=True)
class Found(Metric):
    """Share of reconstructions to which nobody in the gallery is nearer than the right person."""

    needs: ClassVar = frozenset({"embedder", "identities"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        people, embed = evidence.identities, evidence.embedder.embed
        GALLERIES.append(people)
        pictures, owners = people.private.all_images(), people.private.labels_N
        if people.distractors is not None:
            pictures = torch.cat([pictures, people.distractors.all_images()])
            owners = torch.cat([owners, people.private.num_classes + people.distractors.labels_N])
        nearest = (embed(evidence.images_NCHW) @ embed(pictures).T).argmax(1)
        hit = (owners[nearest] == evidence.labels_N).float()
        return [_measured("found", hit, evidence.labels_N, evidence.num_classes, higher_is_better=False)]


def _measured(name: str, values: Tensor, labels: Tensor, classes: int, *, higher_is_better: bool) -> Measurement:
    return Measurement(
        name=name,
        value=float(values.double().mean()),
        unit={"near": "cosine", "light": "brightness"}.get(name, "fraction"),
        higher_is_better=higher_is_better,
        n=len(values),
        per_class=class_means(values, labels, classes),
    )


@dataclass(frozen=True, kw_only=True)
class Lottery(Study):
    """Which of two arms leaks more, decided by the mean.

    Attributes:
        seed: of the draw that says who is treated.
        extra: measure one metric more.
        arm: defense of the treated arm.
    """

    claim: ClassVar = "The treated leak less."
    rule: ClassVar = "It holds if their mean leakage is lower."

    seed: int = 0
    extra: bool = False
    arm: str = "noisy"

    def metrics(self) -> Sequence[ExtraMetric]:
        return (ExtraMetric(name="found"),) if self.extra else ()

    def design(self, ctx: StudyContext) -> Design:
        order = torch.randperm(4, generator=torch.Generator().manual_seed(self.seed)).tolist()
        arms = (
            Arm(name="control", seeds=tuple(order[:2])),
            Arm(name="treated", defense=self.arm, seeds=tuple(order[2:])),
        )
        return Design(arms=(*arms, Arm(name="odd", defense="missing", optional=True)), notes={"order": order})

    def analyse(self, evidence: StudyEvidence) -> Findings:
        by_arm = {}
        for cell in evidence.cells:
            by_arm.setdefault(cell.arm, []).append(cell.metrics[evidence.headline].value)
        for name in ("control", "treated"):
            evidence.require(len(by_arm.get(name, ())), 2, f"records of the arm {name}")
        means = {name: sum(values) / len(values) for name, values in by_arm.items()}
        answer = "holds" if means["treated"] < means["control"] else "does not hold"
        rows = tuple((cell.arm, cell.seed, cell.metrics[evidence.headline].value) for cell in evidence.cells)
        table = Table(title="all", columns=("arm", "seed", "leakage"), rows=rows)
        figure = Figure(title="none", description="nothing", svg=b"<svg/>", png=b"\x89PNG")
        return Findings(
            answer=answer, verdict=f"Means are {means}.", tables={"cells": table}, figures={"figure": figure}
        )
