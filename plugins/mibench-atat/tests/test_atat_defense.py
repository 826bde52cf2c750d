"""AT-AT against a step written out by hand, and what it does to a small network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mibench_atat
import pytest
import torch
from mibench_atat.defense import ACTIVE_ABOVE, AntiAdversarialTraining, draw_targets
from mibench_models.torchvision_zoo import InceptionV3
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from mibench.api import Classifier, Defense, Outputs, generator, params, pgd
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()
LARGE = {"eps": 0.05, "step_size": 0.01, "lam": 0.5}


class TestContract(DefenseContract):
    component = AntiAdversarialTraining
    settings = LARGE


class TestContractOfReleasedCode(DefenseContract):
    component = AntiAdversarialTraining
    settings = AntiAdversarialTraining.presets["compat"]


def nll_by_hand(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([-log_softmax(row, 0)[label] for row, label in zip(logits, labels, strict=True)]).mean()


def test_step_equals_hand_computation_in_float64():
    model, (x, y) = WORLD.classifier().double(), WORLD.batch()
    x = x.double()
    defense = AntiAdversarialTraining(eps=0.03, step_size=0.01, steps=3, lam=0.7)
    ctx = WORLD.context()
    state = ctx.rng.get_state()
    step = defense.training_step(model, x, y, ctx)
    step.loss.backward()
    got = {name: p.grad.clone() for name, p in model.named_parameters()}

    rng = torch.Generator()
    rng.set_state(state)
    wrong = (y + 1 + torch.randint(0, 3, y.shape, generator=rng)) % 4
    start = 0.03 * (2 * torch.rand(x.shape, generator=rng).double() - 1)
    twin = WORLD.classifier().double()
    delta = (x + start).clamp(0, 1) - x
    for _ in range(3):
        moved = (x + delta).requires_grad_(True)
        nll_by_hand(twin(moved), wrong).backward()
        delta = (delta - 0.01 * moved.grad.sign()).clamp(-0.03, 0.03)
        delta = (x + delta).clamp(0, 1) - x
    twin.zero_grad()
    anti = twin(x + delta)
    loss = nll_by_hand(twin(x), y) + 0.7 * nll_by_hand(anti, wrong)
    loss.backward()

    torch.testing.assert_close(step.loss, loss, rtol=1e-9, atol=1e-12)
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, rtol=1e-7, atol=1e-10)
    assert step.signals["targeted_success"] == (anti.argmax(1) == wrong).float().mean()


@pytest.mark.parametrize(("policy", "updates"), [("train", 7), ("frozen_stats", 2), ("eval", 2)])
def test_passes_and_batchnorm_updates_per_step(policy: str, updates: int):
    model, (x, y) = WORLD.classifier(), WORLD.batch()
    passes = []
    model.body.register_forward_pre_hook(lambda *_: passes.append(1))
    AntiAdversarialTraining(batchnorm=policy).training_step(model, x, y, WORLD.context())
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(passes) == 5 + 2
    assert [int(norm.num_batches_tracked) for norm in norms] == [updates] * 2
    assert all(norm.training and norm.track_running_stats for norm in norms)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_released_buffers_follow_the_released_order():
    model, (x, y) = WORLD.classifier(), WORLD.batch()
    seen = []
    model.body.block1[0].register_forward_hook(lambda _, __, out: seen.append(out.detach().mean((0, 2, 3))))
    AntiAdversarialTraining(**{**AntiAdversarialTraining.presets["compat"], **LARGE}).training_step(
        model, x, y, WORLD.context()
    )
    running = torch.zeros_like(seen[0])
    for mean in seen:
        running = 0.9 * running + 0.1 * mean
    torch.testing.assert_close(model.body.block1[1].running_mean, running)
    torch.testing.assert_close(seen[0], model.body.block1[0](model._prepare(x)).mean((0, 2, 3)))  # the clean pass first


def test_the_placebo_runs_everything_and_rewards_nothing():
    placebo = AntiAdversarialTraining(placebo=True, lam=0.5, batchnorm="train", eps=0.05)
    trained, plain = train_steps(placebo, WORLD), train_steps(Defense(), WORLD)
    weights, undefended = trained.model.state_dict(), plain.model.state_dict()
    parameters = {name for name, _ in plain.model.named_parameters()}
    assert all(torch.equal(weights[name], undefended[name]) for name in parameters)
    counts = [name for name in undefended if name.endswith("num_batches_tracked")]
    assert all(weights[name] == 7 * undefended[name] for name in counts)
    assert any(not torch.equal(weights[name], undefended[name]) for name in undefended if "running_mean" in name)
    assert set(trained.ctx.history[-1]) == {"loss", "targeted_success", "clean_loss", "anti_loss"}
    trained.ctx.history = [{"targeted_success": 1.0}]
    verdict = placebo.self_check(trained.model, trained.ctx)
    assert not verdict.active
    assert "placebo" in verdict.reason


@pytest.mark.parametrize(
    ("settings", "units"),
    [({}, 7 + 5 + 2 * 2), ({"steps": 10}, 12 + 10 + 4), ({"method": "fgsm"}, 3 + 1 + 4), ({"lam": 0.0}, 3)],
)
def test_cost_counts_passes(settings: dict, units: int):
    assert AntiAdversarialTraining(**settings).cost() == pytest.approx(units / 3)
    assert AntiAdversarialTraining(placebo=True, lam=0.0).cost() == pytest.approx(16 / 3)


def test_zero_weight_is_plain_training_to_the_bit():
    plain = train_steps(Defense(), WORLD).model.state_dict()
    off = train_steps(AntiAdversarialTraining(lam=0.0), WORLD).model.state_dict()
    on = train_steps(AntiAdversarialTraining(), WORLD).model.state_dict()
    assert all(torch.equal(plain[name], off[name]) for name in plain)
    assert not all(torch.equal(plain[name], on[name]) for name in plain)


class Watching(nn.Module):
    """A classifier body that remembers its inputs."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.fc, self.inside, self.seen = body.fc, body, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((x * 0.25 + 0.5).detach())
        return self.inside(x)


