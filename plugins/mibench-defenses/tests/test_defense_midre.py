"""Random erasing: what is erased, where, how much, and by what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mibench_defenses.methods.midre import RandomErasing
from mibench_defenses.methods.negls import NegativeLabelSmoothing
from torch import Tensor

from mibench.api import Defense, UsageError, generator, params, seeded
from mibench.api.composition import Composition
from mibench.api.extras import pack_extras, unpack_extras
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


class TestContract(DefenseContract):
    component = RandomErasing


class TestContractOfRareNoise(DefenseContract):
    component = RandomErasing
    settings = {"fill": "noise", "probability": 0.5, "area_max": 0.8}  # noqa: RUF012


def images(n: int, *, channels: int = 3, size: int = 64) -> Tensor:
    """Return images whose values are no fill value."""
    return 0.1 + 0.2 * torch.rand(n, channels, size, size, generator=generator("images"))


def erased(x: Tensor, seed: int = 0, **settings: object) -> Tensor:
    defense, ctx = params.build(RandomErasing, settings), WORLD.context()
    defense.build(WORLD.classifier(), ctx)
    transform = defense.train_transform(lambda x: x, ctx)
    with seeded("erase", seed):
        return transform(x)


def boxes(x: Tensor, out: Tensor) -> np.ndarray:
    """Return (top, left, height, width) of what changed, and require that all of that box changed, in all channels."""
    changed = (x != out).numpy()
    assert (changed == changed[:, :1]).all()
    found = []
    for mask in changed[:, 0]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = rows[0], columns[0], len(rows), len(columns)
        assert mask[box[0] : box[0] + box[2], box[1] : box[1] + box[3]].all()
        assert mask.sum() == box[2] * box[3]
        found.append(box)
    return np.array(found)


def test_one_rectangle_is_filled_and_all_else_is_unchanged():
    x = images(64)
    before = x.clone()
    out = erased(x, fill=0.75)
    assert torch.equal(x, before)
    assert boxes(x, out).shape == (64, 4)
    assert torch.equal(out[out != x], torch.full_like(out[out != x], 0.75))


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.4), (0.1, 0.8), (0.25, 0.25)])
def test_areas_are_uniform_in_what_was_asked_for(low: float, high: float):
    x = images(2000, channels=1)
    areas = np.sort(boxes(x, erased(x, fill="zero", area_min=low, area_max=high))[:, 2:].prod(1) / 64**2)
    # Rounding two sides to whole pixels moves an area by at most half a pixel times half the circumference.
    slack = 0.5 * (0.3**-0.5 + 0.3**0.5) * high**0.5 / 64 + 0.25 / 64**2
    assert areas[0] >= low - slack
    assert areas[-1] <= high + slack
    if low < high:
        uniform = (areas - low) / (high - low)
        distance = np.abs(uniform - (np.arange(2000) + 0.5) / 2000).max()
        assert distance < 1.63 / 2000**0.5  # Kolmogorov-Smirnov, 1 %
    assert areas.mean() == pytest.approx((low + high) / 2, abs=0.01)


def test_places_are_uniform_inside_the_image():
    x = images(2000, channels=1, size=16)
    found = boxes(x, erased(x, fill="zero", area_min=0.25, area_max=0.25, aspect_min=1, aspect_max=1))
    assert (found[:, 2:] == 8).all()
    for place in found[:, :2].T:
        counts = np.bincount(place, minlength=9)
        assert len(counts) == 9  # tops from 0 to 16 - 8
        assert ((counts - 2000 / 9) ** 2 / (2000 / 9)).sum() < 20.1  # chi-square, 8 degrees of freedom, 1 %
    assert abs(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) < 0.06


def test_aspect_ratios_stay_in_their_range_and_are_log_uniform():
    x = images(2000, channels=1)
    found = boxes(x, erased(x, fill="zero", area_min=0.1, area_max=0.1, aspect_min=0.25, aspect_max=4))
    logs = np.log(found[:, 2] / found[:, 3]) / np.log(4)
    assert np.abs(logs).max() < 1.1
    assert np.quantile(logs, [0.25, 0.5, 0.75]) == pytest.approx([-0.5, 0, 0.5], abs=0.08)


def test_images_of_a_batch_differ_and_seeds_repeat():
    x = images(32)
    first, again, other = (erased(x, seed, fill="zero") for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(np.unique(boxes(x, first), axis=0)) > 28


@pytest.mark.parametrize("channels", [1, 3])
def test_fill_by_imagenets_mean(channels: int):
    x = images(4, channels=channels)
    out = erased(x, fill="mean")
    expected = [0.485, 0.456, 0.406] if channels == 3 else [0.299 * 0.485 + 0.587 * 0.456 + 0.114 * 0.406]
    for channel, value in enumerate(expected):
        filled = out[:, channel][out[:, channel] != x[:, channel]]
        assert torch.equal(filled, torch.full_like(filled, value))


def test_fill_by_noise():
    x = images(200)
    out = erased(x, fill="noise", area_min=0.2, area_max=0.4)
    noise = out[out != x].numpy()
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert noise.mean() == pytest.approx(0.5, abs=0.01)
    assert noise.var() == pytest.approx(1 / 12, abs=0.005)


def test_probability():
    x = images(2000, channels=1, size=8)
    out = erased(x, fill="zero", probability=0.3)
    assert (out != x).flatten(1).any(1).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(erased(x, probability=0), x)


def test_the_whole_image_can_be_erased():
    x = images(8, size=16)
    assert not erased(x, fill="zero", area_min=1, area_max=1).any()


def test_images_of_any_shape():
    x = images(16)[:, :, :24]
    found = boxes(x, erased(x, fill="zero"))
    assert (found[:, 0] + found[:, 2] <= 24).all()


def test_it_comes_after_the_recipes_augmentation():
    defense, ctx = RandomErasing(fill="zero"), WORLD.context()
    defense.build(WORLD.classifier(), ctx)
    out = defense.train_transform(lambda x: x + 0.5, ctx)(images(4))
    assert ((out == 0) | (out >= 0.6)).all()


def test_counts_what_it_erased_and_resumes_in_place():
    defense, ctx = RandomErasing(fill="zero"), WORLD.context()
    defense.build(WORLD.classifier(), ctx)
    transform, x = defense.train_transform(lambda x: x, ctx), images(16, channels=1)
    zeros = int((transform(x) == 0).sum())
    assert ctx.extras["pixels"].tolist() == [zeros, 16 * 64 * 64]
    saved = {name: value.clone() for name, value in pack_extras(ctx.extras).items()}
    resumed = WORLD.context()
    defense.build(WORLD.classifier(), resumed)
    transform = defense.train_transform(lambda x: x, resumed)
    unpack_extras(resumed.extras, saved)
    zeros += int((transform(x) == 0).sum())
    assert resumed.extras["pixels"].tolist() == [zeros, 2 * 16 * 64 * 64]


def test_self_check_of_a_training():
    trained = train_steps(RandomErasing(), WORLD)
    verdict = RandomErasing().self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals["erased"] == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("settings", [{"probability": 0.0}, {}])
def test_self_check_is_inactive_if_nothing_was_erased(settings: dict):
    defense, ctx = RandomErasing(**settings), WORLD.context()
    defense.build(WORLD.classifier(), ctx)
    if settings:
        defense.train_transform(lambda x: x, ctx)(images(8))
    verdict = defense.self_check(WORLD.classifier(), ctx)
    assert not verdict.active
    assert verdict.signals["erased"] == 0


def test_no_erasing_trains_as_plain_training_does():
    plain, without = (train_steps(d, WORLD).model.state_dict() for d in (Defense(), RandomErasing(probability=0.0)))
    assert plain.keys() == without.keys()
    assert all(torch.equal(plain[name], without[name]) for name in plain)


def test_it_combines_with_a_loss():
    both = Composition({"midre": RandomErasing(), "negls": NegativeLabelSmoothing(start=0.0, full=0.0)})
    trained = train_steps(both, WORLD)
    verdict = both.self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals["midre.erased"] > 0


@pytest.mark.parametrize(
    "settings",
    [
        {"area_min": 0.5, "area_max": 0.4},
        {"aspect_min": 2, "aspect_max": 1},
        {"aspect_min": 3, "aspect_max": 4},
        {"aspect_min": 0.1, "aspect_max": 0.2},
    ],
)
def test_impossible_rectangles_are_refused(settings: dict):
    with pytest.raises(UsageError, match="midre"):
        params.build(RandomErasing, settings)


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("mean", "mean"), (1, 1.0)])
def test_fill_from_the_command_line(text: object, value: object):
    assert params.build(RandomErasing, {"fill": text}).fill == value


@pytest.mark.parametrize("fill", [1.5, -0.1, "black"])
def test_other_fills_are_refused(fill: object):
    with pytest.raises(UsageError, match="fill"):
        params.build(RandomErasing, {"fill": fill})
