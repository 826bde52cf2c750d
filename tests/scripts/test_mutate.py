"""The script that makes mutants: what it changes, what it leaves alone, and which tests it takes for which line."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


mutate = load("mutate")


def changes(source):
    """Return what the source becomes under each mutant."""
    data = source.encode()
    return [
        (data[: m.start] + m.text.encode() + data[m.end :]).decode() for m in mutate.mutants_of("mibench/x.py", source)
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b"}),
        ("a is not b", {"a is b"}),
        ("a not  in b", {"a in b"}),
        ("a < b < c", {"a <= b < c", "a < b <= c"}),
        ("a and b and c", {"a or b and c", "a and b or c"}),
        ("a + b", {"a - b"}),
        ("(a) // (b)", {"(a) * (b)"}),
        ("x = 1", {"x = 2"}),
        ("x = 0.5", {"x = 1.5"}),
        ("x = True", {"x = False"}),
        ("x = 'name'", {"x = 'nameX'"}),
        ("x = not a", {"x = (a)"}),
        ("x = b if a else c", {"x = b if (not (a)) else c"}),
        ("x = [i for i in a if i]", {"x = [i for i in a if True]"}),
        ("x.y = a", {"pass"}),
        ("x.y()", {"pass"}),
        ("x += a", {"pass"}),
        ("def f():\n    return a", {"def f():\n    return None"}),
        ("for i in a:\n    break", {"for i in a:\n    continue"}),
        ("if a:\n    b.c()", {"if (not (a)):\n    b.c()", "if a:\n    pass"}),
        ("x = 'ä' + a  # ö\ny = a > b", {"x = 'ä' - a  # ö\ny = a > b", "x = 'ä' + a  # ö\ny = a >= b"}),
    ],
)
def test_what_is_changed(source, expected):
    assert expected <= set(changes(source))
    assert all(compile(made, "x", "exec") for made in changes(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""A module that is > 1."""',
        "def f(x: int | None = None) -> list[int | None]:\n    ...",
        "if TYPE_CHECKING:\n    x = 1",
        "__all__ = ['name']",
        "Kind = Literal['a', 'b']",
        "@cache(1)\ndef f(): ...",
        "x = f'{a} and {b}'",
        "x = 'a sentence of words'",
        "def f():\n    return None",
    ],
)
def test_what_is_left_alone(source):
    assert changes(source) == []


def test_errors_are_raised_or_not_and_their_words_are_left_alone():
    assert changes("raise ValueError('name', 1)") == ["pass"]


def test_a_mutant_is_shown_with_its_line():
    source = "a = 1\nb = a < 2\n"
    (mutant,) = [m for m in mutate.mutants_of("mibench/x.py", source) if m.kind == "comparison"]
    assert mutate.shown(mutant, source) == "mibench/x.py:2 (comparison)\n    - b = a < 2\n    + b = a <= 2"


def test_tests_of_a_line_are_those_that_reach_it_quick_files_first():
    reach = {
        "lines": {"mibench/x.py": {"2": ["slow::a", "quick::b", ""], "3": [""]}},
        "seconds": {"slow::a": 5.0, "other::c": 0.1, "quick::b": 0.1, "quick::broken": 0.1},
        "failed": ["quick::broken"],
    }
    judge = SimpleNamespace(reach=reach)
    mutants = {line: mutate.Mutant("mibench/x.py", line, 0, 0, "", "") for line in (2, 3, 4)}
    assert mutate.Judge.tests_of(judge, mutants[2]) == ["quick::b", "slow::a"]
    # Import runs line 3, and perhaps another process line 4: any test may notice.
    everything = ["other::c", "quick::b", "slow::a"]
    assert mutate.Judge.tests_of(judge, mutants[2], all_but=["quick::b", "slow::a"]) == ["other::c"]
    assert mutate.Judge.tests_of(judge, mutants[3]) == mutate.Judge.tests_of(judge, mutants[4]) == everything


def test_every_room_has_tests():
    rooms = [path for path in (ROOT / "mibench").iterdir() if path.is_dir() and list(path.glob("*.py"))]
    for room in rooms:
        files, tests = mutate.files_and_tests([room], [])
        assert files, room
        assert tests, f"scripts/mutate.py finds no tests for {room.name}: name them in TESTS"


class Forked:
    """Runs one small test file in a forked process, as mutants do."""

    def __init__(self, folder, text):
        (folder / "test_it.py").write_text(text, encoding="utf-8")

    def __call__(self, seconds=60):
        return mutate.forked(["-x", "-c", "/dev/null", "test_it.py"], seconds)


@pytest.mark.parametrize(
    ("text", "seconds", "code"),
    [
        ("def test(): pass", 60, 0),
        ("def test(): assert False", 60, 1),
        ("def test():\n    while True: pass", 0.5, None),
        ("import os\ndef test(): os._exit(7)", 60, 7),
    ],
    ids=["passes", "fails", "does not end", "crashes"],
)
def test_a_forked_run_says_how_it_ended(text, seconds, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Forked(tmp_path, text)(seconds) == code


def test_a_forked_run_tells_what_reaches_which_line(tmp_path, monkeypatch):
    pytest.importorskip("coverage")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code_under_test.py").write_text(
        "def f(a):\n    if a:\n        return 1\n    return 2\n", encoding="utf-8"
    )
    text = "import sys; sys.path.insert(0, '.')\nimport code_under_test as c\n"
    text += "def test_yes(): assert c.f(1) == 1\ndef test_no(): assert c.f(0) == 2\n"
    (tmp_path / "test_it.py").write_text(text, encoding="utf-8")
    out = tmp_path / "reach.json"
    assert mutate.forked(["-c", "/dev/null", "test_it.py"], 60, (["code_under_test.py"], out)) == 0
    found = mutate.json.loads(out.read_text(encoding="utf-8"))
    lines = {
        line: sorted(test for test in tests if test) for line, tests in found["lines"]["code_under_test.py"].items()
    }
    assert lines == {
        "1": [],
        "2": ["test_it.py::test_no", "test_it.py::test_yes"],
        "3": ["test_it.py::test_yes"],
        "4": ["test_it.py::test_no"],
    }
    assert set(found["seconds"]) == {"test_it.py::test_no", "test_it.py::test_yes"}
    assert found["failed"] == []


def test_a_mutant_that_a_cache_hides_from_its_own_tests_meets_the_others(tmp_path, monkeypatch):
    """The first caller alone reaches a cached line, and does not look at what comes back; another does."""
    monkeypatch.chdir(tmp_path)
    source = "import functools\n@functools.cache\ndef f():\n    return 1 < 2\n"
    (tmp_path / "cached.py").write_text(source, encoding="utf-8")
    text = "import sys; sys.path.insert(0, '.')\nimport cached\n"
    text += "def test_first(): cached.f()\ndef test_second(): assert cached.f() is True\n"
    (tmp_path / "test_it.py").write_text(text, encoding="utf-8")
    seconds = {"test_it.py::test_first": 0.1, "test_it.py::test_second": 0.1}
    reach = {"lines": {"cached.py": {"4": ["test_it.py::test_first"]}}, "seconds": seconds, "failed": []}
    judge = object.__new__(mutate.Judge)
    judge.copy, judge.reach = tmp_path, reach
    (mutant,) = [m for m in mutate.mutants_of("cached.py", source) if m.kind == "return"]
    assert judge.verdict(mutant) == "killed"
    del seconds["test_it.py::test_second"]
    assert judge.verdict(mutant) == "survived"
    assert (tmp_path / "cached.py").read_text(encoding="utf-8") == source
