"""The contracts let honest components pass and catch broken ones, each by the check that is meant for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import pytest
import torch
from annotated_types import Gt
from torch import Tensor

from mibench.api import (
    Access,
    Attack,
    AttackContext,
    Classifier,
    ClassResult,
    Column,
    Dataset,
    Defense,
    GroundTruth,
    ImageSet,
    Ledger,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    Prior,
    PriorModel,
    PriorTrainer,
    SelfCheck,
    Step,
    TargetView,
    TensorImages,
    TrainContext,
    class_means,
    freeze,
    generator,
)
from mibench.testing import (
    AttackContract,
    DatasetContract,
    DefenseContract,
    MetricContract,
    PriorContract,
    TinyPrior,
    TinyWorld,
    contract_for,
    run_checks,
)
from mibench.testing.tiny_components import TinyFaces


def caught(kind: str, component: type) -> set[str]:
    """Return the names of the checks that a component does not pass."""
    return {o.check for o in run_checks(contract_for(kind, component)) if o.verdict in {"failed", "error"}}


# --- parameters ---


@dataclass(frozen=True, kw_only=True)
class Noisy(Defense):
    """Plain training on noisy images.

    Attributes:
        strength: standard deviation of the noise.
    """

    strength: Annotated[float, Gt(0)] = 0.01

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        noise = torch.randn(x_BCHW.shape, generator=ctx.rng)
        return super().training_step(model, x_BCHW + self.strength * noise, y_B, ctx)


class TestHonestDefense(DefenseContract):
    component = Noisy
    settings: ClassVar = {"strength": "0.02"}


@dataclass(kw_only=True)
class Careless(Defense):
    """Neither frozen nor documented, with a preset that does not exist."""

    presets: ClassVar = {"paper": {"strenght": 2.0}}
    strength: float = 0.01


def test_careless_parameters_are_caught():
    expected = {"is_a_frozen_dataclass", "parameters_are_documented", "presets_are_valid"}
    assert caught("defense", Careless) == expected


# --- defenses ---


@dataclass(frozen=True, kw_only=True)
class DrawsGlobally(Noisy):
    """Draws from torch's global generator."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        return Defense.training_step(self, model, x_BCHW + 0.01 * torch.randn(x_BCHW.shape), y_B, ctx)


@dataclass(frozen=True, kw_only=True)
class WritesInputs(Noisy):
    """Changes the batch in place."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        return Defense.training_step(self, model, x_BCHW.mul_(0.5), y_B, ctx)


@dataclass(frozen=True, kw_only=True)
class Unseeded(Noisy):
    """Draws from the operating system."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        return Defense.training_step(self, model, x_BCHW + 0.01 * os.urandom(1)[0] / 255, y_B, ctx)


@dataclass(frozen=True, kw_only=True)
class NoGradient(Noisy):
    """Cuts the graph."""

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        loss = super().training_step(model, x_BCHW, y_B, ctx).loss
        return Step(loss.detach().requires_grad_(True) * 1)


class Softmaxed(Classifier):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW).softmax(1)


@dataclass(frozen=True, kw_only=True)
class Probabilities(Noisy):
    """Deploys probabilities."""

    def inference(self, model: Classifier, ctx: TrainContext) -> Classifier:
        wrapped = Softmaxed(
            model.body, head="fc", stage_names=[], mean=[0.5] * 3, std=[0.25] * 3, channels=model.channels
        )
        return wrapped.eval()


@dataclass(frozen=True, kw_only=True)
class Remembers(Noisy):
    """Keeps state on itself."""

    def on_epoch_end(self, model: Classifier, ctx: TrainContext) -> None:
        object.__setattr__(self, "epochs_seen", ctx.epoch)


class Scaled(Classifier):
    scale = 1.0

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.scale * super().forward(x_BCHW)


