"""Options of a recipe against torch's loader and torchvision's colour changes; unset, they leave no trace in JSON."""

from typing import Any

import pytest
import torch
from node_factory import inputs
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional as vision

from mibench.api import Defense, Step, UsageError, generator
from mibench.api.composition import Composition
from mibench.protocol.schema import Augmentation, ImageShape, Recipe
from mibench.registry.build import Components
from mibench.registry.entry import Entry
from mibench.stages.classifier import build
from mibench.testing.tiny_world import TinyWorld
from mibench.training.augment import make_augmentation
from mibench.training.loop import Training

STILL = Augmentation(crop_scale=None, flip=0.0)
CPU = torch.device("cpu")


class Counting(Defense):
    """Plain training that writes down the sizes of the batches it is given."""

    def __init__(self):
        self.sizes = []

    def training_step(self, model, x_BCHW, y_B, ctx):
        self.sizes.append(len(y_B))
        return super().training_step(model, x_BCHW, y_B, ctx)


class Own(Defense):
    """Draws its batches in a way that knows no ``drop_last``."""

    def batches(self, num_images, batch, rng):
        return list(torch.arange(num_images).split(batch))


def training(defense, work, images=12, **recipe):
    world = TinyWorld(classes=3, per_class=images // 3)
    made = Recipe(**{"epochs": 2, "batch": 5, "augmentation": STILL, **recipe})
    return Training(world.classifier(), defense, made, world.images(), world.context(), seed=1, work=work)


@pytest.mark.parametrize("images", [12, 15, 21])
def test_drop_last_steps_as_often_as_torchs_loader(tmp_path, images):
    defense = Counting()
    made = training(defense, tmp_path, images, drop_last=True)
    made.run(lambda *_: None)
    loader = DataLoader(range(images), batch_size=5, shuffle=True, drop_last=True)
    assert made.ctx.steps_per_epoch == len(loader)
    assert defense.sizes == 2 * [len(batch) for batch in loader]


def test_without_it_the_rest_trains_too_and_a_single_image_joins_the_batch_before(tmp_path):
    sizes = {}
    for images in (12, 21):
        defense = Counting()
        training(defense, tmp_path / str(images), images, epochs=1).run(lambda *_: None)
        sizes[images] = defense.sizes
    assert sizes == {12: [5, 5, 2], 21: [5, 5, 5, 6]}


def test_both_ways_draw_the_same_order_and_every_epoch_another():
    every, whole = (Defense().batches(12, 5, generator("order", 0), drop_last=drop) for drop in (False, True))
    assert [chunk.tolist() for chunk in whole] == [chunk.tolist() for chunk in every[:2]]
    other = Defense().batches(12, 5, generator("order", 1), drop_last=True)
    assert whole[0].tolist() != other[0].tolist()


@pytest.mark.parametrize("defense", [Own(), Composition({"own": Own(), "plain": Defense()})])
def test_a_defense_that_draws_its_own_batches_is_not_ignored_in_silence(tmp_path, defense):
    assert training(defense, tmp_path).ctx.steps_per_epoch == 3
    with pytest.raises(UsageError, match=r"Own\.batches does not take it"):
        training(defense, tmp_path, drop_last=True)


def test_dropping_everything_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="drops all of 3 training images"):
        training(Defense(), tmp_path, 3, drop_last=True)


@pytest.mark.parametrize(("drop_last", "steps"), [(True, 2), (False, 3)])
def test_a_defense_is_built_with_the_steps_that_it_will_take(toy_registry, drop_last, steps):
    made: Any = inputs(
        "target",
        image=ImageShape(size=16, channels=1),
        recipe=Recipe(epochs=1, batch=5, drop_last=drop_last),
        seed=0,
        model=Entry("tiny", "1", {}),
        defense=Entry("plain", "1", {}),
    )
    assert build(Components(toy_registry), made, CPU, 12)[2].steps_per_epoch == steps


FACTORS = {"brightness": vision.adjust_brightness, "contrast": vision.adjust_contrast}
FACTORS |= {"saturation": vision.adjust_saturation, "hue": vision.adjust_hue}


