"""What trainings of generators share: a step of descent, signals as numbers, states as flat tensors, augmentation."""

import math

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models.priors.parts.augmentation import augment, color, cutout, flip, parse_policy, translate
from mibench_models.priors.parts.class_conditional import ConditionalPrior
from mibench_models.priors.parts.gradient_step import descend, finite
from mibench_models.priors.parts.training_state import (
    adam_state,
    load_adam_state,
    load_module_state,
    module_state,
)
from torch import nn

from mibench.api import MibenchError, generator, seeded


def drawn(*shape):
    return torch.rand(*shape, generator=generator("parts", *shape)) * 2 - 1


# -- descent ----------------------------------------------------------------------------------------------------------


def test_a_step_descends_the_loss_by_the_formula_and_forgets_older_gradients():
    weight = nn.Parameter(drawn(5))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    before = array(weight)
    weight.grad = torch.full((5,), 1e6)
    descend(optimizer, (weight * torch.arange(5.0)).sum())
    np.testing.assert_allclose(array(weight), before - 0.1 * np.arange(5), atol=1e-6)
    np.testing.assert_allclose(array(weight.grad), np.arange(5))


def test_two_steps_of_adam_equal_float64():
    weight, formula = nn.Parameter(drawn(4)), by_hand.Adam(0.01, (0.5, 0.9))
    optimizer, expected = torch.optim.Adam([weight], lr=0.01, betas=(0.5, 0.9)), array(weight)
    for factor in (1.0, -3.0):
        expected = formula.moved(expected, 2 * factor * expected)
        descend(optimizer, factor * weight.square().sum())
    np.testing.assert_allclose(array(weight), expected, atol=1e-6)


def test_signals_become_numbers():
    assert finite({"a": torch.tensor(1.5), "b": torch.tensor([2])}, 3, advice="x") == {"a": 1.5, "b": 2}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_signal_that_is_not_finite_ends_the_training_with_advice(bad):
    with pytest.raises(MibenchError, match=r"diverged at step 7: .*'b': (nan|inf|-inf).*; lower it"):
        finite({"a": torch.tensor(1.0), "b": torch.tensor(bad)}, 7, advice="lower it")


# -- state ------------------------------------------------------------------------------------------------------------


def network():
    with seeded("state"):
        return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def trained(steps):
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    for step in range(steps):
        descend(optimizer, net(drawn(4, 3) + step).square().sum())
    return net, optimizer


def test_a_modules_state_is_flat_under_its_prefix_and_a_copy():
    net, _ = trained(2)
    state = module_state(net, "net")
    assert set(state) == {f"net.{name}" for name in net.state_dict()}
    assert {"net.0.weight", "net.1.running_mean", "net.1.num_batches_tracked"} <= set(state)
    before = state["net.0.weight"].clone()
    net[0].weight.data.zero_()
    assert torch.equal(state["net.0.weight"], before)
    assert not any(tensor.requires_grad for tensor in state.values())


def test_a_modules_state_comes_back_among_others():
    net, _ = trained(2)
    fresh = network()
    state = {**module_state(net, "net"), **module_state(network(), "network"), "net2.0.weight": torch.zeros(1)}
    load_module_state(fresh, "net", state)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), net.state_dict().values(), strict=True))
    with pytest.raises(RuntimeError, match="Missing key"):
        load_module_state(fresh, "none", state)


def test_an_optimisers_state_is_empty_before_its_first_step():
    _, optimizer = trained(0)
    assert adam_state(optimizer, "adam") == {}


def test_an_optimisers_state_holds_both_moments_of_each_parameter():
    _, optimizer = trained(3)
    state = adam_state(optimizer, "adam")
    names = {"step", "exp_avg", "exp_avg_sq"}
    assert set(state) == {f"adam.{index}.{name}" for index in range(4) for name in names}
    assert state["adam.0.step"].item() == 3
    assert state["adam.0.exp_avg"].shape == (2, 3)
    kept = state["adam.0.exp_avg"].clone()
    next(iter(optimizer.state.values()))["exp_avg"].zero_()
    assert torch.equal(state["adam.0.exp_avg"], kept)


def test_an_optimiser_goes_on_as_if_never_stopped():
    net, optimizer = trained(2)
    again = network()
    load_module_state(again, "net", module_state(net, "net"))
    second = torch.optim.Adam(again.parameters(), lr=0.1)
    load_adam_state(second, "adam", {**adam_state(optimizer, "adam"), "adam_d.0.step": torch.tensor(9.0)})
    for module, adam in ((net, optimizer), (again, second)):
        descend(adam, module(drawn(4, 3)).square().sum())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_a_loaded_state_is_not_shared_with_what_it_was_loaded_from():
    net, optimizer = trained(1)
    state = adam_state(optimizer, "adam")
    before = {name: tensor.clone() for name, tensor in state.items()}
    load_adam_state(optimizer, "adam", state)
    descend(optimizer, net(drawn(4, 3)).square().sum())
    assert all(torch.equal(state[name], before[name]) for name in state)


# -- augmentation: each against numpy, with the same draws -------------------------------------------------------------


def uniform(rng, n=6):
    return array(torch.rand(n, 1, 1, 1, generator=rng))


