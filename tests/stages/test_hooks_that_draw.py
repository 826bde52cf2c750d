"""Code of components may draw from global generators wherever it is called: results follow seeds, and nothing else."""

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fake_plugin import parts

from mibench.api import Defense
from mibench.protocol.request import Request
from mibench.registry.build import Components
from mibench.session.run import plan_request
from mibench.stages import prior
from mibench.stages.classifier import load_classifier
from mibench.stages.run import run_node
from mibench.store.store import Store
from mibench.training import loop

CPU = torch.device("cpu")


class _Killed(BaseException):
    pass


def draw():
    """Return a number that follows every global generator."""
    return float(torch.rand(())) + random.random() + float(np.random.rand())  # noqa: NPY002


def _nudge(model):
    with torch.no_grad():
        next(model.parameters()).add_(1e-3 * draw())


@dataclass(frozen=True, kw_only=True)
class Gambler(Defense):
    """Draws in every hook, and lets each draw reach the weights that are saved, or what is deployed."""

    def __post_init__(self):
        object.__setattr__(self, "luck", draw())

    def build(self, classifier, ctx):
        _nudge(classifier)
        ctx.extras["luck"] = torch.full((1,), self.luck)  # type: ignore[attr-defined]
        return classifier

    def train_dataset(self, data, ctx):
        return _Blurred(data.subset(torch.randperm(len(data))), draw())

    def train_transform(self, base, ctx):
        shift = 1e-2 * draw()
        return lambda x_BCHW: base(x_BCHW) + shift

    def batches(self, num_images, batch, rng):
        return list(torch.randperm(num_images).split(batch))

    def parameters(self, model, ctx):
        _nudge(model)
        return super().parameters(model, ctx)

    def on_epoch_start(self, model, ctx):
        _nudge(model)

    def on_gradients(self, model, ctx):
        next(model.parameters()).grad.add_(1e-2 * draw())

    def on_step_end(self, model, ctx):
        _nudge(model)

    def on_epoch_end(self, model, ctx):
        _nudge(model)

    def finish(self, model, data, ctx):
        ctx.extras["fitted"] = torch.full((1,), draw())

    def self_check(self, model, ctx):
        return parts.SelfCheck(signals={"luck": draw()})

    def inference(self, model, ctx):
        _nudge(model)
        return model


class _Blurred:
    """Images that are read at random, as an augmentation in a dataset does."""

    def __init__(self, data, amount):
        self.data, self.amount, self.labels_N, self.num_classes = data, amount, data.labels_N, data.num_classes

    def __len__(self):
        return len(self.data)

    def images(self, indices_B):
        return (self.data.images(indices_B) + 1e-2 * self.amount * draw()).clamp(0, 1)


@pytest.fixture()
def gambling(monkeypatch):
    """Every component of the fake plugin draws wherever it can."""
    monkeypatch.setattr(parts, "Noisy", Gambler)

    def after(owner, method, change):
        honest = getattr(owner, method)
        monkeypatch.setattr(owner, method, lambda *a, **k: change(honest(*a, **k)))

    def scaled(measured):
        return [parts.replace(row, details={"luck": draw()}) for row in measured]

    after(parts.Blobs, "load", lambda data: data.subset(torch.randperm(len(data)).sort().values.roll(int(draw()))))
    after(parts.Linear, "trainer", lambda trainer: _nudge(trainer.prior) or trainer)
    after(parts.LinearTrainer, "finish", lambda made: _nudge(made) or made)
    after(parts.Linear, "deploy", lambda made: _nudge(made) or made)
    after(parts.Guess, "prepare", lambda starts: starts + 1e-2 * draw())
    after(parts.Guess, "reconstruct", lambda result: parts.replace(result, scores_N=result.scores_N + draw()))
    after(parts.Light, "measure", scaled)


def _reseed(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def _run(registry, root, kill_at=None):
    """Run all nodes; with ``kill_at``, each training and attack is interrupted there once. Return contents by node."""
    request = Request(protocols=("toy",), defenses=("noisy",), attacks=("guess",), device="cpu", store=root)
    contents, labels = {}, {}
    for node in plan_request(request, registry).to_run:
        for stop in (kill_at, None):

            def progress(done, *_, stop=stop):
                if done == stop:
                    raise _Killed

            try:
                made = run_node(node, Store(root), registry, CPU, progress)
                break
            except _Killed:
                draw()
        contents[node.id], labels[node.id] = made.content, node.label
    return contents, labels


def test_results_follow_no_global_generator_and_no_interruption(toy_registry, tmp_path, monkeypatch, gambling):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(prior, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(prior, "REPORT_SECONDS", -1.0)
    _reseed(1)
    one, labels = _run(toy_registry, tmp_path / "one")
    for seed, kill_at in ((2, None), (3, 2)):
        _reseed(seed)
        other, _ = _run(toy_registry, tmp_path / str(seed), kill_at)
        assert [labels[name] for name in one if one[name] != other[name]] == []


def test_a_target_is_deployed_alike_in_every_stage(toy_registry, tmp_path, gambling):
    _run(toy_registry, tmp_path)
    request = Request(protocols=("toy",), defenses=("noisy",), attacks=("guess",), device="cpu", store=tmp_path)
    artifact = Store(tmp_path).get("target", plan_request(request, toy_registry).cells[-1].target.key)
    weights = []
    for seed in (4, 5):
        _reseed(seed)
        weights.append(next(load_classifier(Components(toy_registry), artifact, CPU).parameters()).tolist())
    assert weights[0] == weights[1]
