"""Unseen pixels: penalty and threshold by hand, frozen masks, and gradients that are exactly zero."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.unseen_pixels import UnseenPixels
from mibench_defenses.parts.group_lasso import group_norms
from mibench_defenses.parts.masked import MaskedClassifier, masked, smallest
from mibench_models.small_cnn import SmallCnn
from mibench_models.torchvision_zoo import ResNet18

from mibench.api import Classifier, Defense, TrainContext, UsageError, generator, params, seeded
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


def made(**settings) -> UnseenPixels:
    """Return the defense with these settings, by their names in keys."""
    return params.build(UnseenPixels, settings)


def half_mask() -> torch.Tensor:
    """Weights (3, 16, 16) in [0.1, 0.9]; the left half of the image is removed."""
    mask = 0.1 + 0.8 * torch.rand(3, 16, 16, generator=generator("mask"))
    mask[:, :, :8] = 0
    return mask


@dataclass(frozen=True, kw_only=True)
class Continued(TinyWorld):
    """A training that starts from a learnt mask, with the extras that ``build`` makes in every context."""

    def context(self, **kwargs) -> TrainContext:
        return replace(super().context(**kwargs), start={"mask": half_mask()})


@dataclass(frozen=True, kw_only=True)
class Begun(Continued):
    """The same after ``build``, whose extras are there."""

    defense: Defense

    def context(self, **kwargs) -> TrainContext:
        ctx = super().context(**kwargs)
        with seeded("extras"):
            self.defense.build(self.classifier(), ctx)
        return ctx


AFTER = Continued()


class UnseenPixelsContract(DefenseContract):
    component = UnseenPixels
    world = AFTER

    def _first_step(self):
        self.world = AFTER
        found = super()._first_step()
        self.world = Begun(defense=found[0])
        return found


class TestContractOfTheDefendedNetwork(UnseenPixelsContract):
    pass


class TestContractOfMaskedImages(UnseenPixelsContract):
    settings: ClassVar = {"mask_method": "dataset", "binarise": True}


class TestContractOfLearning(UnseenPixelsContract):
    settings: ClassVar = {"stage": "learn"}


def built(defense: UnseenPixels, *, start: bool = True) -> tuple[MaskedClassifier, TrainContext]:
    ctx = (AFTER if start else WORLD).context(epochs=10)
    model = defense.build(WORLD.classifier(), ctx)
    assert isinstance(model, MaskedClassifier)
    return model, ctx


@pytest.mark.parametrize("stage", ["final", "learn"])
def test_removed_pixels_have_exactly_no_gradient_and_the_bound_is_infinite(stage: str):
    """The Jacobian J of the logits has zero columns there; with F = J'J / s^2 the bound 1 / F_pp is infinite."""
    model, ctx = built(made(stage=stage))
    model = made().inference(model, ctx).eval()
    x = WORLD.batch()[0][:2]
    leaf = x.clone().requires_grad_()
    logits = model(leaf).sum(0)
    jacobian = torch.stack([torch.autograd.grad(logits[k], leaf, retain_graph=True)[0] for k in range(4)])
    assert torch.equal(jacobian[..., :8], torch.zeros_like(jacobian[..., :8]))
    assert bool(jacobian[..., 8:].ne(0).any())
    information = jacobian[:, 0].double().square().sum(0)  # diagonal of J'J of one image
    assert bool((1 / information[..., :8]).isinf().all())


def test_logits_do_not_depend_on_removed_pixels():
    model, _ = built(made())
    x = WORLD.batch()[0]
    other = x.clone()
    other[..., :8] = torch.rand(other[..., :8].shape, generator=generator("other"))
    assert torch.equal(model.eval()(x), model.eval()(other))
    assert float(masked(x, half_mask())[..., :8].min()) == float(masked(x, half_mask())[..., :8].max()) == 0.5


def test_mask_in_front_is_the_mask_on_normalised_images():
    mask, x = half_mask(), WORLD.batch()[0]
    expected = mask.double().numpy() * (2 * x.double().numpy() - 1)
    np.testing.assert_allclose(2 * masked(x, mask).numpy() - 1, expected, atol=1e-6)


