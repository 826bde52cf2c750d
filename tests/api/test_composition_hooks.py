"""A composition forwards every hook that a defense has; one that is added to ``Defense`` and forgotten here fails."""

from inspect import isfunction, signature
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mibench.api import Defense, Step
from mibench.api.composition import ALONE, Composition

HOOKS = [name for name, value in vars(Defense).items() if isfunction(value) and not name.startswith("_")]
ONE = {method for methods in ALONE.values() for method in methods} - {"on_gradients"}
"""Hooks that at most one part may have: the first part answers where none has its own."""
TOLD = {name for name in HOOKS if signature(getattr(Defense, name)).return_annotation == "None"}
"""Hooks that return nothing: every part is told."""


class Part(Defense):
    """Writes down what it is asked."""

    def __init__(self, asked, name):
        self.asked, self.name = asked, name


def _recording(hook):
    def method(self, *args, **kwargs):
        self.asked.append(self.name)
        return getattr(Defense, hook)(self, *args, **kwargs)

    return method


def given(hook):
    """Return arguments for a hook, by the names that ``Defense`` gives them."""
    net = nn.Linear(2, 2)
    rng = torch.Generator().manual_seed(0)
    ctx = SimpleNamespace(extras={}, start=None, device=torch.device("cpu"), rng=rng)
    known = {"ctx": ctx, "classifier": net, "model": net, "base": abs, "data": [1, 2], "rng": rng, "outputs": None}
    known |= {"num_images": 4, "batch": 2, "epochs": 1, "labels_N": torch.zeros(4), "x_BCHW": None, "y_B": None}
    names = [name for name in signature(getattr(Defense, hook)).parameters if name not in ("self", "drop_last")]
    keywords = {"num_images", "batch", "epochs"} if hook == "check_recipe" else set()
    return [known[n] for n in names if n not in keywords], {n: known[n] for n in names if n in keywords}


def test_a_composition_has_a_method_of_its_own_for_every_hook():
    assert len(HOOKS) > 15
    assert [hook for hook in HOOKS if hook not in vars(Composition)] == []


def test_the_check_sees_a_hook_that_was_forgotten(monkeypatch):
    monkeypatch.setattr(Defense, "on_deployment", lambda self: None, raising=False)
    hooks = [name for name, value in vars(Defense).items() if isfunction(value) and not name.startswith("_")]
    assert [hook for hook in hooks if hook not in vars(Composition)] == ["on_deployment"]


@pytest.mark.parametrize("hook", HOOKS)
def test_it_takes_the_same_arguments(hook):
    own, wanted = (signature(getattr(owner, hook)) for owner in (Composition, Defense))
    assert list(own.parameters.values()) == list(wanted.parameters.values())


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in ONE])
def test_every_part_is_asked_in_order_and_once(hook):
    asked = []
    silent = {"training_step": lambda *a: Step(torch.zeros(()))}
    kind = type("Recording", (Part,), {hook: _recording(hook)} if hook != "on_gradients" else silent)
    parts = {name: kind(asked, name) for name in ("first", "second")}
    if hook == "on_gradients":  # only one part may change gradients
        parts["second"] = type("Recording", (Part,), {hook: _recording(hook)})(asked, "second")
        parts["first"] = Part(asked, "first")
    composition = Composition(parts)
    asked.clear()
    args, kwargs = given(hook)
    getattr(composition, hook)(*args, **kwargs)
    assert asked == (["second"] if hook == "on_gradients" else ["first", "second"])


@pytest.mark.parametrize("hook", sorted(ONE))
def test_the_one_part_that_has_its_own_is_asked(hook):
    asked = []
    own = type("Own", (Part,), {hook: lambda self, *args, **kwargs: self.asked.append(self.name) or "own"})
    args, kwargs = given(hook)
    for order in (("own", "plain"), ("plain", "own")):
        parts = {name: (own if name == "own" else Part)(asked, name) for name in order}
        assert getattr(Composition(parts), hook)(*args, **kwargs) == "own"
    assert asked == ["own", "own"]


def test_hooks_that_return_nothing_are_known():
    assert {"on_epoch_start", "on_epoch_end", "on_step_end", "on_gradients", "finish", "check_recipe"} == TOLD
