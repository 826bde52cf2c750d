"""list, show, and how mistakes are answered."""

from __future__ import annotations

import json

import pytest

from mibench.api.errors import MibenchError
from mibench.api.hookspecs import hookimpl
from mibench.api.specs import DefenseSpec
from mibench.registry.registry import Registry


class Hostile:
    @hookimpl
    def mibench_defenses(self):
        yield DefenseSpec(name="odd", factory="m:C", summary="[red]not markup[/red] \x1b[31mno\r escape")
        yield "not a spec"


def test_list_shows_every_kind(mibench):
    shown = mibench("list")
    assert shown.code == 0
    for word in ("plugins (", "defenses (", "atat", "mibench-atat", "executors (", "inline"):
        assert word in shown.out


def test_list_json_has_specs_with_provenance(mibench):
    document = json.loads(mibench("list", "defenses", "--json").out)
    atat = {entry["name"]: entry for entry in document["components"]}["atat"]
    assert {entry["kind"] for entry in document["components"]} == {"defense"}
    assert (atat["distribution"], atat["threat_model"], atat["module"]) == ("mibench-atat", "white-box", "mibench_atat")
    assert document["failures"] == []
    assert "mibench-atat" in [plugin["distribution"] for plugin in document["plugins"]]


def test_list_takes_singular_and_plugins(mibench):
    assert mibench("list", "defense").out == mibench("list", "defenses").out
    assert "atat = mibench_atat" in mibench("list", "plugins").out


def test_list_tells_broken_plugins_and_foreign_text_is_only_text(mibench, monkeypatch):
    monkeypatch.setattr("mibench.cli.list.load_registry", lambda: Registry.from_modules(Hostile()))
    shown = mibench("list", "defenses")
    assert shown.code == 0
    assert "[red]not markup[/red]  [31mno  escape" in shown.out
    assert "\x1b" not in shown.out
    assert "broken (1)" in shown.out
    assert "Hostile" in shown.out
    assert "expected DefenseSpec" in shown.out
    (failure,) = json.loads(mibench("list", "--json").out)["failures"]
    assert (failure["distribution"], failure["phase"]) == ("Hostile", "spec")


def test_show_has_parameters_presets_and_paper(mibench):
    shown = mibench("show", "defense", "atat")
    assert shown.code == 0
    for word in ("mibench-atat", "MIT", "@inproceedings", "lam", ">= 0", "0.08", "source_digest", "preset"):
        assert word in shown.out
    document = json.loads(mibench("show", "defenses", "atat", "--json").out)
    parameters = {row["name"]: row for row in document["parameters"]}
    assert parameters["steps"] == {**parameters["steps"], "type": "int", "range": ">= 1"}
    assert len(document["source_digest"]) == 64


def test_show_groups_parameters(mibench):
    document = json.loads(mibench("show", "attack", "ppa", "--json").out)
    rows = {row["name"]: row for row in document["parameters"]}
    assert rows["search.lr"] == {
        "name": "search.lr", "type": "float", "default": 0.005, "range": "> 0", "doc": "learning rate of Adam.",
        "key": "lr",
    }  # fmt: skip
    assert document["groups"]["search"] == "descent of each candidate."
    assert document["presets"]["celeba"] == {"clamp_selection": False, "pool": 5000, "steps": 70}
    lines = [line.split() for line in mibench("show", "attack", "ppa").out.splitlines()]
    begin = lines.index(["search", "descent", "of", "each", "candidate."])
    assert lines[begin + 1][:4] == ["search.steps", "steps", "int", "50"]
    assert ["name", "short", "name", "type", "default", "range", "meaning"] in lines
    flat = [line.split() for line in mibench("show", "defense", "atat").out.splitlines()]
    assert ["name", "type", "default", "range", "meaning"] in flat


def test_show_counts_what_an_attack_spends(mibench):
    """PPA's figures by hand: 200 candidates, 50 steps, 100 views each in the selection; a pool of 2000 seen twice."""
    document = json.loads(mibench("show", "attack", "ppa", "--json").out)
    assert document["access"] == "white-box"
    assert document["queries"]["paper"] == {
        "per_class": {"forward": 200 * 50 + 200 * 100, "backward": 200 * 50, "render": 200 * 50 + 200},
        "shared": {"forward": 2 * 2000, "backward": 0, "render": 2000},
    }
    shown = mibench("show", "attack", "ppa")
    assert "30,000" in shown.out
    assert "4,000" in shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lisst"], "Unknown command 'lisst'. Did you mean 'list'?"),
        (["list", "defences"], "Unknown kind 'defences'. Did you mean 'defenses'?"),
        (["show", "defense", "atta"], "Unknown defense 'atta'. Did you mean 'atat'? Available: at, atat,"),
        (["show", "defence", "atat"], "Unknown kind of component 'defence'. Did you mean 'defense'?"),
        (["show", "defense"], "Missing argument 'NAME'"),
        (["list", "--jsn"], "No such option"),
        (["leaderboard", "add", "no-such-record.json"], "does not exist"),
        (["data", "verify", "orll"], "Unknown dataset 'orll'"),
    ],
)
def test_mistakes_are_explained_with_exit_code_2(arguments, said, mibench):
    answered = mibench(*arguments)
    assert answered.code == 2
    assert said in answered.err
    assert answered.out == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MibenchError("the store is full"), 1, "Error: the store is full"),
        (RuntimeError("oops"), 1, "MIBENCH_DEBUG=1 shows the traceback"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (SystemExit(0), 3, "a plugin ended the program instead of raising an error (called sys.exit(0)"),
    ],
)
def test_errors_become_messages_and_exit_codes(error, code, said, mibench, monkeypatch):
    def raise_it():
        raise error

    monkeypatch.setattr("mibench.cli.list.load_registry", raise_it)
    answered = mibench("list")
    assert (answered.code, answered.out) == (code, "")
    assert said in answered.err


def test_debug_shows_the_traceback(monkeypatch):
    from mibench.cli.main import main

    monkeypatch.setenv("MIBENCH_DEBUG", "1")
    monkeypatch.setattr("mibench.cli.list.load_registry", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


@pytest.mark.parametrize(("options", "variables"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {})])
def test_colour_only_where_it_is_wanted(options, variables, mibench, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if options or variables:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b" not in mibench(*options, "list", "plugins").out