@pytest.mark.parametrize(("adaptive", "gamma"), [(False, 1.0), (True, 1.0), (True, 2.0)])
def test_penalty_in_float64(adaptive: bool, gamma: float):
    defense = made(stage="learn", lam=3.0, ridge=0.7, adaptive=adaptive, gamma=gamma)
    rng = np.random.default_rng(0)
    mask, first = rng.random((3, 16, 16)), 0.2 + rng.random((16, 16))
    norms = np.sqrt((mask**2).sum(0))
    weights = 1 / (first**gamma + 1e-8) if adaptive else 1.0
    expected = 3.0 * np.mean(weights * norms) + 0.7 * np.mean(norms**2)
    got = defense.penalty.of(torch.tensor(mask, dtype=torch.float32), torch.tensor(first, dtype=torch.float32))
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_penalty_weight_converts_to_the_released_one():
    """.025 on the summed cross-entropy of 128 and the sum over 224 x 224 pixels."""
    assert made().penalty.lam == pytest.approx(0.025 / 128 * 224 * 224, rel=1e-3)


def test_removed_pixels_give_the_penalty_a_finite_gradient():
    mask = half_mask().requires_grad_()
    made(stage="learn").penalty.of(mask, torch.ones(16, 16)).backward()
    assert torch.equal(mask.grad[..., :8], torch.zeros(3, 16, 8))
    assert bool(mask.grad.isfinite().all())


@pytest.mark.parametrize(("epoch", "left"), [(0, 3), (1, 3), (2, 1), (9, 1)])
def test_threshold_by_hand(epoch: int, left: int):
    defense = made(stage="learn", tau_first=1e-6, tau=0.0025, switch=0.2)
    _, ctx = built(defense, start=False)
    ctx.epoch = epoch
    with torch.no_grad():
        ctx.extras["mask"].zero_()
        ctx.extras["mask"][:, 0, 0] = 0.0014  # norm .0014 * sqrt(3) = .00242
        ctx.extras["mask"][0, 0, 1] = -0.0025  # exactly the threshold: removed
        ctx.extras["mask"][:, 0, 2] = 0.0015  # norm .0026
        ctx.extras["mask"][:, 0, 3] = 5e-7  # norm 8.7e-7
    defense.on_step_end(WORLD.classifier(), ctx)
    assert int((ctx.extras["mask"] != 0).any(0).sum()) == left
    assert bool((ctx.extras["mask"][:, 0, 2] == 0.0015).all())


def test_learning_removes_pixels_and_counts_them():
    defense = made(stage="learn", mask_init=0.05, lam=9.8)
    trained = train_steps(defense, WORLD, epochs=12)
    verdict = defense.self_check(trained.model, trained.ctx)
    left = int(np.count_nonzero(trained.model.state_dict()["mask_CHW"].numpy().any(0)))
    assert verdict.signals["n_features"] == left
    assert verdict.signals["removed"] == pytest.approx(1 - left / 256)
    assert trained.ctx.history[0]["n_features"] > trained.ctx.history[-1]["n_features"]
    assert verdict.active, verdict.reason


@pytest.mark.parametrize("method", ["layer", "transform", "dataset"])
def test_the_final_mask_is_frozen(method: str):
    defense = made(mask_method=method)
    trained = train_steps(defense, AFTER)
    assert torch.equal(trained.model.state_dict()["mask_CHW"], half_mask())
    assert torch.equal(trained.ctx.extras["mask"], half_mask())
    assert "mask_CHW" not in dict(trained.model.named_parameters())
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals == {"removed": 0.5, "n_features": 128.0}


def test_where_the_methods_mask():
    x = WORLD.batch()[0]
    seen = {}
    for method in ("layer", "transform", "dataset"):
        defense = made(mask_method=method)
        model, ctx = built(defense)
        model.body.register_forward_pre_hook(lambda _, inputs, method=method: seen.__setitem__(method, inputs[0]))
        defense.train_transform(lambda y: y, ctx)
        model.train()(x)
        flipped = defense.train_transform(lambda y: y.flip(3), ctx)(x)
        assert torch.equal(flipped, (masked(x, half_mask()) if method == "transform" else x).flip(3))
    grey = torch.zeros_like(x[..., :8])
    assert torch.equal(seen["layer"][..., :8], grey)
    assert not torch.equal(seen["transform"][..., :8], grey)
    assert torch.equal(seen["transform"], seen["dataset"])


