"""The source digest of components that are used together, against a digest of digests by hand."""

import hashlib
import json

import pytest

from mibench.nodes.classifier import TargetInputs
from mibench.nodes.marks import Ref
from mibench.plan.provenance import joint_digest, sources_of
from mibench.protocol.schema import ImageShape, Recipe
from mibench.protocol.split import PrivateSplit
from mibench.registry.entry import Entry
from mibench.registry.registry import Registry


@pytest.fixture()
def code(monkeypatch):
    """Give each component source code of its own; return the digests, by name, to be edited."""
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("flipped", "noisy", "warm", "tiny")}
    monkeypatch.setattr(Registry, "source_digest", lambda self, entry: digests[entry.name])
    return digests


def _of(registry, defense):
    target = TargetInputs(
        private=Ref("k", ("data",)),
        model=Entry("tiny", "1", {}),
        defense=Entry(defense, "1", {}),
        recipe=Recipe(epochs=1, batch=1),
        seed=0,
        image=ImageShape(size=8, channels=1),
        split=PrivateSplit(seed=0, train=1, val=0, test=1, identities=[0, 1]),
        precision="fp32",
    )
    return sources_of(registry, target)


def test_a_component_alone_has_the_digest_of_its_own_source(toy_registry, code):
    assert _of(toy_registry, "noisy") == {"defense": code["noisy"], "model": code["tiny"]}


def test_components_used_together_have_one_digest_over_all_of_them_in_order(toy_registry, code):
    names = ("flipped", "noisy", "warm")
    wanted = hashlib.sha256(json.dumps([code[name] for name in names], separators=(",", ":")).encode()).hexdigest()
    assert _of(toy_registry, "flipped+noisy+warm")["defense"] == wanted
    assert joint_digest(toy_registry, [toy_registry.get("defense", name) for name in names]) == wanted
    assert _of(toy_registry, "noisy+flipped+warm")["defense"] != wanted


@pytest.mark.parametrize("edited", ["flipped", "noisy", "warm"])
def test_an_edit_of_any_of_them_changes_it(toy_registry, code, edited):
    before = _of(toy_registry, "flipped+noisy+warm")
    code[edited] = "0" * 64
    after = _of(toy_registry, "flipped+noisy+warm")
    assert after["defense"] != before["defense"]
    assert after["model"] == before["model"]
