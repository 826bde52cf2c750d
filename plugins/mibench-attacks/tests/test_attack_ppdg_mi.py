"""PPDG-MI: its distances, its features, the tuning, the rounds."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.distances import conditional_transport, mmd, pointwise
from mibench_attacks.losses.perceptual import perceptual
from mibench_attacks.methods.ppa import PlugAndPlay
from mibench_attacks.methods.ppdg_mi import PseudoPrivateTuning
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.inversion import Inversion
from mibench_attacks.search.optimisers import adam
from mibench_attacks.search.prior_tuning import PriorTuning
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from torchvision.models import vgg

from mibench.api import (
    ClassFailed,
    DataError,
    MibenchError,
    UsageError,
    freeze,
    generator,
    replaced,
    run_attack,
    seeded,
)
from mibench.api.params import build
from mibench.testing import AttackContract, TinyWorld

PPA = {"pool": 16, "candidates": 5, "final": 3, "steps": 2, "lr": 0.05, "draws": 3, "batch": 4, "cutoff": 3}
SMALL = PPA | {
    "pseudo": 2,
    "invert_steps": 3,
    "invert_lr": 0.05,
    "tune_steps": 2,
    "tune_lr": 0.01,
    "mean_of": 20,
    "perceptual": "random",
}
ATTACK = build(PseudoPrivateTuning, SMALL)


def style_prior(channels=3, size=16):
    model = StyleGan2Prior(z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=16)
    with seeded("tiny stylegan"):
        return freeze(model.build(channels=channels, size=size))


def attack(made, labels=(1,), *, prior=None):
    world = TinyWorld()
    target = world.target()
    results = run_attack(made, labels, target, prior or style_prior(), world.attack_context())
    return {result.label: result for result in results}, target


def randn(*shape, key="x"):
    return torch.randn(*shape, generator=generator("ppdg", key, *shape))


class TestContract(AttackContract):
    component = PseudoPrivateTuning
    settings = SMALL
    classes = (0, 2)

    def prior(self):
        return style_prior()


class TestContractOfSetsOnGrey(AttackContract):
    component = PseudoPrivateTuning
    settings = SMALL | {"tuner": "ct", "align": "paa", "n_aug": 2}
    classes = (0, 2)
    world = TinyWorld(channels=1)

    def prior(self):
        return style_prior(channels=1)


def test_pointwise_is_a_squared_distance_per_pair():
    source, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert torch.equal(pointwise(source, target), torch.tensor([5.0, 25.0]))


def test_conditional_transport_by_hand():
    eye, point = torch.eye(2), torch.tensor([[0.6, 0.8]])
    assert conditional_transport(point, point).item() == pytest.approx(0, abs=1e-6)
    # likeness e on the diagonal and 1 beside it, cost 1 beside it: both directions cost 1 / (e + 1)
    assert conditional_transport(eye, eye).item() == pytest.approx(1 / (math.e + 1), abs=1e-6)
    # one source (1, 0), targets (2, 0) and (0, 1): to targets with e^2 : 1, costs 0 and 1; back, costs 0 and 1
    found = conditional_transport(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    assert found.item() == pytest.approx(0.5 / (math.e**2 + 1) + 0.5 * 0.5, abs=1e-6)


def test_conditional_transport_equals_loops_in_float64():
    source, target = randn(3, 5), randn(4, 5, key="t")
    s, t = source.double().numpy(), target.double().numpy()
    cost = [[1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in t] for a in s]
    towards = np.mean([np.average(cost[i], weights=np.exp(t @ s[i])) for i in range(3)])
    back = np.mean([np.average([row[j] for row in cost], weights=np.exp(s @ t[j])) for j in range(4)])
    assert conditional_transport(source, target).item() == pytest.approx((towards + back) / 2, abs=1e-5)


def test_mmd_by_hand():
    pair, zero = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.zeros(1, 1)
    assert mmd(pair, pair).item() == pytest.approx(0, abs=1e-6)
    # squared distance 1, hence h = 1/4 and exponents 4, 2, 1, 1/2, 1/4
    between = sum(math.exp(-4 / 2**i) for i in range(5))
    assert mmd(zero, zero + 1).item() == pytest.approx(10 - 2 * between, abs=1e-5)


def test_mmd_equals_loops_in_float64():
    source, target = randn(3, 5) + 4, randn(2, 5, key="t") + 4
    joint = torch.cat([source, target]).double().numpy()
    d2 = np.array([[((a - b) ** 2).sum() for b in joint] for a in joint])
    h = d2.sum() / 20 / 4
    kernel = sum(np.exp(-d2 / (h * 2**i)) for i in range(5))
    expected = kernel[:3, :3].mean() + kernel[3:, 3:].mean() - 2 * kernel[:3, 3:].mean()
    assert mmd(source, target).item() == pytest.approx(expected, abs=1e-5)


def test_mmd_of_equal_points_is_zero_with_finite_gradients():
    """Pitfall 10: the bandwidth is 0 then, and the released code returns NaN."""
    same = torch.ones(3, 4, requires_grad=True)
    found = mmd(same, torch.ones(2, 4))
    (gradient,) = torch.autograd.grad(found, same)
    assert found.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("between", [conditional_transport, mmd])
def test_distances_of_sets_have_right_gradients(between):
    target = randn(2, 3, key="t").double()
    fixed = {"kernels": 1} if between is mmd else {}
    source = randn(3, 3).double().requires_grad_(True)
    (gradient,) = torch.autograd.grad(between(source, target, **fixed), source)
    assert gradient.abs().sum() > 0
    after = between(source.detach() - 0.01 * gradient, target, **fixed)
    assert after < between(source.detach(), target, **fixed)


def test_vgg_features_give_lpips_without_its_weights(tmp_path):
    with seeded("vgg"):
        layers = vgg.make_layers(vgg.cfgs["D"])
    path = tmp_path / "vgg16.pth"
    torch.save({f"features.{name}": value for name, value in layers.state_dict().items()}, path)
    network = perceptual("vgg16", str(path))
    x, y = randn(1, 3, 32, 32).sigmoid(), randn(1, 3, 32, 32, key="y").sigmoid()
    expected, mean, std = 0.0, torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    both = (torch.cat([x, y]) - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        for index, layer in enumerate(layers):
            both = layer(both)
            if index in (3, 8, 15, 22, 29):
                a, b = both.double() / both.double().norm(dim=1, keepdim=True)
                expected += (a - b).square().sum(0).mean().item()
        got = pointwise(network(x), network(y)).item()
    assert got == pytest.approx(expected, rel=1e-4)
    assert not any(weight.requires_grad for weight in network.parameters())


def test_random_features_are_the_same_everywhere_and_spare_global_randomness():
    before = torch.random.get_rng_state()
    x = randn(2, 1, 16, 16).sigmoid()
    first, again = perceptual("random")(x), perceptual("random")(x)
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.allclose(first, perceptual("random")(x.expand(-1, 3, -1, -1)))
    assert torch.allclose(first.square().sum(1), torch.full((2,), 3.0), atol=1e-3)
    assert perceptual("random")(x, side=8).shape[1] < first.shape[1]
    assert torch.equal(perceptual("random")(x, side=16), first)


def test_weights_of_the_features_are_asked_for(tmp_path):
    with pytest.raises(UsageError, match="perceptual=random"):
        perceptual("vgg16")
    with pytest.raises(UsageError, match="'random' with weights"):
        perceptual("random", "vgg16.pth")
    with pytest.raises(DataError, match="does not exist"):
        perceptual("vgg16", str(tmp_path / "no.pth"))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(DataError, match="not a state dict of torchvision's vgg16"):
        perceptual("vgg16", str(tmp_path / "wrong.pth"))


def tuning(tuner="pw", *, steps=6, search_steps=12, d_weight=0.0, **more):
    search = GradientSearch(steps=search_steps, optimizer=adam(0.05), batch=8)
    settings = {"noise": 0.0, "lr": 0.01} | more
    return PriorTuning(
        tuner=tuner, features=perceptual("random"), search=search, d_weight=d_weight, steps=steps, **settings
    )


@pytest.mark.parametrize("tuner", ["pw", "ct", "mmd"])
def test_latents_come_nearer_and_the_weights_nearer_still(tuner):
    prior = style_prior()
    render = Renderer(prior.clone(), TinyWorld().target(), 16)
    before = {name: value.clone() for name, value in render.prior.state_dict().items()}
    with torch.no_grad():
        x = render.whole(render.prior.to_latent(prior.sample(3, generator("w")))[:, :1])
    made = tuning(tuner)
    near = made.neighbours(x, torch.zeros(1, 1, 8), render, generator("noise"), where="here")
    assert near.trace["loss"][-1] < near.trace["loss"][0]
    losses = made.tune(near.variables[0], x, render, where="here")
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    changed = {n.split(".")[1] for n, value in render.prior.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"synthesis"}
    assert all(weight.grad is None and not weight.requires_grad for weight in render.prior.parameters())
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())
    assert render.target.ledger.render == 3 * (1 + 12 + 6)


def test_noise_and_critic_take_part_in_the_search():
    prior = style_prior()
    render = Renderer(prior, TinyWorld().target(), 16)
    x = render.whole(prior.to_latent(prior.sample(3, generator("w"))))
    found = {}
    for name, more in {"plain": {}, "noise": {"noise": 0.5}, "critic": {"d_weight": 5.0}}.items():
        made = tuning(**more)
        found[name] = made.neighbours(x, torch.zeros(1, 1, 8), render, generator("noise"), where="here").variables[0]
    assert not torch.allclose(found["plain"], found["noise"], atol=1e-3)
    assert not torch.allclose(found["plain"], found["critic"], atol=1e-3)


def test_failures_of_the_tuning_are_explained_and_leave_it_frozen():
    prior = style_prior()
    render = Renderer(prior.clone(), TinyWorld().target(), 16)
    w = prior.to_latent(prior.sample(3, generator("w")))[:, :1]
    x = render.whole(w)
    with pytest.raises(ClassFailed, match="class 3, tuning step 0: the distance is not finite"):
        tuning().tune(w, x * float("nan"), render, where="class 3")
    assert not any(weight.requires_grad for weight in render.prior.parameters())
    split = replace(tuning("mmd"), search=GradientSearch(steps=1, batch=2))
    with pytest.raises(MibenchError, match="tuner=mmd needs them all"):
        split.neighbours(x, torch.zeros(1, 1, 8), render, generator("noise"), where="here")


def test_one_round_is_ppa():
    ours, _ = attack(replaced(ATTACK, {"rounds": 1}))
    theirs, _ = attack(build(PlugAndPlay, PPA))
    assert torch.equal(ours[1].images_NCHW, theirs[1].images_NCHW)
    assert torch.equal(ours[1].scores_N, theirs[1].scores_N)


def test_images_are_rendered_by_the_tuned_generator_of_their_class(monkeypatch):
    prior, made, copies = style_prior(), [], []
    clone = prior.clone
    monkeypatch.setattr(prior, "clone", lambda: copies.append(clone()) or copies[-1])
    found = Inversion.run
    monkeypatch.setattr(Inversion, "run", lambda *args: made.append(found(*args)) or made[-1])
    results, target = attack(ATTACK, (1, 2), prior=prior)
    assert len(copies) == 2
    assert len(made) == 4
    for own, last, label in zip(copies, made[1::2], (1, 2), strict=True):
        again = Renderer(own, target, 16).deliver(last.latents_MLW, batch=8)
        assert torch.allclose(again, results[label].images_NCHW, atol=1e-5)
        untuned = Renderer(prior, target, 16).deliver(last.latents_MLW, batch=8)
        assert not torch.allclose(untuned, results[label].images_NCHW, atol=1e-3)
    assert len(results[1].trace["loss"]) == 4
    assert len(results[1].trace["sought"]) == 3
    assert len(results[1].trace["tuned"]) == 2


@pytest.mark.parametrize(
    "more", [{}, {"rounds": 3, "tuner": "mmd"}, {"rounds": 1}, {"views": 2, "align": "taa", "n_aug": 2, "tuner": "ct"}]
)
def test_the_ledger_equals_the_formula(more):
    made = replaced(ATTACK, more)
    results, target = attack(made, (3, 1))
    assert vars(target.ledger) == dict(made.cost(2))
    assert results[3].spent == results[1].spent


def tuning_steps(made):
    return made.tuning.images, made.tuning.search.steps, made.tuning.steps


def test_the_published_budgets():
    """Reference 5.2 and 5.3: 35 or 70 steps of 100 candidates in each of two rounds; distances have their own."""
    made = {name: build(PseudoPrivateTuning, preset) for name, preset in PseudoPrivateTuning.presets.items()}
    assert made["paper"] == made["pw"] == PseudoPrivateTuning()
    assert [made[name].cost(1)["backward"] for name in ("paper", "released")] == [7000, 14_000]
    assert made["paper"].cost(1)["forward"] == 2 * (1000 + 3500 + 10_000)
    assert made["paper"].cost(1)["render"] == 2 * (500 + 3500 + 100) + 5 + 1500 + 750
    tuned = {name: tuning_steps(made[name]) for name in ("pw", "ct", "mmd")}
    assert tuned == {"pw": (5, 300, 150), "ct": (10, 150, 25), "mmd": (10, 100, 150)}
    small = made["small"]
    per_class = small.cost(1)["backward"] + small.tuning.renders
    assert 24 * per_class <= 30_000
    assert small.prior_choice() == "stylegan2"


def test_the_batch_size_is_an_execution_detail():
    for tuner in ("pw", "ct"):
        made = replaced(ATTACK, {"tuner": tuner, "tune_lr": 3e-4})
        whole, _ = attack(replaced(made, {"batch": 100}))
        pieces, _ = attack(replaced(made, {"batch": 1}))
        assert torch.allclose(pieces[1].images_NCHW, whole[1].images_NCHW, atol=1e-3)


def test_a_generator_without_a_discriminator_will_do():
    prior, made = style_prior(), replaced(ATTACK, {"d_weight": 0.0})
    prior.critic = None
    results, target = attack(made, prior=prior)
    assert results[1].trace["tuned"][-1] < results[1].trace["tuned"][0]
    assert vars(target.ledger) == dict(made.cost(1))


def test_what_cannot_be_done_is_said():
    world = TinyWorld()

    def prepare(made, prior):
        return made.prepare(world.target(), prior, world.attack_context())

    with pytest.raises(UsageError, match=r"set ppdg-mi.prior=stylegan2, or ppdg-mi.d_weight=0"):
        prepare(ATTACK, world.prior())
    with pytest.raises(UsageError, match="perceptual=random"):
        prepare(replaced(ATTACK, {"perceptual": "vgg16"}), style_prior())

    with pytest.raises(UsageError, match="no weights"):
        prepare(replaced(ATTACK, {"d_weight": 0.0}), world.prior())
    with pytest.raises(UsageError, match="pseudo <= final"):
        replaced(ATTACK, {"pseudo": 4})
