"""The source digest of components that are used together, against a digest of digests by hand."""

import hashlib
import json
from importlib import metadata
from pathlib import Path

import pytest
from node_factory import make_node

from mibench.nodes.classifier import TargetInputs
from mibench.nodes.marks import Ref
from mibench.plan import provenance
from mibench.plan.provenance import joint_digest, made_by, sources_of
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
    return sources_of(registry, _target(defense))


def _target(defense):
    return TargetInputs(
        private=Ref("k", ("data",)),
        model=Entry("tiny", "1", {}),
        defense=Entry(defense, "1", {}),
        recipe=Recipe(epochs=1, batch=1),
        seed=0,
        image=ImageShape(size=8, channels=1),
        split=PrivateSplit(seed=0, train=1, val=0, test=1, identities=[0, 1]),
        precision="fp32",
    )


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


def test_what_checkpoints_depend_on_is_told_in_words(toy_registry, code):
    found = made_by(toy_registry, _target("noisy"))
    assert {name: found[name] for name in found if name != "source code of mibench"} == {
        "source code of the model": code["tiny"],
        "source code of the defense": code["noisy"],
        "torch": metadata.version("torch"),
    }


def test_the_core_is_its_version_and_its_sources(toy_registry, code, monkeypatch):
    asked = []
    monkeypatch.setattr(provenance, "__version__", "9.9")
    monkeypatch.setattr(provenance, "digest_of_sources", lambda packages: asked.append(list(packages)) or "f00")
    assert made_by(toy_registry, _target("noisy"))["source code of mibench"] == "9.9 f00"
    assert asked == [["mibench"]]


def test_the_digest_of_the_core_is_over_every_file_of_it():
    import mibench

    folder, total = Path(mibench.__file__).parent, hashlib.sha256()
    for name, path in sorted((f"mibench/{path.relative_to(folder).as_posix()}", path) for path in folder.rglob("*.py")):
        content = path.read_bytes()
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    assert provenance.digest_of_sources(["mibench"]) == total.hexdigest()


def test_a_stage_without_components_depends_on_the_core_alone(toy_registry):
    gold = make_node("gold").inputs
    assert sources_of(toy_registry, gold) == {}
    assert set(made_by(toy_registry, gold)) == {"source code of mibench", "torch"}


@pytest.mark.parametrize(
    ("stage", "fields"),
    [
        ("data", {"dataset"}),
        ("prior", {"prior"}),
        ("evaluator", {"model"}),
        ("target", {"model", "defense"}),
        ("reconstruct", {"attack"}),
        ("measure", {"metric"}),
    ],
)
def test_a_stage_has_a_digest_for_each_of_its_components(toy_registry, stage, fields):
    found = sources_of(toy_registry, make_node(stage).inputs)
    assert set(found) == fields
    assert all(len(one) == 64 for one in found.values())
