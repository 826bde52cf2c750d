"""Answers that are kept beside a store: when they are asked again, and what a file of them holds."""

import hashlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mibench.plan.memo import KEPT, Memo

QUESTION = {"ask": "identities", "name": "blobs"}


class Counter:
    """An answer that counts how often it is asked for."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def __call__(self):
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


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


@pytest.mark.parametrize("change", ["edited", "cut", "text", "empty", "number", "deep", "null", "no text", "list"])
def test_a_damaged_memory_is_forgotten(tmp_path, change):
    path = _memo(tmp_path, one=1)
    text = path.read_bytes()
    spoiled = {
        "edited": text.replace(b": 1}", b": 2}"), "cut": text[:-20], "text": b"[]", "empty": b"", "number": b"7",
        "deep": b"[" * 100_000, "null": b"null", "no text": b"\xff" + text,
        "list": json.dumps({**json.loads(text), "imported": []}).encode(),
    }  # fmt: skip
    assert spoiled[change] != text
    path.write_bytes(spoiled[change])
    assert _asked(tmp_path) == "asked"


def test_a_damaged_memory_is_written_anew(tmp_path):
    path = _memo(tmp_path, one=1)
    path.write_text("{")
    _memo(tmp_path, two=2)
    assert list(json.loads(path.read_text())["answers"].values()) == [2]
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


def test_a_source_that_is_gone_is_noticed(tmp_path, monkeypatch):
    helper = tmp_path / "helper_that_goes.py"
    helper.write_text("VALUE = 1\n")
    monkeypatch.setitem(sys.modules, "helper_that_goes", _module("helper_that_goes", helper))
    _memo(tmp_path / "facts", one=1)
    helper.unlink()
    assert _asked(tmp_path / "facts") == "asked"


def _module(name, place):
    made = ModuleType(name)
    made.__file__ = place if place is None else str(place)
    return made


@pytest.mark.parametrize(
    ("name", "place", "listed"),
    [
        ("loose", "loose.py", True),
        ("package.part", "package/part.py", True),
        ("fake_known", "fake_known.py", False),  # the fingerprint has it
        ("fake_known.part", "fake_known/part.py", False),
        ("fake_known_too", "fake_known_too.py", True),  # another that begins alike
        ("installed", "lib/site-packages/installed.py", False),  # the fingerprint has its version
        ("debian", "lib/dist-packages/debian.py", False),
        ("compiled", "compiled.so", False),
        ("gone", None, False),
    ],
)
def test_the_sources_that_a_memory_depends_on(tmp_path, monkeypatch, name, place, listed):
    path = tmp_path / place if place else tmp_path / "not_there.py"
    if place:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("VALUE = 1\n")
    monkeypatch.setattr(
        sys, "path", [*sys.path, *(str(tmp_path / "lib" / f"{kind}-packages") for kind in ("site", "dist"))]
    )
    monkeypatch.setitem(sys.modules, name, _module(name, path))
    memo = Memo(tmp_path / "facts", "f", frozenset({"fake_known"}))
    memo.ask(QUESTION, lambda: 1)
    memo.save()
    imported = json.loads((tmp_path / "facts" / "f.json").read_text())["imported"]
    wanted = hashlib.sha256(b"VALUE = 1\n").hexdigest() if listed else None
    assert imported.get(str(path.resolve())) == wanted


def test_modules_without_a_file_are_no_sources(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "made_up", _module("made_up", None))
    monkeypatch.setitem(sys.modules, "nothing_at_all", None)
    main = tmp_path / "script.py"
    main.write_text("VALUE = 1\n")
    monkeypatch.setitem(sys.modules, "__main__", _module("__main__", main))  # it starts the run, it answers nothing
    imported = json.loads(_memo(tmp_path / "facts", one=1).read_text())["imported"]
    assert str(main) not in imported
    assert all(Path(name).suffix == ".py" for name in imported)


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path):
    (tmp_path / "facts").write_text("a file")
    memo = Memo(tmp_path / "facts", "f")
    assert memo.ask({"q": 1}, lambda: 5) == 5
    memo.save()
    assert memo.changed  # there is still something to write
    assert (tmp_path / "facts").read_text() == "a file"


def test_the_states_that_are_kept_are_those_that_were_written_last(tmp_path):
    (tmp_path / "notes.txt").write_text("not a file of answers")
    for number in range(12):
        path = _memo(tmp_path, f"state{number:02d}", one=1)
        os.utime(path, (1000 - number, 1000 - number))  # the later they come, the older they are
    newest = _memo(tmp_path, "state99", one=1)
    kept = sorted(path.stem for path in tmp_path.glob("*.json"))
    assert len(kept) == KEPT == 8
    assert kept == sorted([f"state{number:02d}" for number in range(7)] + [newest.stem])
    assert (tmp_path / "notes.txt").is_file()


# Questions and answers


def test_a_question_is_asked_once_whatever_the_order_of_its_words():
    memo, answer = Memo(), Counter(9)
    assert [memo.ask(QUESTION, answer), memo.ask(dict(reversed(QUESTION.items())), answer)] == [9, 9]
    assert answer.asked == 1
    assert memo.ask({**QUESTION, "name": "others"}, answer) == 9
    assert answer.asked == 2


@pytest.mark.parametrize("value", [0, False, "", [], {}, 0.0, "None"])
def test_an_answer_that_is_empty_is_an_answer(value):
    memo, answer = Memo(), Counter(value, "another")
    assert [memo.ask(QUESTION, answer) for _ in range(2)] == [value, value]
    assert answer.asked == 1
    assert memo.changed


def test_none_is_no_answer():
    memo, answer = Memo(), Counter(None, None, 7)
    assert [memo.ask(QUESTION, answer) for _ in range(4)] == [None, None, 7, 7]
    assert answer.asked == 3


def test_an_error_is_no_answer():
    memo, calls = Memo(), []

    def refuse():
        calls.append(1)
        raise RuntimeError("not now")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="not now"):
            memo.ask(QUESTION, refuse)
    assert len(calls) == 2
    assert not memo.changed


def test_the_first_answer_is_what_a_file_would_give_back(tmp_path):
    memo = Memo(tmp_path, "f")
    first = memo.ask(QUESTION, lambda: {"shape": (3, 4), 1: "one"})
    assert first == {"shape": [3, 4], "1": "one"}
    memo.save()
    assert Memo(tmp_path, "f").ask(QUESTION, lambda: None) == first


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes", object(), "\ud800"])
def test_a_question_that_is_no_json_is_asked_each_time(tmp_path, value):
    memo, answer = Memo(tmp_path, "f"), Counter(1, 2)
    assert [memo.ask({"settings": value}, answer) for _ in range(2)] == [1, 2]
    assert not memo.changed
    memo.save()
    assert list(tmp_path.iterdir()) == []


# Files


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    memo = Memo()
    memo.ask(QUESTION, lambda: 1)
    memo.save()
    assert memo.changed
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_when_there_is_something_new(tmp_path):
    memo = Memo(tmp_path / "new" / "folder", "f")
    path = tmp_path / "new" / "folder" / "f.json"
    memo.save()
    assert not path.exists()
    memo.ask(QUESTION, lambda: 1)
    assert memo.changed
    memo.save()
    assert path.is_file()
    assert not memo.changed
    path.unlink()
    memo.ask(QUESTION, lambda: 2)
    assert not memo.changed
    memo.save()
    assert not path.exists()


def test_what_a_file_holds(tmp_path):
    path = _memo(tmp_path, one={"b": 1, "a": [0.5]})
    raw = json.loads(path.read_text())
    key = hashlib.sha256(b'{"q":"one"}').hexdigest()
    assert raw["answers"] == {key: {"b": 1, "a": [0.5]}}
    content = {"answers": raw["answers"], "imported": raw["imported"]}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert raw == {**content, "digest": hashlib.sha256(text.encode()).hexdigest()}
    assert path.read_text().endswith("}\n")


def test_a_file_is_named_after_the_first_half_of_the_fingerprint(tmp_path):
    fingerprint = hashlib.sha256(b"all packages").hexdigest()
    memo = Memo(tmp_path, fingerprint)
    memo.ask(QUESTION, lambda: 1)
    memo.save()
    assert [path.name for path in tmp_path.iterdir()] == [fingerprint[:32] + ".json"]


def test_of_two_answers_to_one_question_the_own_one_stays(tmp_path):
    ours = Memo(tmp_path, "f")
    ours.ask({"q": "one"}, lambda: "ours")
    _memo(tmp_path, one="theirs", two="theirs alone")
    ours.save()
    again = Memo(tmp_path, "f")
    assert again.ask({"q": "one"}, lambda: "asked") == "ours"
    assert again.ask({"q": "two"}, lambda: "asked") == "theirs alone"
