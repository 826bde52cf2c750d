"""DP-SGD against opacus, against one image at a time in float64, and against what privacy needs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.dp_sgd import DpSgd, sample_rate
from mibench_defenses.parts.per_sample import per_sample_gradients, refuse_mixing
from mibench_models.small_cnn import SmallCnn
from mibench_models.torchvision_zoo import MobileNetV2, ResNet18
from opacus import PrivacyEngine
from opacus.grad_sample import GradSampleModule
from opacus.validators import ModuleValidator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision.ops import StochasticDepth

from mibench.api import Classifier, TrainContext, UsageError, generator, params
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


class TestContract(DefenseContract):
    component = DpSgd


class TestContractOfTarget(DefenseContract):
    component = DpSgd
    settings: ClassVar = {"target_epsilon": 5.0, "max_grad_norm": 0.5, "groups": 4, "physical_batch": 3}


def context(batch: int = 8, num_images: int = 24) -> TrainContext:
    ctx = WORLD.context()
    ctx.batch, ctx.num_images = batch, num_images
    return ctx


def built(defense: DpSgd, ctx: TrainContext) -> Classifier:
    return defense.build(WORLD.classifier(), ctx).train()


def by_hand(model: Classifier, x: Tensor, y: Tensor, clip: float) -> tuple[list[np.ndarray], list[float]]:
    """Sum the clipped gradients image by image, with plain backward passes and numpy in float64."""
    total, lengths = None, []
    for image, label in zip(x, y, strict=True):
        model.zero_grad()
        cross_entropy(model(image[None]), label[None]).backward()
        gradients = [p.grad.double().numpy().copy() for p in model.parameters()]
        lengths.append(math.sqrt(sum(float((g**2).sum()) for g in gradients)))
        factor = min(1.0, clip / lengths[-1])
        total = [factor * g for g in gradients] if total is None else [
            t + factor * g for t, g in zip(total, gradients, strict=True)
        ]  # fmt: skip
    model.zero_grad()
    return total, lengths


@pytest.mark.parametrize("part", [1, 3, 16])
def test_clipped_gradient_equals_hand_computation_in_float64(part: int):
    clip = 6.5  # shorter than some gradients and longer than others
    defense, ctx = DpSgd(noise_multiplier=0, max_grad_norm=clip, physical_batch=part), context()
    model = built(defense, ctx).double()
    x, y = WORLD.batch()
    x = x.double() * torch.linspace(0.05, 1, 8, dtype=torch.float64).view(-1, 1, 1, 1)
    with torch.no_grad():
        model.head.weight *= 0.3
    expected, lengths = by_hand(model, x, y, clip)
    assert min(lengths) < clip < max(lengths)
    step = defense.training_step(model, x, y, ctx)
    step.loss.backward()
    defense.on_gradients(model, ctx)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient / 8, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(step.loss.detach(), cross_entropy(model(x), y).detach())
    assert float(step.signals["clipped"]) == pytest.approx(np.mean([length > clip for length in lengths]))
    assert float(step.signals["grad_norm"]) == pytest.approx(np.mean(lengths))


def test_per_sample_gradients_equal_those_of_opacus():
    model = built(DpSgd(), context())
    x, y = WORLD.batch()
    got, _ = per_sample_gradients(model, x, y)
    hooked = GradSampleModule(copy.deepcopy(model), loss_reduction="sum")
    cross_entropy(hooked(x.requires_grad_(True)), y, reduction="sum").backward()
    wanted = {name.removeprefix("_module."): p.grad_sample for name, p in hooked.named_parameters()}
    assert set(got) == set(wanted)
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-5)


def test_the_noise_has_the_right_size_and_comes_from_the_context():
    defense, ctx = DpSgd(noise_multiplier=2.0, max_grad_norm=0.7), context()
    model = built(defense, ctx)
    model.head.bias.requires_grad_(False)
    noises = []
    for seed in (1, 1, 2):
        model.zero_grad()
        ctx.rng = generator(seed)
        defense.on_gradients(model, ctx)
        noises.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert model.head.bias.grad is None
    assert torch.equal(noises[0], noises[1])
    assert not torch.equal(noises[0], noises[2])
    n, std = len(noises[0]), 2.0 * 0.7 / 8  # of the sum, over the expected batch of 24 / 3 images
    assert abs(noises[0].mean()) < 4 * std / n**0.5
    assert abs(noises[0].std() / std - 1) < 4 / (2 * n) ** 0.5
    assert abs(torch.corrcoef(torch.stack([noises[0], noises[2]]))[0, 1]) < 4 / n**0.5


def test_noise_is_added_to_the_gradient_even_of_an_empty_batch():
    defense, ctx = DpSgd(), context()
    model = built(defense, ctx)
    step = defense.training_step(model, torch.zeros(0, 3, 16, 16), torch.zeros(0, dtype=torch.int64), ctx)
    assert step.loss == 0
    assert all(float(value) == 0 for value in step.signals.values())
    step.loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    defense.on_gradients(model, ctx)
    assert all(p.grad.ne(0).any() for p in model.parameters())


def test_sampling_is_poisson():
    n, batch, epochs = 200, 30, 300
    rate = 1 / 7
    assert sample_rate(n, batch) == rate
    drawn = [DpSgd().batches(n, batch, generator("poisson", epoch)) for epoch in range(epochs)]
    assert {len(steps) for steps in drawn} == {7}
    inside = torch.zeros(epochs * 7, n)
    for row, indices in enumerate(indices for steps in drawn for indices in steps):
        assert len(indices) == len(set(indices.tolist()))
        inside[row, indices] = 1
    spread = (rate * (1 - rate)) ** 0.5
    assert abs(inside.mean() - rate) < 4 * spread / inside.numel() ** 0.5
    assert (inside.mean(0) - rate).abs().max() < 5 * spread / len(inside) ** 0.5  # every image is as likely
    sizes = inside.sum(1)
    assert abs(sizes.var() / (n * rate * (1 - rate)) - 1) < 5 * (2 / len(sizes)) ** 0.5  # binomial, not fixed
    pairs = torch.corrcoef(inside[:, :40].T) - torch.eye(40)
    assert pairs.abs().max() < 5 / len(inside) ** 0.5  # independent images
    steps = torch.corrcoef(inside.view(epochs, 7, n)[:, :2, :].transpose(0, 1).reshape(2, -1))[0, 1]
    assert abs(steps) < 5 / (epochs * n) ** 0.5  # independent steps, unlike shuffling


def opacus_epsilon(noise: float, num_images: int, batch: int, steps: int, delta: float) -> float:
    """Let opacus's own engine prepare the same training, and its accountant count the steps."""
    model = nn.Linear(2, 2)
    engine = PrivacyEngine(accountant="rdp")
    data = TensorDataset(torch.zeros(num_images, 2), torch.zeros(num_images, dtype=torch.int64))
    model, optimizer, loader = engine.make_private(
        module=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        data_loader=DataLoader(data, batch_size=batch), noise_multiplier=noise, max_grad_norm=1.0,
    )  # fmt: skip
    assert loader.sample_rate == sample_rate(num_images, batch)
    assert len(loader) == round(1 / sample_rate(num_images, batch))
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 2)).sum().backward()
        optimizer.step()
    return engine.get_epsilon(delta)