@dataclass(frozen=True, kw_only=True)
class LosesState(Noisy):
    """Deploys with a number that no artifact keeps."""

    def on_epoch_end(self, model: Classifier, ctx: TrainContext) -> None:
        ctx.extras["scale"] = [3.0]

    def inference(self, model: Classifier, ctx: TrainContext) -> Classifier:
        model.__class__ = Scaled
        model.scale = ctx.extras.get("scale", [1.0])[0]
        return model


@dataclass(frozen=True, kw_only=True)
class KeepsState(LosesState):
    """Deploys with a number that artifacts keep."""

    def on_epoch_end(self, model: Classifier, ctx: TrainContext) -> None:
        ctx.extras["scale"] = torch.tensor([3.0])


@dataclass(frozen=True, kw_only=True)
class Silent(Noisy):
    """Calls itself inactive and does not say why."""

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        return SelfCheck(active=False)


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (DrawsGlobally, set()),  # the product seeds every hook
        (WritesInputs, {"inputs_are_left_alone"}),
        (Unseeded, {"same_seed_same_weights", "follows_no_global_seed", "resumes_byte_equal", "target_stage"}),
        (NoGradient, {"step_gives_finite_loss_with_gradients"}),
        (Probabilities, {"inference_returns_logits"}),
        (Remembers, {"component_keeps_no_state"}),
        (LosesState, {"state_round_trips", "resumes_byte_equal", "target_stage"}),
        (KeepsState, set()),
        (Silent, {"self_check_reports"}),
    ],
)
def test_broken_defenses_are_caught(component: type, expected: set[str]):
    assert expected <= caught("defense", component) <= expected | {"same_seed_same_weights"}


# --- attacks ---


@dataclass(frozen=True, kw_only=True)
class BestOfPrior(Attack):
    """Delivers the prior samples that the target is surest of.

    Attributes:
        pool: number of samples.
        keep: number of images.
    """

    access = Access.SCORES
    pool: Annotated[int, Gt(0)] = 16
    keep: Annotated[int, Gt(0)] = 3

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Any:
        return None

    def candidates(self, label: int, prior: Prior, ctx: AttackContext) -> Tensor:
        noise = prior.sample(self.pool, ctx.rng("class", label))
        return prior.crop_and_resize(prior.render(prior.to_latent(noise)), ctx.size).clamp(0, 1)

    def reconstruct(self, label: int, shared: Any, target: TargetView, prior: Prior, ctx: AttackContext) -> ClassResult:
        with target.spending() as spent:
            images = self.candidates(label, prior, ctx)
            scores = self.scores(label, images, target)
        best = scores.topk(self.keep).indices
        return ClassResult(label, images[best], scores[best], spent)

    def scores(self, label: int, images: Tensor, target: TargetView) -> Tensor:
        return target.logits(images).log_softmax(1)[:, label]

    def cost(self, num_classes: int) -> dict[str, int]:
        return {"forward": self.pool * num_classes, "backward": 0, "render": self.pool * num_classes}


class TestHonestAttack(AttackContract):
    component = BestOfPrior
    settings: ClassVar = {"pool": 8}


@dataclass(frozen=True, kw_only=True)
class Understates(BestOfPrior):
    """Says that it spent nothing."""

    def reconstruct(self, label: int, shared: Any, target: TargetView, prior: Prior, ctx: AttackContext) -> ClassResult:
        return replace(super().reconstruct(label, shared, target, prior, ctx), spent=Ledger())


@dataclass(frozen=True, kw_only=True)
class OutOfRange(BestOfPrior):
    """Delivers what the prior rendered, unclamped and brightened."""

    def reconstruct(self, label: int, shared: Any, target: TargetView, prior: Prior, ctx: AttackContext) -> ClassResult:
        result = super().reconstruct(label, shared, target, prior, ctx)
        return replace(result, images_NCHW=result.images_NCHW + 0.5)


