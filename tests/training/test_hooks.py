"""What is asked of a defense once: in which order, with which draws, and what the context says by then."""

import pytest
import torch
from torch import nn

from mibench.api import Defense, SelfCheck, derive_seed, generator, seeded
from mibench.protocol.schema import Recipe
from mibench.testing import TinyWorld
from mibench.training import hooks

CPU = torch.device("cpu")
WORLD = TinyWorld()


def task(**more):
    return hooks.Task(
        **{"num_classes": 4, "channels": 3, "size": 16, "train_size": 24, "seed": 7, "device": CPU} | more
    )


def expected(purpose):
    """Return the first number that torch's global generator gives where it is seeded for a purpose of seed 7."""
    rng = torch.Generator().manual_seed(derive_seed(7, purpose))
    return torch.rand((), generator=rng).item()


def test_the_defense_the_network_and_build_draw_in_that_order_from_seeds_of_their_own():
    draws = []

    class Drawing(Defense):
        def __init__(self):
            draws.append(("defense", torch.rand(()).item()))

        def build(self, classifier, ctx):
            draws.append(("build", torch.rand(()).item()))
            return classifier

    def plain():
        draws.append(("init", torch.rand(()).item()))
        return WORLD.classifier()

    before = torch.get_rng_state()
    hooks.build(Drawing, plain, Recipe(epochs=1, batch=8), task())
    assert torch.equal(torch.get_rng_state(), before)
    rng = torch.Generator().manual_seed(derive_seed(7, "init"))
    first, second = (torch.rand((), generator=rng).item() for _ in range(2))
    assert draws == [("defense", expected("defense")), ("init", first), ("build", second)]


@pytest.mark.parametrize(
    ("images", "batch", "drop_last", "steps"),
    [(24, 8, False, 3), (24, 8, True, 3), (25, 8, False, 4), (25, 8, True, 3), (5, 8, False, 1), (5, 8, True, 1)],
)
def test_the_context_knows_the_steps_of_an_epoch(images, batch, drop_last, steps):
    recipe = Recipe(epochs=3, batch=batch, lr=0.25, drop_last=drop_last)
    _, _, ctx = hooks.build(Defense, WORLD.classifier, recipe, task(train_size=images))
    assert ctx.steps_per_epoch == steps
    assert (ctx.epochs, ctx.batch, ctx.num_images, ctx.lr) == (3, batch, images, 0.25)
    assert (ctx.num_classes, ctx.channels, ctx.size, ctx.device, ctx.start) == (4, 3, 16, CPU, None)
    assert torch.equal(torch.rand(3, generator=ctx.rng), torch.rand(3, generator=generator(7, "defense", "build")))


def test_optimisers_beside_the_targets_are_the_recipes():
    recipe = Recipe(epochs=1, batch=8, optimizer="sgd", lr=0.125, momentum=0.5, weight_decay=0.25)
    _, _, ctx = hooks.build(Defense, WORLD.classifier, recipe, task())
    made = ctx.new_optimizer(nn.Linear(2, 2).parameters())
    assert isinstance(made, torch.optim.SGD)
    (group,) = made.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.125, 0.5, 0.25)


def test_what_comes_before_is_handed_on():
    start = {"mask": torch.ones(2)}
    _, _, ctx = hooks.build(Defense, WORLD.classifier, Recipe(epochs=1, batch=8), task(start=start))
    assert ctx.start is start


@pytest.mark.parametrize(
    ("hook", "purpose"), [("finish", "finish"), ("self_check", "self check"), ("inference", "inference")]
)
def test_what_follows_a_training_is_seeded_and_leaves_no_trace(hook, purpose):
    drawn = []

    class Drawing(Defense):
        def finish(self, model, data, ctx):
            drawn.append(torch.rand(()).item())

        def self_check(self, model, ctx):
            drawn.append(torch.rand(()).item())
            return SelfCheck(reason="checked")

        def inference(self, model, ctx):
            drawn.append(torch.rand(()).item())
            return model

    defense, model, ctx = Drawing(), WORLD.classifier(), WORLD.context()
    for seed in (1, 2):
        with seeded("global", seed):
            before = torch.get_rng_state()
            if hook == "finish":
                hooks.finish(defense, model, WORLD.images(), ctx, 7)
            elif hook == "self_check":
                assert hooks.self_check(defense, model, ctx, 7).reason == "checked"
            else:
                deployed = hooks.deploy(defense, model, ctx, 7)
                assert not deployed.training
                assert not any(parameter.requires_grad for parameter in deployed.parameters())
            assert torch.equal(torch.get_rng_state(), before)
    assert drawn == [expected(purpose)] * 2
