"""The tutorial in CONTRIBUTING.md: its code is taken from the page, installed as a plugin, and put to the contract."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from mibench.api import params
from mibench.protocol.load import load_protocol
from mibench.protocol.request import Request
from mibench.registry.registry import Registry, load_registry
from mibench.testing import contract_for, run_checks

ROOT = Path(__file__).parents[2]


def blocks(language):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n# ([\w/.]+)[^\n]*\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture()
def plugin(tmp_path, monkeypatch):
    for name, code in [*blocks("python"), *blocks("toml")]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module, tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] in ("my_defense", "my_attack")]:
        del sys.modules[name]


def test_the_plugin_of_the_tutorial_is_found_and_validated(plugin):
    load, folder = plugin
    registry = Registry.from_modules(load("my_defense"))
    assert not registry.failures
    component = registry.component("defense", "confidence-penalty")
    assert params.build(component, {"beta": "0.3"}).beta == 0.3
    announced = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["mibench"]
    assert announced == {"my_defense": "my_defense"}


@pytest.mark.parametrize(("kind", "name"), [("defense", "confidence-penalty"), ("attack", "hill-climb")])
def test_the_plugins_of_the_tutorials_keep_the_contract(plugin, kind, name):
    load, _ = plugin
    component = Registry.from_modules(load(f"my_{kind}")).component(kind, name)
    outcomes = list(run_checks(contract_for(kind, component, component.presets.get("smoke"))))
    assert len(outcomes) > 5
    assert [o for o in outcomes if o.verdict != "passed"] == []


@pytest.mark.parametrize("path", sorted((ROOT / "docs/matrices").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_matrices_of_the_pages_are_valid_requests_of_installed_protocols(path):
    request = Request.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    for name in request.protocols:
        seeds = load_protocol(load_registry(), name).protocol.seeds
        assert set(request.seeds or seeds) <= set(seeds)