@pytest.mark.parametrize("strengths", [(0.2, 0.2, 0.1, 0.1), (0.5, 0.0, 0.0, 0.0), (0.0, 0.9, 0.0, 0.0)])
def test_colour_jitter_is_torchvisions_with_factors_of_its_own_for_each_image(strengths):
    jitter = make_augmentation(STILL.model_copy(update=dict(zip(FACTORS, strengths, strict=True))), 8)
    x_BCHW = torch.rand(6, 3, 8, 8, generator=generator("jitter"))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        got_BCHW = jitter(x_BCHW)
    (layer,) = jitter.__closure__[0].cell_contents
    drawn = layer._params
    for image, got, index in zip(x_BCHW, got_BCHW, range(6), strict=True):
        for which in drawn["order"].tolist():
            name = list(FACTORS)[which]
            image = FACTORS[name](image, float(drawn[f"{name}_factor"][index]))
        torch.testing.assert_close(got, image, atol=1e-4, rtol=0)
    varied = [name for name, strength in zip(FACTORS, strengths, strict=True) if strength]
    assert all(len(drawn[f"{name}_factor"].unique()) == 6 for name in varied)


def test_brightness_multiplies_and_contrast_keeps_the_mean_grey():
    grey = torch.full((400, 1, 2, 2), 0.5)
    brighter = make_augmentation(STILL.model_copy(update={"brightness": 0.2}), 2)(grey)
    assert 0.4 <= brighter.min() < 0.41
    assert 0.59 < brighter.max() <= 0.6
    halves = torch.tensor([0.2, 0.4]).view(1, 1, 1, 2).expand(400, 1, 2, 2)
    contrasted = make_augmentation(STILL.model_copy(update={"contrast": 0.2}), 2)(halves)
    assert contrasted.mean((1, 2, 3)).sub(0.3).abs().max() < 1e-6
    assert contrasted.diff(dim=3).std() > 0.01


def test_jitter_stays_in_range():
    x_BCHW = torch.rand(50, 3, 4, 4, generator=generator("jitter"))
    out_BCHW = make_augmentation(Augmentation(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5), 4)(x_BCHW)
    assert out_BCHW.min() >= 0
    assert out_BCHW.max() <= 1


def test_unset_options_are_not_in_a_recipes_json_and_set_ones_survive_it():
    known = {"epochs", "batch", "optimizer", "lr", "betas", "momentum", "weight_decay", "milestones", "gamma"}
    plain = Recipe(epochs=1, batch=1)
    dumped = plain.model_dump(mode="json")
    assert set(dumped) == known | {"augmentation"}
    assert set(dumped["augmentation"]) == {"crop_scale", "flip", "brightness", "contrast"}
    rich = Recipe(
        epochs=1,
        batch=1,
        drop_last=True,
        checkpoint="acc:.9",
        validate_every=5,
        augmentation=Augmentation(brightness=0.2),
    )
    dumped = rich.model_dump(mode="json")
    assert set(dumped) == known | {"augmentation", "drop_last", "checkpoint", "validate_every"}
    # Jitter means another thing than it did: a recipe with any has other keys than before.
    assert {"saturation", "hue"} < set(dumped["augmentation"])
    assert [Recipe.model_validate(recipe.model_dump(mode="json")) for recipe in (plain, rich)] == [plain, rich]


class Telling(Defense):
    """Plain training that signals the size of each batch."""

    def training_step(self, model, x_BCHW, y_B, ctx):
        step = super().training_step(model, x_BCHW, y_B, ctx)
        return Step(step.loss, {"size": float(len(y_B))})


def test_a_signal_of_an_epoch_is_the_mean_over_its_images(tmp_path):
    made = training(Telling(), tmp_path)  # batches of 5, 5 and 2
    made.run(lambda *_: None)
    assert [epoch["size"] for epoch in made.ctx.history] == [pytest.approx((5 * 5 + 5 * 5 + 2 * 2) / 12)] * 2


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, [1, 2]), (3600.0, [])])
def test_a_training_is_kept_as_often_as_it_should_and_never_after_its_end(tmp_path, monkeypatch, seconds, kept):
    made = training(Counting(), tmp_path, epochs=3)
    saved = []
    monkeypatch.setattr(made, "checkpoint_seconds", seconds)
    monkeypatch.setattr(made, "_save", lambda: saved.append(made.ctx.epoch))
    made.run(lambda *_: None)
    assert saved == kept
