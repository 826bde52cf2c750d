"""Defenses of this distribution used together: what goes, and what is refused with its reason."""

from __future__ import annotations

from itertools import combinations

import pytest

from mibench.api import UsageError, params
from mibench.api.composition import Composition
from mibench.registry import load_registry
from mibench.testing import TinyWorld, train_steps

WORLD = TinyWorld()
QUICK = {
    "sca": {"iterations": 2, "channels": (4,)},
    "smoothing": {"copies": 2},
    "purifier": {"epochs": 1},
    "unseen-pixels": {"stage": "learn"},
}


def together(*names: str) -> Composition:
    registry = load_registry()
    return Composition({name: params.build(registry.component("defense", name), QUICK.get(name, {})) for name in names})


@pytest.mark.parametrize(
    "names",
    [
        ("midre", "negls"),
        ("loft", "bido"),
        ("sca", "negls"),
        ("midre", "atat"),
        ("random-labels", "mid"),
        ("negls", "smoothing"),
        ("midre", "feature-noise", "purifier"),
        ("unseen-pixels", "sca"),
    ],
)
def test_these_train_together(names: tuple[str, ...]) -> None:
    defense = together(*names)
    trained = train_steps(defense, WORLD, epochs=1)
    assert trained.deployed(WORLD.batch()[0]).shape == (8, WORLD.classes)
    signals = defense.self_check(trained.model, trained.ctx).signals
    assert {name.split(".")[0] for name in signals} == set(names)


STEPPING = ("at", "atat", "bido", "dp-sgd", "mid", "negls", "trap-mid", "unseen-pixels")


@pytest.mark.parametrize("names", list(combinations(STEPPING, 2)))
def test_two_that_replace_the_training_step_do_not_combine(names: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="replaces the training step"):
        together(*names)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("sca", "unseen-pixels"), "name it first"),
        (("loft", "dp-sgd"), "keeps numbers of each pass"),
        (("sca", "dp-sgd"), "keeps numbers of each pass"),
    ],
)
def test_these_are_refused_when_they_are_built(names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        train_steps(together(*names), WORLD, epochs=1)