def test_masked_images_are_8_bit_images():
    data = made(mask_method="dataset").train_dataset(WORLD.images(), built(made())[1])
    x = WORLD.images().all_images().double().numpy()
    expected = np.round((0.5 + half_mask().double().numpy() * (x - 0.5)) * 255) / 255
    assert np.abs(data.all_images().numpy() - expected).max() < 1 / 255 + 1e-6  # ties may round either way
    assert np.median(np.abs(data.all_images().numpy() - expected)) < 1e-6
    assert torch.equal(data.subset(torch.tensor([3, 5])).all_images(), data.images(torch.tensor([3, 5])))
    assert len(data.relabel(data.labels_N.flip(0))) == len(data) and data.num_classes == 4


def test_binarised_mask_is_one_where_a_pixel_is_read():
    model, _ = built(made(binarise=True))
    assert torch.equal(model.mask_CHW, (half_mask() > 0).float())


def test_chain_of_trainings():
    final = made(adaptive=True, gamma=2.0, binarise=True, mask_method="layer", lam=5.0)
    learn = final.starts_from().defense
    assert learn == made(stage="learn", adaptive=True, gamma=2.0, lam=5.0)
    first = learn.starts_from().defense
    assert first == made(stage="learn", lam=5.0)
    assert first.starts_from() is None


def test_adaptive_learning_keeps_removed_pixels_removed():
    defense = made(stage="learn", adaptive=True, lam=0.1)
    trained = train_steps(defense, AFTER)
    mask = trained.model.state_dict()["mask_CHW"]
    assert not bool(mask[..., :8].any())
    assert bool(mask[..., 8:].any())


def test_nothing_or_everything_removed_is_inactive():
    for value in (1.0, 0.0):
        ctx = replace(WORLD.context(), start={"mask": torch.full((3, 16, 16), value)})
        model = made().build(WORLD.classifier(), ctx)
        assert not made().self_check(model, ctx).active


def test_other_sizes_grey_images_and_a_resnet():
    for arch, channels in ((SmallCnn(), 1), (ResNet18(), 3), (ResNet18(), 1)):
        with seeded("arch"):
            plain = arch.build(num_classes=4, channels=channels, size=64)
        ctx = TinyWorld(size=64, channels=channels).context()
        names = set(plain.state_dict())
        model = made(stage="learn").build(plain, ctx).train()
        assert set(model.state_dict()) == names | {"mask_CHW"}
        x = torch.rand(2, channels, 64, 64, generator=generator("big"))
        step = made(stage="learn").training_step(model, x, torch.tensor([0, 1]), ctx)
        step.loss.backward()
        assert bool(model.mask_CHW.grad.ne(0).any())
        assert model.eval()(torch.rand(1, channels, 80, 80)).shape == (1, 4)


def test_a_wrapped_network_is_refused():
    class Wrapped(Classifier):
        pass

    plain = WORLD.classifier()
    wrapped = Wrapped(plain.body, head="fc", stage_names=[], mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(UsageError, match="name it first"):
        made().build(wrapped, WORLD.context())


def test_impossible_settings_are_refused():
    with pytest.raises(UsageError, match="mask_init"):
        params.build(UnseenPixels, {"mask_init": 0.0})


def test_the_final_network_reads_exactly_the_share_that_is_asked_for():
    """The mask is learnt once for all shares, and the smallest groups of it go, ties in order."""
    final, other = made(removed=0.75, tau=0.0, tau_first=0.0, binarise=True), made(tau=0.0, tau_first=0.0)
    assert final.starts_from().defense == other.starts_from().defense
    norms = torch.tensor([[3.0, 1.0], [1.0, 0.5]])
    assert smallest(norms, 0.5).tolist() == [[False, True], [False, True]]
    world = TinyWorld()
    learnt = train_steps(final.starts_from().defense, world, epochs=1)
    start = {"mask": learnt.ctx.extras["mask"].detach()}
    ctx = replace(world.context(), start=start)
    model = final.build(world.classifier(), ctx)
    read = model.mask_CHW.any(0)
    assert read.float().mean().item() == 0.25
    assert group_norms(start["mask"])[read].min() >= group_norms(start["mask"])[~read].max()
