"""Contracts certify the product's own loop: what they say and what real runs do agree, also when the loop is spoilt."""

import random
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from mibench.api import Defense, seeded
from mibench.testing import DefenseContract, TinyWorld, contract_for, run_checks, train_steps
from mibench.testing.tiny_stages import TESTED, tiny_stages
from mibench.training import hooks, loop

WORLD = TinyWorld()


def draw():
    """Return a number that follows every global generator."""
    return float(torch.rand(())) + random.random() + float(np.random.rand())  # noqa: NPY002


def nudge(model):
    with torch.no_grad():
        next(model.parameters()).add_(1e-3 * draw())


@dataclass(frozen=True, kw_only=True)
class Shuffled(Defense):
    """Puts the training images into an order of its own, from torch's global generator."""

    def train_dataset(self, data, ctx):
        return data.subset(torch.randperm(len(data)))


@dataclass(frozen=True, kw_only=True)
class Gambler(Defense):
    """Draws from every global generator in every hook, and lets each draw reach what is saved."""

    def build(self, classifier, ctx):
        nudge(classifier)
        return classifier

    def train_dataset(self, data, ctx):
        return data.subset(torch.randperm(len(data)))

    def train_transform(self, base, ctx):
        shift = 1e-2 * draw()
        return lambda x_BCHW: (base(x_BCHW) + shift + 1e-2 * draw()).clamp(0, 1)

    def batches(self, num_images, batch, rng):
        return list(torch.randperm(num_images).split(batch))

    def parameters(self, model, ctx):
        nudge(model)
        return super().parameters(model, ctx)

    def training_step(self, model, x_BCHW, y_B, ctx):
        return super().training_step(model, x_BCHW + 1e-2 * draw(), y_B, ctx)

    def on_epoch_start(self, model, ctx):
        nudge(model)

    def on_gradients(self, model, ctx):
        next(model.parameters()).grad.add_(1e-2 * draw())

    def on_epoch_end(self, model, ctx):
        nudge(model)

    def finish(self, model, data, ctx):
        ctx.extras["fitted"] = torch.full((1,), draw())


PURPOSES = {
    loop: (
        "dataset",
        "transform",
        "parameters",
        "epoch start",
        "epoch end",
        "augment",
        "network",
        "gradients",
        "batches",
    ),
    hooks: ("init", "finish"),
}


def caught(component):
    return {o.check for o in run_checks(contract_for("defense", component)) if o.verdict != "passed"}


@contextmanager
def unseeded(*parts):
    yield


def spoil(monkeypatch, module, purpose):
    """Let a module not seed the hook of one purpose."""
    monkeypatch.setattr(module, "seeded", lambda *parts: (unseeded if purpose in parts else seeded)(*parts))


def weights(component, seed, **more):
    with seeded("global", seed):
        return train_steps(component(), WORLD, **more)


def same(first, second):
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    return all(torch.equal(one, two) for one, two in pairs) and first.ctx.extras == second.ctx.extras


@pytest.mark.parametrize("component", [Shuffled, Gambler])
def test_a_defense_that_draws_globally_passes_and_real_targets_agree(component):
    assert caught(component) == set()
    contents = set()
    for seed in (1, 2):
        with seeded("global", seed):
            parts = {"undefended": {"name": TESTED}}
            with tiny_stages(WORLD, {("defense", TESTED): component}, **parts) as stages:
                contents.add(stages.make(stages.cell.target).content)
    assert len(contents) == 1


def test_in_a_loop_that_does_not_seed_the_data_both_disagree(monkeypatch):
    assert same(weights(Shuffled, 1), weights(Shuffled, 2))
    spoil(monkeypatch, loop, "dataset")
    assert not same(weights(Shuffled, 1), weights(Shuffled, 2))
    assert "follows_no_global_seed" in caught(Shuffled)


@pytest.mark.parametrize(
    ("module", "purpose"), [(module, purpose) for module, purposes in PURPOSES.items() for purpose in purposes]
)
def test_whichever_hook_is_not_seeded_the_contract_fails(monkeypatch, module, purpose):
    class Contract(DefenseContract):
        component = Gambler

    Contract().test_follows_no_global_seed()
    spoil(monkeypatch, module, purpose)
    with pytest.raises(AssertionError, match="under another global seed"):
        Contract().test_follows_no_global_seed()


def test_every_purpose_of_the_loop_and_its_hooks_is_spoilt_above():
    named = {
        p for module in PURPOSES for p in re.findall(r'seeded\([\w.]+, "([^"]+)"', Path(module.__file__).read_text())
    }
    # what they seed beside these: reading images, the defense itself, its verdict, what it deploys
    assert named - {p for purposes in PURPOSES.values() for p in purposes} == {
        "images",
        "defense",
        "self check",
        "inference",
    }


def test_an_interruption_goes_through_a_checkpoint_on_disk(monkeypatch):
    saved, loaded = [], []
    save, load = loop.save_checkpoint, loop.load_checkpoint
    monkeypatch.setattr(loop, "save_checkpoint", lambda path, state: saved.append(state["epoch"]) or save(path, state))
    monkeypatch.setattr(loop, "load_checkpoint", lambda path: loaded.append(load(path)) or loaded[-1])
    whole = train_steps(Defense(), WORLD, epochs=4)
    assert (saved, loaded) == ([], [None])
    resumed = train_steps(Defense(), WORLD, epochs=4, interrupt=2)
    assert saved == [1, 2]
    assert loaded[-1]["epoch"] == 2
    assert same(whole, resumed)


def test_a_loop_that_forgets_the_optimiser_is_caught(monkeypatch):
    load = loop.load_checkpoint

    def forgetful(path):
        state = load(path)
        return state and {**state, "optimizer": {**state["optimizer"], "state": {}}}

    monkeypatch.setattr(loop, "load_checkpoint", forgetful)
    assert {"resumes_byte_equal", "target_stage"} <= caught(Shuffled)