@pytest.mark.parametrize("settings", [{}, {"random_start": False}, {"method": "fgsm"}, {"steps": 30}])
def test_perturbed_images_stay_in_the_ball_and_in_range(settings: dict):
    eps = 0.04
    model, (x, y) = WORLD.classifier(), WORLD.batch()
    x = (2 * x - 0.5).clamp(0, 1)  # some pixels at the border
    model.body = Watching(model.body)
    defense = AntiAdversarialTraining(eps=eps, step_size=0.01, **settings)
    defense.training_step(model, x, y, WORLD.context())
    torch.testing.assert_close(model.body.seen[0], x)
    for images in model.body.seen:
        assert (images - x).abs().max() <= eps + 1e-6
        assert images.min() >= -1e-6
        assert images.max() <= 1 + 1e-6
    assert len(model.body.seen) == 2 + (1 if defense.method == "fgsm" else defense.steps)
    assert (model.body.seen[-1] - x).abs().max() > 0.9 * eps


@pytest.mark.parametrize("method", ["pgd", "fgsm"])
def test_inner_attack_moves_towards_the_wrong_class(method: str):
    model, (x, y) = WORLD.trained(), WORLD.batch()
    wrong = draw_targets(y, 4, generator("towards"))
    defense = AntiAdversarialTraining(method=method, **LARGE)
    x_adv = defense.perturb(model, x, wrong, generator("start"))
    assert nll_by_hand(model(x_adv), wrong) < nll_by_hand(model(x), wrong) - 0.1
    if method == "fgsm":
        image = x.clone().requires_grad_(True)
        nll_by_hand(model(image), wrong).backward()
        torch.testing.assert_close(x_adv, (x - 0.05 * image.grad.sign()).clamp(0, 1))


@pytest.mark.parametrize(("how", "next_class"), [("uniform", 1 / 9), ("compat", 2 / 10)])
def test_target_frequencies(how: str, next_class: float):
    n, classes = 200_000, 10
    y = torch.arange(n) % classes
    shift = (draw_targets(y, classes, generator("frequency"), how) - y) % classes
    share = torch.bincount(shift, minlength=classes).double() / n
    expected = torch.full((classes,), (1 - next_class) / 8).double()
    expected[0], expected[1] = 0.0, next_class
    assert share[0] == 0
    assert (share - expected).abs().max() < 4 * (0.2 * 0.8 / n) ** 0.5


def test_one_class_has_no_wrong_class():
    with pytest.raises(ValueError, match="at least 2 classes"):
        draw_targets(torch.zeros(3, dtype=torch.int64), 1, generator("x"), "compat")