# opacus warns that its generator is not a cryptographic one, and of the orders that its bound is searched on.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("noise", "num_images", "batch", "steps"), [(1.1, 5000, 128, 80), (0.7, 100, 32, 12)])
def test_epsilon_is_that_of_opacus(noise: float, num_images: int, batch: int, steps: int):
    ctx = context(batch, num_images)
    ctx.step = steps
    defense = DpSgd(noise_multiplier=noise)
    wanted = opacus_epsilon(noise, num_images, batch, steps, num_images**-1.1)
    assert defense.epsilon(ctx) == pytest.approx(wanted, rel=1e-9)
    ctx.step = 2 * steps
    assert defense.epsilon(ctx) > wanted
    assert DpSgd(noise_multiplier=noise, delta=1e-9).epsilon(ctx) > defense.epsilon(ctx)


def test_epsilon_of_full_batches_is_that_of_the_gaussian_mechanism():
    # q = 1: T releases of a Gaussian with noise z have Renyi divergence T * a / (2 z^2); the best order is known.
    ctx = context(batch=1000, num_images=1000)
    ctx.step, z, delta = 10, 5.0, 1e-5
    classic = 10 / (2 * z**2) + math.sqrt(2 * 10 / z**2 * math.log(1 / delta))
    epsilon = DpSgd(noise_multiplier=z, delta=delta).epsilon(ctx)
    assert 0.75 * classic < epsilon <= classic


