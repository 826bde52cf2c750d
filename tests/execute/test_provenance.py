"""A record states the source code that made its numbers, also when another is installed by now."""

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