@dataclass(frozen=True, kw_only=True)
class DependsOnOrder(BestOfPrior):
    """Draws all classes from one generator."""

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Any:
        return ctx.rng("all classes")

    def reconstruct(self, label: int, shared: Any, target: TargetView, prior: Prior, ctx: AttackContext) -> ClassResult:
        images = prior.render(prior.to_latent(prior.sample(self.keep, shared))).clamp(0, 1)
        return ClassResult(label, images, torch.zeros(self.keep), Ledger())


@dataclass(frozen=True, kw_only=True)
class DrawsGloballyToo(BestOfPrior):
    """Draws from torch's global generator."""

    def candidates(self, label: int, prior: Prior, ctx: AttackContext) -> Tensor:
        return (super().candidates(label, prior, ctx) + 0.01 * torch.rand(1)).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class WritesTarget(BestOfPrior):
    """Changes weights of the target."""

    access = Access.WHITE_BOX

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Any:
        next(target.module().parameters()).data.mul_(1.01)


@dataclass(frozen=True, kw_only=True)
class Bypasses(BestOfPrior):
    """Asks a part of the network, which is not counted."""

    access = Access.WHITE_BOX

    def scores(self, label: int, images: Tensor, target: TargetView) -> Tensor:
        return target.module().body(images)[:, label]


@dataclass(frozen=True, kw_only=True)
class Overreaches(BestOfPrior):
    """Uses scores although it declared labels."""

    access = Access.LABELS


@dataclass(frozen=True, kw_only=True)
class Overspends(BestOfPrior):
    """Needs more than it says."""

    def cost(self, num_classes: int) -> dict[str, int]:
        return {"forward": num_classes}


@dataclass(frozen=True, kw_only=True)
class WorstFirst(BestOfPrior):
    """Delivers the best image last."""

    def reconstruct(self, label: int, shared: Any, target: TargetView, prior: Prior, ctx: AttackContext) -> ClassResult:
        result = super().reconstruct(label, shared, target, prior, ctx)
        return replace(result, images_NCHW=result.images_NCHW.flip(0), scores_N=result.scores_N.flip(0))


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (BestOfPrior, set()),
        (OutOfRange, {"delivers_images", "reconstruct_stage"}),
        (
            DependsOnOrder,
            {
                "class_order_does_not_matter",
                "stays_within_its_stated_cost",
                "states_what_each_class_spent",
                "reconstruct_stage",
            },
        ),
        (DrawsGloballyToo, set()),  # the stage seeds every class
        (WritesTarget, {"target_and_prior_are_left_alone"}),
        (Bypasses, {"every_pass_is_counted", "stays_within_its_stated_cost", "reconstruct_stage"}),
        (Overspends, {"stays_within_its_stated_cost", "reconstruct_stage"}),
        (WorstFirst, {"delivers_images"}),
        (Understates, {"states_what_each_class_spent"}),
    ],
)
def test_broken_attacks_are_caught(component: type, expected: set[str]):
    assert caught("attack", component) == expected


def test_an_attack_gets_only_the_access_it_declares():
    outcomes = {outcome.check: outcome for outcome in run_checks(contract_for("attack", Overreaches))}
    assert outcomes["delivers_images"].verdict == "error"
    assert "label-only access" in outcomes["delivers_images"].message


# --- datasets ---


@dataclass(frozen=True, kw_only=True)
class Synthetic(Dataset):
    """The tiny world's identities as a dataset."""

    def num_identities(self) -> int:
        return 4

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        data = TinyWorld(size=size, channels=channels).images()
        indices = torch.cat([(data.labels_N == identity).nonzero().flatten() for identity in identities])
        labels = torch.arange(len(identities)).repeat_interleave(6)
        return replace(data.subset(indices), labels_N=labels, num_classes=len(identities))


class TestHonestDataset(DatasetContract):
    component = Synthetic


@dataclass(frozen=True, kw_only=True)
class OwnLabels(Synthetic):
    """Labels images by identity number."""

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        data = super().load(identities, size=size, channels=channels)
        return data.relabel(torch.tensor(identities)[data.labels_N])