@pytest.mark.parametrize("target", [1.0])
def test_the_target_is_reached_from_below_at_the_end(target: float):
    ctx = context(32, 1000)
    defense = DpSgd(target_epsilon=target)
    ctx.step = ctx.epochs * 32  # 32 steps of an epoch
    assert target - 0.02 < defense.epsilon(ctx) <= target
    assert DpSgd(target_epsilon=target, delta=1e-9).noise(ctx) > defense.noise(ctx)


def test_group_norm_replaces_batch_norm_as_opacus_does():
    plain = ResNet18().build(num_classes=4, channels=3, size=32)
    wanted = ModuleValidator.fix(plain)
    got = DpSgd().build(plain, context())
    assert [(n, str(m)) for n, m in got.named_modules()] == [(n, str(m)) for n, m in wanted.named_modules()]
    assert list(got.state_dict()) == list(wanted.state_dict())
    few = DpSgd(groups=6).build(SmallCnn().build(num_classes=4, channels=3, size=32), context())
    norms = [module for module in few.modules() if isinstance(module, nn.GroupNorm)]
    assert norms
    assert all(norm.num_groups == math.gcd(6, norm.num_channels) for norm in norms)


@pytest.mark.parametrize("builder", [ResNet18, MobileNetV2, SmallCnn])
def test_a_step_on_real_networks_leaves_nothing_behind(builder: type):
    world = TinyWorld(size=64, channels=1)
    ctx = world.context()
    ctx.batch, ctx.num_images = 4, 24
    defense = DpSgd(physical_batch=2)
    model = defense.build(builder().build(num_classes=4, channels=1, size=64), ctx).train()
    names, attributes = list(model.state_dict()), [set(vars(p)) for p in model.parameters()]
    defense.on_epoch_start(model, ctx)
    x, y = world.batch(2)
    defense.training_step(model, x, y, ctx).loss.backward()
    defense.on_gradients(model, ctx)
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
    assert list(model.state_dict()) == names
    assert [set(vars(p)) for p in model.parameters()] == attributes
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules())
    twin = copy.deepcopy(model).eval()
    image = x[:1].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.eval()(image).square().sum(), image)
    (same,) = torch.autograd.grad(twin(image).square().sum(), image)
    assert gradient.any()
    assert torch.equal(gradient, same)


class WithAttention(nn.Module):
    """A body with a bare parameter and multi-head attention, like a vision transformer."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, 12))
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.norm, self.fc = nn.LayerNorm(12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        patches = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        return self.fc(self.norm(self.attention(tokens, tokens, tokens, need_weights=False)[0])[:, 0])


class Mixing(nn.Module):
    """A body that looks at the mean of the batch."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3))
        return self.fc(pooled - pooled.mean(0))


class Remembering(Mixing):
    """A body that keeps the last image."""

    def __init__(self):
        super().__init__()
        self.register_buffer("last", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.last.copy_(x.mean((2, 3))[-1].detach())
        return self.fc(x.mean((2, 3)))


def wrapped(body: nn.Module) -> Classifier:
    return Classifier(body, head="fc", stage_names=[], mean=[0.5] * 3, std=[0.25] * 3)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_attention_and_bare_parameters_train():
    defense, ctx = DpSgd(noise_multiplier=0, max_grad_norm=0.1), context()
    model = defense.build(wrapped(WithAttention()), ctx).train()
    defense.on_epoch_start(model, ctx)
    x, y = torch.rand(5, 3, 4, 4), torch.tensor([0, 1, 2, 3, 0])
    expected, _ = by_hand(model, x, y, 0.1)
    defense.training_step(model, x, y, ctx).loss.backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient / 8, rtol=1e-4, atol=1e-6)


