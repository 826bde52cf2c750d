"""How often settings are validated, and how far one travels from the command line to the record."""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import mibench
from mibench.api import params
from mibench.cli.request import build_request, parse_settings
from mibench.plan.plan import make_plan
from mibench.protocol.request import Request
from mibench.registry.entry import Entry
from mibench.stages.run import run_node
from mibench.store.store import Store

ROOT = Path(mibench.__file__).parent
REQUEST = Request(
    protocols=("toy",),
    defenses=("noisy", "staged", "noisy+flipped"),
    attacks=("guess", "picky"),
    settings={"defense.lam": 0.75, "picky.brings": "guided"},
)


@pytest.fixture()
def built(monkeypatch):
    """Count what is validated and built, by component and all of its parameters."""
    counted, build = Counter(), params.build

    def counting(component, settings, *, owner=""):
        made = build(component, settings, owner=owner)
        counted[owner, json.dumps(params.canonical(made), sort_keys=True)] += 1
        return made

    monkeypatch.setattr(params, "build", counting)
    return counted


def test_a_plan_validates_each_component_with_each_settings_once(toy_registry, tmp_path, built):
    plan = make_plan(REQUEST, toy_registry, Store(tmp_path))
    assert set(built.values()) == {1}
    names = {owner for owner, _ in built}
    assert names >= {"defense 'noisy'", "defense 'flipped'", "attack 'picky'", "prior 'guided'", "dataset 'blobs'"}
    noisy = {json.loads(settings)["lam"] for owner, settings in built if owner == "defense 'noisy'"}
    assert noisy == {0.25, 0.75}  # the preset, to tell what was overridden, and the setting
    assert plan.to_run


def test_a_plan_whose_answers_are_known_validates_nothing(toy_registry, tmp_path, built):
    make_plan(REQUEST, toy_registry, Store(tmp_path))
    built.clear()
    make_plan(REQUEST, toy_registry, Store(tmp_path))
    assert sum(built.values()) == 0


def test_a_stage_validates_each_component_that_it_builds_once(toy_registry, tmp_path, built):
    request = REQUEST.model_copy(update={"attacks": ("guess",), "settings": {"defense.lam": 0.75}})
    store = Store(tmp_path)
    nodes = make_plan(request, toy_registry, store).to_run
    for node in nodes:
        built.clear()
        run_node(node, store, toy_registry, torch.device("cpu"), lambda *_: None)
        assert set(built.values()) <= {1}, node.label
        kinds = {owner.partition(" ")[0] for owner, _ in built}
        assert kinds >= {kind for kind, _ in node.inputs.components().values()}


KEYS, TEXT, VALUE = {"lam", "defense.lam"}, "defense.lam=0.61", 0.61


def _is_the_setting(argument):
    """Tell whether an argument is a setting itself: its text, a mapping that names it, a component's parameters."""
    if isinstance(argument, Entry):
        argument = argument.params
    if isinstance(argument, tuple | list):
        return TEXT in argument
    if isinstance(argument, Mapping):
        return any(key in argument for key in KEYS)
    return isinstance(argument, str) and argument == TEXT


def test_a_setting_passes_through_few_files(toy_registry, tmp_path):
    """What carries a setting without opening it (a request, a node) is not counted; what is handed it is."""
    from mibench.session.run import run

    passed = set()

    def look(frame, event, _argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT)):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if any(_is_the_setting(frame.f_locals.get(name)) for name in names):
                passed.add(Path(code.co_filename).relative_to(ROOT).as_posix())

    sys.setprofile(look)
    try:
        options = {"protocols": ("toy",), "defenses": ("noisy",), "attacks": ("guess",), "device": "cpu"}
        options |= {"settings": parse_settings([TEXT]), "store": tmp_path / "store", "output": tmp_path / "output"}
        result = run(build_request(options, matrix=None), toy_registry)
    finally:
        sys.setprofile(None)
    assert result.records[-1].components["defense"].params == {"lam": VALUE}
    assert len(passed) <= 14, sorted(passed)
    assert {"cli/request.py", "plan/settings.py", "plan/facts.py", "registry/build.py"} <= passed
