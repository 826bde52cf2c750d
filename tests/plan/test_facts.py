"""What a plan knows of components is found once, and again as soon as anything that it came from changes."""

import json

import pytest

from mibench.api import UsageError
from mibench.plan.facts import Facts
from mibench.plan.memo import Memo
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


def _memo(folder, fingerprint="f", **answers):
    memo = Memo(folder, fingerprint)
    for name, value in answers.items():
        memo.ask({"q": name}, lambda value=value: value)
    memo.save()
    return folder / f"{fingerprint}.json"


def _asked(folder, fingerprint="f"):
    return Memo(folder, fingerprint).ask({"q": "one"}, lambda: "asked")


def test_a_memory_holds_for_one_state_of_the_code(tmp_path):
    _memo(tmp_path, one=1)
    assert _asked(tmp_path) == 1
    assert _asked(tmp_path, "other") == "asked"


def test_processes_add_to_what_others_have_found(tmp_path):
    _memo(tmp_path, one=1)
    path = _memo(tmp_path, two=2)
    assert sorted(json.loads(path.read_text())["answers"].values()) == [1, 2]


@pytest.mark.parametrize("change", ["edited", "cut", "text", "empty", "number"])
def test_a_damaged_memory_is_forgotten(tmp_path, change):
    path = _memo(tmp_path, one=1)
    text = path.read_text()
    spoiled = {"edited": text.replace(": 1}", ": 2}"), "cut": text[:-20], "text": "[]", "empty": "", "number": "7"}
    assert spoiled[change] != text
    path.write_text(spoiled[change])
    assert _asked(tmp_path) == "asked"


def test_other_sources_of_what_was_imported_are_noticed(tmp_path, monkeypatch):
    (tmp_path / "helper_of_a_plugin.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("helper_of_a_plugin")
    path = _memo(tmp_path / "facts", one=1)
    assert str(tmp_path / "helper_of_a_plugin.py") in json.loads(path.read_text())["imported"]
    assert _asked(tmp_path / "facts") == 1
    (tmp_path / "helper_of_a_plugin.py").write_text("VALUE = 2\n")
    assert _asked(tmp_path / "facts") == "asked"


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path):
    (tmp_path / "facts").write_text("a file")
    memo = Memo(tmp_path / "facts", "f")
    assert memo.ask({"q": 1}, lambda: 5) == 5
    memo.save()


def test_few_states_are_kept(tmp_path):
    for number in range(12):
        _memo(tmp_path, f"state{number}", one=1)
    assert len(list(tmp_path.glob("*.json"))) == 8


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
