"""What keys and records hold of the components of the first plugins, for all presets: frozen, so results are found."""

import hashlib

import pytest

from mibench.api import params
from mibench.base.canonical import canonical_json
from mibench.registry.registry import load_registry

KINDS = ("dataset", "model", "prior", "defense", "attack", "metric", "executor")
FROZEN = "30375a466e2b26acd633593ac77ffd47580293238b6607cd40f0fe0612ffcac2"
"""Of the components as they were before any of them had groups."""
YOUNGER = {
    *("attack brep-mi", "attack brep-mi/small", "attack brep-mi/ppdg", "dataset two-folders"),
    *("model foreign", "model foreign-fresh"),
    *("model efficientnet-lite0", "model mobilenet-v2/imagenet", "prior head-model"),
    *(
        "dataset celeba",
        "dataset facescrub",
        "dataset fashion-mnist",
        "dataset image-folder",
        "dataset mnist",
        "dataset stanford-dogs",
    ),
    *("attack cma", "attack map", "attack random-search", "metric face-shape", "metric identity-bits"),
    *("defense atat/no-delta", "defense atat/random-delta", "defense negls/ls-half"),
    *("metric dependency", "metric fisher-information", "metric gradient-alignment", "metric hcr"),
    *("metric memorisation", "metric training-distance"),
    *("attack mirror/head", "attack ppa/head", "attack ppa/head-ce", "attack ppa/head-max-margin"),
    *("attack prior-random/head", "attack prior-topconf/head"),
    *("attack ppa/portraits", "attack prior-random/portraits", "attack prior-topconf/portraits"),
    "prior stylegan2-portraits",
    *("model facenet", "model facenet/papers"),
    *("metric delta-face", "metric delta-eval", "metric mi-roc", "metric training-leakage", "metric sample-quality"),
}
"""Components, and presets of older ones, that came later."""


@pytest.fixture(scope="module")
def components():
    registry = load_registry()
    return {
        f"{kind} {entry.spec.name}": registry.component(kind, entry.spec.name)
        for kind in KINDS
        for entry in registry.entries(kind)
    }


def test_canonical_parameters_of_all_components_and_presets_are_frozen(components):
    """Presets that are named like a protocol are left out: they belong to it."""
    protocols = {entry.spec.name for entry in load_registry().entries("protocol")}
    found = {
        f"{name}/{preset}": params.canonical(params.build(component, values))
        for name, component in components.items()
        for preset, values in {"": {}, **params.presets_of(component)}.items()
        if preset not in protocols and not {name, f"{name}/{preset}"} & YOUNGER
    }
    assert hashlib.sha256(canonical_json(found).encode()).hexdigest() == FROZEN


def test_defaults_are_what_validation_makes_of_them(components):
    """Else a parameter of a group would change its bytes when another one of that group is set."""
    for name, component in components.items():
        plain = params.canonical(component())
        again = params.canonical(params.build(component, plain))
        assert canonical_json(again) == canonical_json(plain), name


def test_all_names_of_parameters_build_the_same(components):
    for name, component in components.items():
        rows = params.describe(component)
        dotted = {row.name: row.default for row in rows}
        flat = {row.key: row.default for row in rows}
        assert params.build(component, dotted) == params.build(component, flat) == params.build(component, {}), name