def test_flip_mirrors_left_to_right_where_the_draw_is_below_a_half():
    x, draws = drawn(6, 3, 4, 4), uniform(generator("flip"))
    expected = np.where(draws < 0.5, array(x)[..., ::-1], array(x))
    assert np.array_equal(array(flip(x, generator("flip"))), expected)
    assert 0 < (draws < 0.5).sum() < 6


def test_color_equals_float64():
    x, rng = drawn(6, 3, 4, 4), generator("color")
    brightness, saturation, contrast = uniform(rng), uniform(rng), uniform(rng)
    y = array(x) + brightness - 0.5
    grey = y.mean(1, keepdims=True)
    y = grey + 2 * saturation * (y - grey)
    mean = y.mean((1, 2, 3), keepdims=True)
    expected = mean + (0.5 + contrast) * (y - mean)
    np.testing.assert_allclose(array(color(x, generator("color"))), expected, atol=1e-6)


def test_cutout_equals_pixel_by_pixel():
    x = drawn(8, 1, 10, 10)
    centres = torch.randint(0, 11, (2, 8, 1), generator=generator("cut"))[..., 0].tolist()
    expected = array(x)
    for image, (row, column) in enumerate(zip(*centres, strict=True)):
        for i in range(10):
            for j in range(10):
                if abs(i - row) < 2.5 and abs(j - column) < 2.5:
                    expected[image, 0, i, j] = 0
    assert np.array_equal(array(cutout(x, generator("cut"), ratio=0.5)), expected)


def test_cutout_takes_half_of_the_side_by_default():
    x = torch.ones(64, 1, 16, 16)
    holes = (cutout(x, generator("holes")) == 0).flatten(1).sum(1)
    assert holes.max() == 7 * 7  # less than 4 pixels from the centre on each side
    assert holes.min() < 7 * 7  # centres lie anywhere, also at the border


def test_translate_equals_pixel_by_pixel():
    x, reach = drawn(6, 2, 16, 16), 4
    down, right = torch.randint(0, 2 * reach + 1, (2, 6), generator=generator("move")).sub(reach).tolist()
    expected = np.zeros_like(array(x))
    for image in range(6):
        for i in range(16):
            for j in range(16):
                row, column = i + down[image], j + right[image]
                if 0 <= row < 16 and 0 <= column < 16:
                    expected[image, :, i, j] = array(x)[image, :, row, column]
    assert np.array_equal(array(translate(x, generator("move"), ratio=0.25)), expected)


def test_translate_moves_by_an_eighth_by_default():
    x = torch.zeros(200, 1, 16, 16)
    x[:, :, 8, 8] = 1
    rows = translate(x, generator("eighth")).sum((1, 3)).argmax(1)
    assert set(rows.tolist()) == {6, 7, 8, 9, 10}


def test_a_policy_is_applied_in_its_order_with_one_generator():
    x = drawn(4, 3, 8, 8)
    rng = generator("policy")
    expected = color(translate(flip(x, rng), rng), rng)
    assert torch.equal(augment(x, parse_policy("flip,translate,color"), generator("policy")), expected)
    assert not torch.equal(augment(x, parse_policy("color,translate,flip"), generator("policy")), expected)


def test_an_unknown_augmentation_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"'zoom'; expected 'none' or .*flip, color, translate, cutout"):
        parse_policy("flip,zoom")
    assert parse_policy("none") == ()


# -- latents of class-conditional generators --------------------------------------------------------------------------


class Conditional(ConditionalPrior):
    def render(self, latent_BLW, *, start=0, carry=None):
        return latent_BLW


def test_latents_are_noise_and_weights_of_classes():
    prior = Conditional(3, 2, unconditioned=0.25)
    assert (prior.latent_layers, prior.latent_size, prior.noise_size, prior.classes) == (1, 5, 3, 2)
    z = drawn(4, 3)
    latent = prior.to_latent(z)
    assert latent.shape == (4, 1, 5)
    assert torch.equal(latent[:, 0, :3], z)
    assert (latent[..., 3:] == 0.25).all()
    noise, weights = prior.parts(latent)
    assert torch.equal(noise, z)
    assert torch.equal(weights, torch.full((4, 2), 0.25))


def test_truncation_pulls_the_noise_and_leaves_the_classes():
    prior, z = Conditional(3, 2, unconditioned=0.5), drawn(4, 3)
    half = prior.to_latent(z, truncation=0.5)
    assert torch.equal(half[:, 0, :3], z / 2)
    assert (half[..., 3:] == 0.5).all()
    assert torch.equal(prior.to_latent(z, truncation=0.5, cutoff=0), prior.to_latent(z))
    assert torch.equal(prior.to_latent(z, truncation=0.5, cutoff=1), half)


def test_conditioning_writes_the_class_once_and_again():
    prior = Conditional(2, 3, unconditioned=1 / 3)
    latent = prior.to_latent(drawn(2, 2))
    first = prior.condition(latent, torch.tensor([2, 0]))
    assert first[:, 0, 2:].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert torch.equal(first[..., :2], latent[..., :2])
    assert prior.condition(first, torch.tensor([1, 1]))[:, 0, 2:].tolist() == [[0, 1, 0]] * 2
    wide = prior.condition(latent.expand(-1, 4, -1), torch.tensor([2, 0]))
    assert torch.equal(wide, first.expand(-1, 4, -1))
    assert first.dtype == latent.dtype