@dataclass(frozen=True, kw_only=True)
class Entangled(Synthetic):
    """Normalises an identity by those read with it."""

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        data = super().load(identities, size=size, channels=channels)
        return replace(data, pixels_NCHW=(data.pixels_NCHW / len(identities)).to(torch.uint8))  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class AlwaysColour(Synthetic):
    """Ignores the channels that were asked for."""

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        return super().load(identities, size=size, channels=3)


class TestDatasetWithPortraits(DatasetContract):
    component = TinyFaces


@dataclass(frozen=True, kw_only=True)
class OnePortrait(TinyFaces):
    """Gives the picture of the gallery away as gold."""

    def portraits(self, identities: Sequence[int], *, size: int, channels: int, take: int = 0) -> TensorImages:
        return super().portraits(identities, size=size, channels=channels)


@dataclass(frozen=True, kw_only=True)
class GroupPortrait(TinyFaces):
    """Draws people by their place among others."""

    def portraits(self, identities: Sequence[int], *, size: int, channels: int, take: int = 0) -> TensorImages:
        return super().portraits(range(len(identities)), size=size, channels=channels, take=take)


@dataclass(frozen=True, kw_only=True)
class RelativeTruth(TinyFaces):
    """Tells of a face how it differs from the others'."""

    def truth(self, identities: Sequence[int]) -> GroundTruth:
        values_KD = super().truth(identities).values_KD
        return GroundTruth(values_KD - values_KD.mean(0))


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (OnePortrait, {"portraits_are_one_picture_of_each"}),
        (GroupPortrait, {"portraits_are_one_picture_of_each"}),
        (RelativeTruth, {"truth_is_of_each_alone"}),
        (OwnLabels, {"labels_follow_the_request", "identities_do_not_depend_on_each_other"}),
        (Entangled, {"identities_do_not_depend_on_each_other"}),
        (AlwaysColour, {"delivers_images"}),
    ],
)
def test_broken_datasets_are_caught(component: type, expected: set[str]):
    assert caught("dataset", component) == expected


@dataclass(frozen=True, kw_only=True)
class Absent(Synthetic):
    """Waits for files."""

    def missing(self) -> list[str]:
        return ["faces.zip: get it from its owner"]


def test_a_dataset_without_its_files_is_skipped_not_failed():
    outcomes = [o for o in run_checks(contract_for("dataset", Absent)) if o.verdict != "passed"]
    assert outcomes
    assert all(o.verdict == "skipped" and o.message == "faces.zip: get it from its owner" for o in outcomes)


# --- metrics ---


@dataclass(frozen=True, kw_only=True)
class Recognised(Metric):
    """Share of reconstructions that the target takes for their class."""

    needs = frozenset({"target"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        hits = (evidence.target(evidence.images_NCHW).argmax(1) == evidence.labels_N).double()
        return [self.row(hits.mean().item(), class_means(hits, evidence.labels_N, evidence.num_classes), len(hits))]

    def row(self, value: float, per_class: list[float | None], n: int) -> Measurement:
        return Measurement(
            name="recognised", value=value, unit="fraction", higher_is_better=False, n=n, per_class=per_class
        )


class TestHonestMetric(MetricContract):
    component = Recognised


@dataclass(frozen=True, kw_only=True)
class FirstImages(Recognised):
    """Looks at the first images only."""

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        value = evidence.images_NCHW[:3].mean().item()
        return [self.row(value, class_means(evidence.labels_N.double(), evidence.labels_N, evidence.num_classes), 3)]


@dataclass(frozen=True, kw_only=True)
class Percent(Recognised):
    """Reports per cent as a fraction."""

    def row(self, value: float, per_class: list[float | None], n: int) -> Measurement:
        return super().row(100 * value, per_class, n)


@dataclass(frozen=True, kw_only=True)
class FillsIn(Recognised):
    """Reports 0 for classes without images."""

    def row(self, value: float, per_class: list[float | None], n: int) -> Measurement:
        return super().row(value, [x or 0.0 for x in per_class], n)


@dataclass(frozen=True, kw_only=True)
class Greedy(Recognised):
    """Reads what it did not ask for."""

    needs = frozenset()


@dataclass(frozen=True, kw_only=True)
class WritesEvidence(Recognised):
    """Normalises the images in place."""

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        evidence.images_NCHW.mul_(0.999)
        return super().measure(evidence, ctx)


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (FirstImages, {"image_order_does_not_matter"}),
        (Percent, {"measurements_are_complete"}),
        (FillsIn, {"classes_without_images_are_allowed"}),
        (WritesEvidence, {"evidence_is_left_alone"}),
    ],
)
def test_broken_metrics_are_caught(component: type, expected: set[str]):
    assert caught("metric", component) == expected


