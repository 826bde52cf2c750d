"""Loading a prior for an attack lets its component deploy it: weights first, then the device, then that."""

from __future__ import annotations

from types import SimpleNamespace

import fake_plugin.parts as parts
import torch
from node_factory import inputs

from mibench.api.hookspecs import hookimpl
from mibench.api.prior import PriorModel
from mibench.api.specs import PriorSpec
from mibench.registry.build import Components
from mibench.registry.entry import Entry
from mibench.registry.registry import Registry
from mibench.stages.files import save_tensors
from mibench.stages.prior import load_prior


class Faster(PriorModel):
    """A prior component that doubles the weights when deployed."""

    def build(self, *, channels, size):
        return torch.nn.Linear(2, 2)

    def trainer(self, prior, images, *, seed, device):
        raise AssertionError("nothing is trained here")

    def deploy(self, prior):
        assert not any(parameter.requires_grad for parameter in prior.parameters())
        return torch.nn.Sequential(prior, prior)


class Plugin:
    @hookimpl
    def mibench_priors(self):
        yield PriorSpec(name="faster", factory=f"{__name__}:Faster", summary="s")


def test_a_loaded_prior_is_deployed(tmp_path, monkeypatch):
    registry = Registry.from_modules(Plugin())
    monkeypatch.setattr(Registry, "component", lambda self, kind, name: Faster)
    monkeypatch.setattr("mibench.registry.build.params.build", lambda component, settings, owner: component())
    weights = {"weight": torch.eye(2) * 3, "bias": torch.ones(2)}
    save_tensors(tmp_path / "weights.safetensors", weights)
    payload = inputs("prior", prior=Entry("faster", "1", {})).payload()
    artifact = SimpleNamespace(payload=payload, path=tmp_path)
    loaded = load_prior(Components(registry), artifact, torch.device("cpu"))
    assert loaded(torch.zeros(1, 2)).tolist() == [[4.0, 4.0]]


def test_by_default_nothing_changes():
    prior = parts.LinearPrior(1, 8)
    assert PriorModel.deploy(SimpleNamespace(), prior) is prior