def test_what_is_not_private_is_refused():
    norm = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    body = nn.Sequential()
    body.add_module("norm", norm)
    body.add_module("pool", nn.Flatten())
    body.add_module("fc", nn.Linear(3 * 16 * 16, 4))
    with pytest.raises(UsageError, match=r"body\.norm cannot be trained privately"):
        DpSgd().build(wrapped(body), context())
    body.norm = StochasticDepth(0.1, "row")
    with pytest.raises(UsageError, match="stochastic depth"):
        DpSgd().build(wrapped(body), context())
    for wrong, match in [(Mixing(), "influence each other"), (Remembering(), "keeps statistics")]:
        model = DpSgd().build(wrapped(wrong), context()).train()
        with pytest.raises(UsageError, match=match):
            DpSgd().on_epoch_start(model, context())
    with pytest.raises(UsageError):  # BatchNorm that another defense brought in after build
        refuse_mixing(WORLD.classifier(), torch.Size((3, 3, 16, 16)), torch.device("cpu"))
    with pytest.raises(UsageError, match="not both"):
        DpSgd(target_epsilon=1.0, noise_multiplier=1.0)
    with pytest.raises(UsageError, match="not both"):
        params.build(DpSgd, {"target_epsilon": 1.0, "noise_multiplier": 1.0})
    with pytest.raises(UsageError, match="no noise reaches"):
        DpSgd(target_epsilon=0.01, delta=1e-9).on_epoch_start(built(DpSgd(), context()), context())


@pytest.mark.parametrize(("noise", "active"), [(0.0, False), (1.0, True)])
def test_self_check_reports_the_budget(noise: float, active: bool):
    defense = DpSgd(noise_multiplier=noise)
    trained = train_steps(defense, WORLD, epochs=2)
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active is active
    assert verdict.signals["delta"] == pytest.approx(24**-1.1)
    assert verdict.signals["sample_rate"] == pytest.approx(1 / 3)
    assert 0 < verdict.signals["clipped"] <= 1
    assert ("epsilon" in verdict.signals) is active
    if active:
        assert verdict.signals["epsilon"] == defense.epsilon(trained.ctx) > 0
    trained.ctx.step = 0
    assert not defense.self_check(trained.model, trained.ctx).active


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target_epsilon": 1e-6}, "no guarantee has an epsilon of 0 or less"),
        ({"noise_multiplier": 1e6}, "no guarantee has an epsilon of 0 or less"),
        ({"delta": 0.999, "noise_multiplier": 8.0}, "no guarantee has an epsilon of 0 or less"),
        ({"target_epsilon": 1e-6, "delta": 1e-9}, "no noise reaches target_epsilon = 1e-06"),
    ],
)
def test_a_budget_that_the_accountant_cannot_give_is_refused_before_training(settings: dict[str, float], said: str):
    defense, ctx = params.build(DpSgd, settings), context(batch=15, num_images=15)
    with pytest.raises(UsageError, match=said):
        defense.check_recipe(num_images=15, batch=15, epochs=8)
    with pytest.raises(UsageError, match=said):
        defense.on_epoch_start(WORLD.classifier(), ctx)


@pytest.mark.parametrize(
    "settings",
    [{"target_epsilon": 1e300}, {"noise_multiplier": 1e-200}, {"noise_multiplier": 1e200}, {"target_epsilon": 0.0}],
)
def test_numbers_that_the_accountant_cannot_take_are_refused(settings: dict[str, float]):
    with pytest.raises(UsageError):
        params.build(DpSgd, settings)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0, 50.0, 1e6])
@pytest.mark.parametrize(("images", "batch", "epochs"), [(15, 15, 8), (120, 20, 40)])
def test_a_budget_that_is_taken_is_kept(epsilon: float, images: int, batch: int, epochs: int):
    defense, ctx = params.build(DpSgd, {"target_epsilon": epsilon}), context(batch, images)
    defense.check_recipe(num_images=images, batch=batch, epochs=epochs)
    ctx.epochs = epochs
    ctx.step = epochs * math.ceil(images / batch)
    assert 0 < defense.epsilon(ctx) <= epsilon
    check = defense.self_check(WORLD.classifier(), ctx)
    assert check.active
    assert check.signals["epsilon"] == defense.epsilon(ctx)


def test_the_presets_can_be_planned():
    for preset in ({}, *DpSgd.presets.values()):
        params.build(DpSgd, preset).check_recipe(num_images=15, batch=15, epochs=8)
