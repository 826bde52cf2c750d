"""Parameters in groups: their names, old and new; and what composes what."""

import ast
import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import mibench_attacks
import pytest
from mibench_attacks.search.gradient_attack import GradientAttack

from mibench.api import Attack, UsageError
from mibench.api.params import build, canonical, describe
from mibench.plan.cells import expand
from mibench.protocol.request import Request
from mibench.registry.registry import load_registry

SOURCE = Path(mibench_attacks.__file__).parent
# the parameters of each attack as published records name them, by the group that they stand in now
NAMES = {
    "gmi": {
        "search": "restarts steps lr momentum batch_ref clip",
        "objective": "id_weight loss realism",
        "selection": "final",
    },
    "ked-mi": {
        "search": "samples draws steps lr clip_z",
        "objective": "id_weight loss realism",
        "selection": "final",
    },
    "lomma": {
        "objective": "logit augment lam id_weight",
        "distillation": "public_images students student_epochs student_lr student_batch",
        "search": "candidates steps lr samples momentum batch_ref clip",
        "selection": "final",
    },
    "plg-mi": {
        "search": "restarts steps lr",
        "objective": "loss topk views crop_scale flip rotate jitter",
        "selection": "final",
    },
    "vmi": {
        "flow": "identity_layers flows hidden",
        "search": "optimizer lr momentum steps samples",
        "objective": "gamma clip",
        "selection": "final",
    },
    "deep-inversion": {
        "search": "images steps coarse_steps lr betas",
        "objective": "r_feat first_bn a_tv a_l2 jitter flip unit",
        "selection": "final",
    },
    "diff-mi": {
        "search": "restarts steps lr clip_ratio",
        "denoising": "guidance refine_from refine_steps",
        "objective": "loss topk feature_weight top views",
        "selection": "final",
    },
    "ppdg-vanilla": {"selection": "candidates keep draws"},
}
RENAMED = {
    "ked-mi": {"clip_z": "clip"},
    "lomma": {"student_epochs": "epochs", "student_lr": "lr", "student_batch": "batch"},
    "vmi": {"identity_layers": "layers", "flows": "steps"},
}
grouped = pytest.mark.parametrize("name", NAMES)


def component(name: str) -> Any:
    spec = next(spec for spec in mibench_attacks.mibench_attacks() if spec.name == name)
    module, _, attribute = spec.factory.partition(":")
    return getattr(importlib.import_module(module), attribute)


@grouped
def test_every_parameter_has_a_place_in_a_group_and_the_name_of_published_records(name):
    rows = {row.key: row.name for row in describe(component(name))}
    for group, keys in NAMES[name].items():
        for key in keys.split():
            assert rows.pop(key) == f"{group}.{RENAMED.get(name, {}).get(key, key)}"
    alone = {"prior", "align", "n_aug", "noise", "batch", "host", "host_preset", "rounds", "tune_steps", "post_pgd"}
    assert set(rows) <= alone


@grouped
def test_flat_dotted_and_nested_settings_make_the_same_attack(name):
    made = component(name)
    group, keys = next(iter(NAMES[name].items()))
    key = next(key for key in keys.split() if key not in ("students", "optimizer"))
    inner = RENAMED.get(name, {}).get(key, key)
    (row,) = [row for row in describe(made) if row.key == key]
    value = (not row.default) if isinstance(row.default, bool) else row.default + 1
    flat, dotted, nested = (
        build(made, settings) for settings in ({key: value}, {f"{group}.{inner}": value}, {group: {inner: value}})
    )
    assert flat == dotted == nested != build(made, {})
    assert canonical(flat)[key] == value
    assert not any("." in name for name in canonical(flat))
    with pytest.raises(UsageError, match="two names of one parameter"):
        build(made, {key: value, f"{group}.{inner}": value})


def test_a_preset_keeps_the_other_parameters_of_a_group():
    made = build(component("ked-mi"), {"objective.id_weight": 1.0})
    assert made.objective.realism == "logit"  # the attack's default, not that of the group's class
    assert build(component("vmi"), {"steps": 3}).selection.final == 100


def test_out_of_range_values_are_refused_by_the_name_that_was_given():
    gmi = component("gmi")
    with pytest.raises(UsageError, match=r"search\.lr = 0 is not valid; expected float > 0"):
        build(gmi, {"search.lr": 0}, owner="attack 'gmi'")
    with pytest.raises(UsageError, match="momentum = 1 is not valid"):
        build(gmi, {"momentum": 1}, owner="attack 'gmi'")
    with pytest.raises(UsageError, match=r"no parameter 'search\.lrr'.*Did you mean 'search\.lr'"):
        build(gmi, {"search.lrr": 1}, owner="attack 'gmi'")


def test_a_group_that_attacks_share_is_one_class_with_one_meaning():
    final = {
        name: next(row for row in describe(component(name)) if row.key == "final")
        for name in NAMES
        if name != "ppdg-vanilla"
    }
    assert len({(row.name, row.type, row.range, row.doc) for row in final.values()}) == 1
    assert {name: row.default for name, row in final.items()} == {
        "gmi": 1, "ked-mi": 5, "lomma": 5, "plg-mi": 5, "vmi": 100, "deep-inversion": 84, "diff-mi": 5,
    }  # fmt: skip
    assert type(component("gmi")().objective) is type(component("ked-mi")().objective)


@pytest.mark.parametrize(("flat", "dotted"), [("gmi.lr", "attack.search.lr"), ("gmi.final", "gmi.selection.final")])
def test_a_plan_has_the_same_keys_under_either_name(flat, dotted):
    def planned(**settings):
        request = Request(protocols=("smoke",), defenses=("none",), attacks=("gmi",), settings=settings)
        (cell,) = expand(request, load_registry())
        return set(cell.graph.nodes)

    assert planned(**{flat: "2"}) == planned(**{dotted: "2"}) != planned()


@grouped
def test_no_attack_inherits_from_another(name):
    bases = [base for base in component(name).__mro__ if issubclass(base, Attack)][1:]
    assert bases in ([GradientAttack, Attack], [Attack])
    assert len(fields(component(name))) <= 11  # the attack's own, groups counted once


MODULES = {
    ".".join(("mibench_attacks", *path.relative_to(SOURCE).with_suffix("").parts)): path
    for path in SOURCE.rglob("*.py")
}


def imports(path: Path) -> set[str]:
    """Return the modules of this distribution that one imports, anywhere in it and for whatever purpose."""
    named = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
    return {name for name in named if name in MODULES}


def test_no_part_imports_a_method_and_no_two_modules_import_each_other():
    graph = {name: imports(path) for name, path in MODULES.items()}
    methods = {name for name in graph if ".methods." in name}
    assert not [name for name in graph.keys() - methods if graph[name] & methods]

    def reaches(begin: str) -> set[str]:
        seen: set[str] = set()
        ahead = list(graph[begin])
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead += graph[name]
        return seen

    assert not [name for name in graph if name in reaches(name)]