SHARE = Column(name="recognised")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((Column(name="recognized"),), r"columns ['recognised'] are measured but not announced"),
        ((SHARE, Column(name="more")), r"columns ['more'] are announced but not measured"),
        ((Column(name="recognised", unit="bits"),), "unit is announced as 'bits' and measured as 'fraction'"),
        ((Column(name="recognised", higher_is_better=True),), "higher_is_better is announced as True"),
        ((Column(name="recognised", high=0.01),), "values are announced from 0.0 to 0.01"),
        ((Column(name="recognised", base="attack_acc", role="attack_accuracy"),), "it is announced as {'role'"),
    ],
)
def test_columns_that_are_not_those_announced_are_caught(columns: tuple[Column, ...], words: str):
    outcomes = run_checks(contract_for("metric", Recognised, columns=columns))
    (failed,) = [outcome for outcome in outcomes if outcome.verdict != "passed"]
    assert (failed.check, failed.verdict) == ("columns_are_those_announced", "failed")
    assert words in failed.message


@dataclass(frozen=True, kw_only=True)
class Weighted(Recognised):
    """Counts classes by something else than their images."""

    def row(self, value: float, per_class: list[float | None], n: int) -> Measurement:
        odd = [None if share is None else float(label % 2) for label, share in enumerate(per_class)]
        return super().row(0.75, odd, n)


def test_a_number_that_is_no_mean_over_images_is_caught_unless_it_is_announced_as_none():
    (failed,) = [o for o in run_checks(contract_for("metric", Weighted, columns=(SHARE,))) if o.verdict != "passed"]
    assert "it is announced as a mean over images" in failed.message
    told = (replace(SHARE, average=False),)
    assert {o.verdict for o in run_checks(contract_for("metric", Weighted, columns=told))} == {"passed"}


def test_optional_columns_may_be_absent_and_a_metric_that_announces_nothing_is_not_compared():
    told = (SHARE, Column(name="more", optional=True))
    assert {o.verdict for o in run_checks(contract_for("metric", Recognised, columns=told))} == {"passed"}
    skipped = {o.check: o.message for o in run_checks(contract_for("metric", Recognised)) if o.verdict == "skipped"}
    assert list(skipped) == ["columns_are_those_announced"]
    assert "no board can check" in skipped["columns_are_those_announced"]


