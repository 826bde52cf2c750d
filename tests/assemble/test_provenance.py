"""A record states the code, the environment and the inputs that made its numbers, not those of who writes it."""

import json

import pytest

from mibench.assemble.environment import environment, joined
from mibench.plan.plan import make_plan
from mibench.protocol.request import Request
from mibench.registry.registry import Registry
from mibench.store.store import Store


def _edited(patch):
    """Let every distribution have other source code from now on."""
    before = Registry.source_digest
    patch.setattr(Registry, "source_digest", lambda self, entry: before(self, entry)[::-1])


def test_numbers_from_the_store_keep_the_source_that_made_them(toy_run, toy_registry, tmp_path, monkeypatch):
    first = toy_run(defenses=("noisy",)).records[-1]
    _edited(monkeypatch)
    again = toy_run(defenses=("noisy",)).records[-1]
    for role in ("dataset", "model", "defense", "attack", "prior", "metric:light"):
        assert again.components[role].source_digest == first.components[role].source_digest, role
    anew = toy_run(defenses=("noisy",), settings={"attack.lr": 0.11}).records[-1]
    assert anew.components["attack"].source_digest == first.components["attack"].source_digest[::-1]
    assert anew.components["defense"].source_digest == first.components["defense"].source_digest


def test_the_plan_says_what_was_made_by_other_source(toy_run, toy_registry, tmp_path, monkeypatch):
    toy_run(defenses=("noisy",))
    assert _reasons(toy_registry, tmp_path)["reconstruct"] == "in the store"
    _edited(monkeypatch)
    reasons = _reasons(toy_registry, tmp_path)
    assert reasons["reconstruct"].startswith("in the store, made by other source code of attack; raise its version")
    assert "of defense, model" in reasons["target"]


def _reasons(registry, folder):
    request = Request(protocols=("toy",), defenses=("noisy",), attacks=("guess",))
    plan = make_plan(request, registry, Store(folder / "store"))
    return {planned.stage: planned.reason for planned in plan.nodes}


def _manifests(folder, stage="*"):
    return sorted((folder / "store").glob(f"artifacts/{stage}/*/manifest.json"))


def _edit_meta(path, change):
    manifest = json.loads(path.read_text())
    change(manifest["meta"])
    path.write_text(json.dumps(manifest))


def test_the_environment_is_that_of_the_stages(toy_run, tmp_path):
    first = toy_run().records[0].environment
    assert first == environment("cpu").model_copy(update={"threads": 1})
    for path in _manifests(tmp_path):
        _edit_meta(path, lambda meta: meta.update(torch="2.3.1+cu118", device="cuda", mibench="0.0.9", python="3.9.1"))
    told = toy_run().records[0].environment
    assert (told.packages["torch"], told.packages["mibench"]) == ("2.3.1+cu118", "0.0.9")
    assert (told.device, told.python) == ("cuda", "3.9.1")
    assert "note" not in told.model_dump()


def test_stages_that_were_computed_elsewhere_are_noted(toy_run, tmp_path):
    toy_run()
    for path in _manifests(tmp_path, "target"):
        _edit_meta(path, lambda meta: meta.update(torch="2.3.1", device="cuda", device_name="H100", cuda="11.8"))
    told = toy_run().records[0].environment
    assert told.note == "the stages of this cell were computed in different environments"
    assert told.device == ["cpu", "H100"]
    assert told.differences["device"]["H100"] == ["target"]
    assert told.differences["packages.torch"]["2.3.1"] == ["target"]
    assert "reconstructions" in told.differences["device"]["cpu"]


def test_what_old_manifests_know_is_told_and_no_more(toy_run, tmp_path):
    record = toy_run().records[0]
    for path in _manifests(tmp_path):
        _edit_meta(
            path,
            lambda meta: [meta.pop(name) for name in [*meta] if name not in ("torch", "mibench", "device", "label")],
        )
    again = toy_run().records[0]
    assert again.digest == record.digest
    packages = {name: record.environment.packages[name] for name in ("mibench", "torch")}
    told = again.environment.model_dump()
    silent = told.pop("not_stated_by")
    assert told == {"packages": packages, "device": "cpu"}
    assert {"target", "reconstructions", "prior", "data", "evaluator:judge", "floor/match"} <= set(silent)


def test_joined_environments_by_hand():
    one, two = ({"python": "3.11", "threads": n, "packages": {"numpy": "2"}, "torch": "2"} for n in (1, 2))
    alone = joined({"a": one}).model_dump()
    assert alone == {"python": "3.11", "threads": 1, "packages": {"numpy": "2", "torch": "2"}}
    both = joined({"a": one, "b": two, "c": {"torch": "2"}})
    assert both.threads == [1, 2]
    assert both.differences == {"threads": {"1": ["a"], "2": ["b"]}}
    assert both.not_stated_by == ["c"]


@pytest.mark.parametrize("stage", ["prior", "evaluator", "data", "target"])
def test_a_damaged_input_of_a_record_is_made_again_whatever_is_cached(toy_run, tmp_path, stage):
    first = toy_run().records[0]
    for path in _manifests(tmp_path, stage):
        for file in path.parent.glob("*.safetensors"):
            file.write_bytes(file.read_bytes()[:-1] + b"!")
    again = toy_run()
    assert again.exit_code == 0
    assert again.records[0].inputs == first.inputs
    assert again.records[0].digest == first.digest
    assert stage in {node.stage for node in again.planned.to_run}


def test_an_input_that_cannot_be_made_again_fails_the_cell(toy_run, tmp_path, monkeypatch):
    from fake_plugin import parts

    toy_run()
    for path in _manifests(tmp_path, "prior"):
        (path.parent / "weights.safetensors").write_bytes(b"")
    monkeypatch.setattr(parts.LinearTrainer, "step", lambda *_: (_ for _ in ()).throw(RuntimeError("no more")))
    result = toy_run()
    assert (result.exit_code, result.records[0].status) == (1, "failed")
    assert result.records[0].failure.stage == "linear on public identities"


def test_numbers_of_an_input_that_came_out_otherwise_since_are_no_record(toy_run, tmp_path, monkeypatch):
    """As on a GPU, or with another torch: the target is damaged, made again, and has other bytes."""
    from fake_plugin import parts

    toy_run()
    for path in _manifests(tmp_path, "target"):
        (path.parent / "weights.safetensors").write_bytes(b"")
    build = parts.Tiny.build

    def otherwise(self, **shape):
        made = build(self, **shape)
        made.head.bias.data.add_(0.01)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(parts.Tiny, "build", otherwise)
        record = toy_run().records[0]
    assert record.status == "failed"
    assert record.failure.stage == "record"
    assert "was made from another target than the store holds" in record.failure.error
    assert "and run the same command again" in record.failure.error
