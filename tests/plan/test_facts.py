"""What a plan knows of components is found once, and again as soon as anything that it came from changes."""


import pytest

from mibench.api import UsageError
from mibench.plan.facts import Facts
from mibench.registry.entry import Entry
from mibench.registry.registry import Registry


@pytest.fixture()
def no_imports(monkeypatch):
    def refuse(self, kind, name):
        raise AssertionError(f"{kind} {name} was imported")

    return lambda: monkeypatch.setattr(Registry, "component", refuse)


def test_answers_are_remembered_and_not_asked_again(toy_registry, tmp_path, no_imports):
    first = Facts.beside(toy_registry, tmp_path)
    questions = [
        lambda facts: facts.traits("attack", "guess"),
        lambda facts: facts.traits("prior", "guided"),
        lambda facts: facts.settle("defense", "noisy", {}),
        lambda facts: facts.settle("defense", "staged", {}),
        lambda facts: facts.settle("attack", "picky", {"younger": "8"}),
        lambda facts: facts.cost(Entry("noisy", "1", {})),
        lambda facts: facts.identities(Entry("blobs", "1", {"identities": 9})),
        lambda facts: facts.join({n: facts.settle("defense", n, {}) for n in ("noisy", "flipped")}),
    ]
    answers = [ask(first) for ask in questions]
    assert answers[0].access == "white-box"
    assert answers[1].needs_target
    assert answers[3].start["params"] is not None
    assert answers[4].params["younger"] == 8
    assert answers[6] == 9
    first.memo.save()
    no_imports()
    again = Facts.beside(toy_registry, tmp_path)
    assert [ask(again) for ask in questions] == answers


def test_what_a_component_refuses_is_refused_each_time(toy_registry, tmp_path):
    for _ in range(2):
        facts = Facts.beside(toy_registry, tmp_path)
        with pytest.raises(UsageError, match="has no parameter 'widht'"):
            facts.settle("model", "tiny", {"widht": 3})
        facts.memo.save()


def test_a_fingerprint_follows_versions_and_sources(toy_registry, tmp_path, monkeypatch):
    from mibench.registry import packages

    before, known = toy_registry.fingerprint()
    assert {"mibench", "fake_plugin"} <= known
    (tmp_path / "extra-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert toy_registry.fingerprint()[0] != before
    monkeypatch.undo()
    assert toy_registry.fingerprint()[0] == before
    monkeypatch.setattr(packages, "_digest", lambda names: "edited")
    assert toy_registry.fingerprint()[0] != before