@dataclass(frozen=True, kw_only=True)
class RanksPeople(Recognised):
    """Looks at the people that it asked for."""

    needs = frozenset({"identities"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        assert evidence.identities is not None
        labels_N = evidence.identities.private.labels_N
        means = class_means(labels_N.double() % 2, labels_N, evidence.num_classes)
        return [self.row(0.5, [None if k not in evidence.labels_N else v for k, v in enumerate(means)], len(labels_N))]


@dataclass(frozen=True, kw_only=True)
class WritesPeople(RanksPeople):
    """Writes into the distractors that it was lent."""

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        strangers = evidence.identities and evidence.identities.distractors
        assert isinstance(strangers, TensorImages)
        strangers.pixels_NCHW.fill_(7)
        return super().measure(evidence, ctx)


def test_metrics_that_ask_for_people_get_them_and_leave_them_alone():
    assert caught("metric", RanksPeople) == set()
    assert caught("metric", WritesPeople) == {"evidence_is_left_alone"}


def test_a_metric_gets_only_the_evidence_it_asks_for():
    assert "measurements_are_complete" in caught("metric", Greedy)


# --- priors ---


class Ascent(PriorTrainer):
    """Pulls the patterns of a linear prior towards public images."""

    total_steps = 5

    def __init__(self, prior: TinyPrior, images: ImageSet, seed: int):
        self.prior, self.images, self.seed = prior, images, seed

    def step(self, index: int) -> dict[str, float]:
        picked = torch.randint(0, len(self.images), (self.prior.noise_size,), generator=generator(self.seed, index))
        distance = self.images.images(picked) - 0.5 - self.prior.basis_WCHW
        self.prior.basis_WCHW += 0.1 * distance
        return {"distance": distance.square().mean().item()}

    def state(self) -> dict[str, Tensor]:
        return {"basis": self.prior.basis_WCHW}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.prior.basis_WCHW.copy_(state["basis"])

    def finish(self) -> Prior:
        return freeze(self.prior)


@dataclass(frozen=True, kw_only=True)
class Linear(PriorModel):
    """A linear prior."""

    def build(self, *, channels: int, size: int) -> Prior:
        return TinyPrior(channels, size)

    def trainer(self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device) -> PriorTrainer:
        return Ascent(prior, images, seed)


class TestHonestPrior(PriorContract):
    component = Linear


class ClampedPrior(TinyPrior):
    def render(self, latent_BLW: Tensor, **entry: Any) -> Tensor:
        return (3 * super().render(latent_BLW) - 1).clamp(0, 1)


class BatchPrior(TinyPrior):
    def render(self, latent_BLW: Tensor, **entry: Any) -> Tensor:
        return super().render(latent_BLW - latent_BLW.mean(0))


class GlobalPrior(TinyPrior):
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self.noise_size)


@dataclass(frozen=True, kw_only=True)
class Clamped(Linear):
    """Clamps."""

    def build(self, *, channels: int, size: int) -> Prior:
        return ClampedPrior(channels, size)


@dataclass(frozen=True, kw_only=True)
class Batched(Linear):
    """Normalises over the batch."""

    def build(self, *, channels: int, size: int) -> Prior:
        return BatchPrior(channels, size)


@dataclass(frozen=True, kw_only=True)
class Global(Linear):
    """Ignores the generator that it is given."""

    def build(self, *, channels: int, size: int) -> Prior:
        return GlobalPrior(channels, size)


class Forgetful(Ascent):
    def load_state(self, state: dict[str, Tensor]) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Restarts(Linear):
    """Loses its state."""

    def trainer(self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device) -> PriorTrainer:
        return Forgetful(prior, images, seed)


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (Clamped, {"render_is_not_clamped"}),
        (Batched, {"renders_images"}),
        (Global, {"sampling_is_deterministic", "prior_stage"}),
        (Restarts, {"training_steps_and_resumes", "prior_stage"}),
    ],
)
def test_broken_priors_are_caught(component: type, expected: set[str]):
    assert caught("prior", component) == expected


# --- running ---


def test_outcomes_explain_themselves():
    outcomes = list(run_checks(contract_for("defense", WritesInputs)))
    (failed,) = [outcome for outcome in outcomes if outcome.verdict != "passed"]
    assert failed.message.startswith("the training step changed its input images in place")
    assert all(outcome.meaning.endswith(".") for outcome in outcomes)
    assert outcomes[0].check == "is_a_frozen_dataclass"


def test_kinds_without_a_contract_are_refused():
    with pytest.raises(KeyError):
        contract_for("protocol", Linear)


def test_naming_the_package_imports_nothing_heavy():
    code = "import sys, mibench.testing; sys.exit('torch' in sys.modules or 'pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
