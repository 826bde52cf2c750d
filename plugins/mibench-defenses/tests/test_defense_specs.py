"""Every announced defense can be made, with each preset, and says what a user must know."""

from __future__ import annotations

import math
from pathlib import Path

import mibench_defenses
import pytest

from mibench.api import Defense, params
from mibench.registry import load_registry

SPECS = {spec.name: spec for spec in mibench_defenses.mibench_defenses()}
FOLDER = Path(mibench_defenses.__file__).parent
FAMILIES = {"none", "adversarial", "dependency", "gradient", "deception", "data", "dp", "output", "experiment"}
LONGEST = 155


def test_names_are_in_order_after_none() -> None:
    assert list(SPECS) == ["none", *sorted(set(SPECS) - {"none"})]


@pytest.mark.parametrize("name", SPECS)
def test_spec(name: str) -> None:
    spec = SPECS[name]
    assert spec.family in FAMILIES
    assert spec.limits
    assert all(limit.endswith(".") for limit in spec.limits)
    if name != "none":
        text = (FOLDER / str(spec.paper)).read_text(encoding="utf-8")
        assert text.count("@") == 1 or "\n@" in text
        assert text.startswith("@")


@pytest.mark.parametrize("name", SPECS)
def test_defaults_and_presets_can_be_made_and_state_their_cost(name: str) -> None:
    component = load_registry().component("defense", name)
    for values in ({}, *params.presets_of(component).values()):
        made = params.build(component, values)
        assert isinstance(made, Defense)
        assert math.isfinite(made.cost())
        assert made.cost() > 0
    assert all(row.doc for row in params.describe(component))


def test_one_file_per_method_on_a_screen() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")}
    lengths.pop("__init__.py")
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