def test_warm_up_is_linear():
    defense = AntiAdversarialTraining(lam=0.4, lam_warmup=4)
    assert [defense.weight(epoch) for epoch in range(6)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert AntiAdversarialTraining(lam=0.4).weight(0) == 0.4


def test_auxiliary_heads_count_in_both_terms(monkeypatch: pytest.MonkeyPatch):
    model, (x, y) = WORLD.classifier(), WORLD.batch()
    plain = Classifier.outputs

    def with_aux(self: Classifier, x_BCHW: Tensor, *, stages: bool = False) -> Outputs:
        outputs = plain(self, x_BCHW, stages=stages)
        outputs.aux = [(outputs.logits, 0.4)]
        return outputs

    alone = AntiAdversarialTraining(batchnorm="train").training_step(model, x, y, WORLD.context()).loss
    monkeypatch.setattr(Classifier, "outputs", with_aux)
    both = AntiAdversarialTraining(batchnorm="train").training_step(model, x, y, WORLD.context()).loss
    torch.testing.assert_close(both, 1.4 * alone)


def test_inception_trains_both_heads_in_both_terms():
    model = InceptionV3().build(num_classes=4, channels=3, size=299).train()
    x = torch.rand(2, 3, 299, 299, generator=generator("inception"))
    step = AntiAdversarialTraining(method="fgsm", eps=0.01).training_step(
        model, x, torch.tensor([0, 1]), WORLD.context()
    )
    assert torch.equal(step.loss.detach(), step.signals["clean_loss"] + 0.08 * step.signals["anti_loss"])
    step.loss.backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "AuxLogits" in name)
    assert model.body.AuxLogits.fc.weight.grad.abs().max() > 0
    # The inner attack leaves the running statistics of the auxiliary head alone, too.
    assert int(model.body.AuxLogits.conv0.bn.num_batches_tracked) == 2


@pytest.mark.parametrize(("success", "active"), [(0.0, False), (0.09, False), (ACTIVE_ABOVE, True), (1.0, True)])
def test_self_check_reads_the_last_tenth_of_the_epochs(success: float, active: bool):
    ctx = WORLD.context()
    ctx.history = [{"targeted_success": 1 - success}] * 18 + [{"targeted_success": success}] * 2
    verdict = AntiAdversarialTraining().self_check(WORLD.classifier(), ctx)
    assert verdict.active is active
    assert verdict.signals["targeted_success"] == pytest.approx(success)
    ctx.history = [{"loss": 1.0}]
    assert not AntiAdversarialTraining(lam=0).self_check(WORLD.classifier(), ctx).active


def test_presets_hold_the_published_values():
    paper = params.build(AntiAdversarialTraining, AntiAdversarialTraining.presets["paper"])
    assert paper == AntiAdversarialTraining()
    assert (paper.lam, 2 * paper.eps, 2 * paper.step_size, paper.steps) == (0.08, 5e-4, 1e-4, 5)
    compat = params.build(AntiAdversarialTraining, AntiAdversarialTraining.presets["compat"])
    assert (compat.targets, compat.batchnorm) == ("compat", "train")


def test_it_learns_features_that_break():
    """A sizeable radius makes targeted success rise and robust accuracy fall, while accuracy stays."""
    world = TinyWorld(per_class=16, noise=0.05)
    images, labels = world.images("heldout").all_images(), world.images("heldout").labels_N
    robust, accuracy, success = {}, {}, 0.0
    for name, defense in {"none": Defense(), "atat": AntiAdversarialTraining(**LARGE)}.items():
        trained = train_steps(defense, world, epochs=30, batch=16)
        model = trained.deployed.requires_grad_(False)
        x_adv = pgd(
            model, images, labels, eps=0.03, step_size=0.006, steps=10, rng=generator("pgd"), targeted=False
        )  # fmt: skip
        accuracy[name] = (model(images).argmax(1) == labels).float().mean().item()
        robust[name] = (model(x_adv).argmax(1) == labels).float().mean().item()
        success = trained.ctx.history[-1].get("targeted_success", 0.0)
    assert accuracy["none"] > 0.9
    assert accuracy["atat"] > 0.8
    assert success > 0.5
    assert robust["atat"] < robust["none"] - 0.3


def test_listing_imports_nothing_heavy():
    code = "import sys, mibench_atat; list(mibench_atat.mibench_defenses()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_spec_points_at_what_exists():
    (spec,) = mibench_atat.mibench_defenses()
    assert spec.factory == f"{AntiAdversarialTraining.__module__}:{AntiAdversarialTraining.__qualname__}"
    assert spec.family
    assert spec.limits
    assert Path(mibench_atat.__file__).with_name(spec.paper).read_text().startswith("@inproceedings")
