"""The plugin from outside: specs, presets, parameters, what it imports."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import mibench_attacks
import pytest
from mibench_attacks.methods.baselines import PriorRandom, PriorTopConfidence
from mibench_attacks.methods.ppa import PlugAndPlay

from mibench.api import Attack, UsageError
from mibench.api.params import build, canonical, describe, values_of
from mibench.protocol.load import load_protocol
from mibench.registry import load_registry

SOURCE = Path(mibench_attacks.__file__).parent
SPECS = {spec.name: spec for spec in mibench_attacks.mibench_attacks()}


def component(spec):
    module, _, name = spec.factory.partition(":")
    return getattr(importlib.import_module(module), name)


CLASSES = {name: component(spec) for name, spec in SPECS.items()}
FLOORS = {"prior-topconf", "prior-random", "public-nearest"}


def test_specs_tell_the_truth():
    assert {"ppa": PlugAndPlay, "prior-topconf": PriorTopConfidence}.items() <= CLASSES.items()
    for name, spec in SPECS.items():
        assert spec.access == component(spec).access
        assert issubclass(component(spec), Attack)
        assert spec.baseline == (name in FLOORS)
        assert name in FLOORS or (SOURCE / spec.paper).read_text().startswith("@")
    assert "icml" in (SOURCE / SPECS["ppa"].paper).read_text().lower()


@pytest.mark.parametrize(
    ("name", "preset"), [(name, preset) for name, made in CLASSES.items() for preset in ["", *made.presets]]
)
def test_presets_and_defaults_build(name, preset):
    made = build(CLASSES[name], CLASSES[name].presets[preset] if preset else {}, owner=name)
    assert build(CLASSES[name], canonical(made)) == made
    cost = made.cost(2)
    assert cost["render"] + cost["forward"] > 0


def test_published_presets_hold_the_published_numbers():
    def settings(preset):
        made = values_of(build(PlugAndPlay, PlugAndPlay.presets[preset]))
        names = ("pool", "candidates", "final", "steps", "lr", "crop_scale", "milestones")
        return tuple(made[name][0] if name == "crop_scale" else made[name] for name in names)

    assert settings("paper") == (2000, 200, 50, 50, 0.005, 0.9, ())
    assert settings("celeba") == (5000, 200, 50, 70, 0.005, 0.9, ())
    assert settings("dogs") == (2000, 200, 50, 100, 0.01, 0.75, ())
    assert settings("seed") == (2000, 200, 50, 50, 0.005, 0.9, (30, 40))
    assert settings("seed-celeba") == (5000, 200, 50, 50, 0.005, 0.9, (30, 40))
    assert settings("alignmi-baseline") == (2000, 100, 100, 70, 0.005, 0.9, ())
    assert dict(PlugAndPlay().cost(1)) == {"forward": 4000 + 30_000, "backward": 10_000, "render": 2000 + 10_200}


def test_controls_have_the_budgets_of_the_attack_that_they_control():
    for preset in ("paper", "celeba", "dogs", "small"):
        ppa, top, random = (
            values_of(build(made, made.presets[preset])) for made in (PlugAndPlay, PriorTopConfidence, PriorRandom)
        )
        assert all(ppa[name] == top[name] for name in ("pool", "final", "truncation", "cutoff"))
        assert all(ppa[name] == random[name] for name in ("final", "truncation", "cutoff"))


@pytest.mark.parametrize("protocol", ["orl64", "rendered64"])
@pytest.mark.parametrize("preset", ["ce", "logit", "max-margin", "paa", "taa"])
def test_adaptive_variants_differ_from_what_the_protocols_freeze_in_one_thing(protocol, preset):
    frozen = load_protocol(load_registry(), protocol).protocol.attacks["ppa"]
    usual = canonical(build(PlugAndPlay, {**PlugAndPlay.presets[frozen.preset], **frozen.params}))
    variant = canonical(build(PlugAndPlay, PlugAndPlay.presets[preset]))
    changed = {name for name in variant if variant[name] != usual.get(name)}
    assert changed == ({"align", "n_aug"} if preset in ("paa", "taa") else {"loss"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 3}, "Did you mean 'steps'"),
        ({"lr": 0}, "lr = 0 is not valid"),
        ({"cutoff": -1}, "cutoff = -1 is not valid"),
        ({"loss": "poincaree"}, "loss"),
        ({"candidates": 3000}, "final <= candidates <= pool"),
        ({"crop_scale": (0.9, 0.5)}, "crop scale"),
        ({"betas": (0.1, 1.0)}, "betas"),
    ],
)
def test_wrong_settings_are_explained(settings, message):
    with pytest.raises(UsageError, match=message):
        build(PlugAndPlay, settings, owner="attack 'ppa'")


@pytest.mark.parametrize("made", CLASSES.values())
def test_every_parameter_is_documented(made):
    assert all(row.doc for row in describe(made))


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, mibench_attacks\n"
        "assert len(list(mibench_attacks.mibench_attacks())) > 3\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_attacks_cannot_reach_evaluation_or_private_doors(path):
    allowed = ("mibench.api", "mibench_attacks", "torch", "annotated_types")
    standard = sys.stdlib_module_names
    for name in imported(path):
        assert name.split(".")[0] in standard or name.startswith(allowed), f"{path.name} imports {name}"
        assert not any(word in name.lower() for word in ("metric", "evaluator", "embedder", "stages", "evidence")), name
