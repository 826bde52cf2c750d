"""Attacks and priors that do not fit are refused when a run is planned, and shipped presets fit."""

import mibench_attacks
import mibench_datasets
import mibench_defenses
import mibench_metrics
import mibench_models
import pytest

from mibench.api import Attack, UsageError
from mibench.plan.cells import expand
from mibench.protocol.request import Request
from mibench.registry.registry import Registry

REGISTRY = Registry.from_modules(mibench_attacks, mibench_datasets, mibench_defenses, mibench_metrics, mibench_models)
PICKY = ["gmi", "ked-mi", "lomma", "if-gmi", "mirror", "ppdg-mi", "ppdg-vanilla", "plg-mi", "diff-mi", "cma"]


def planned(attack, **settings):
    request = Request(protocols=("smoke",), defenses=("none",), attacks=(attack,), settings=settings)
    return expand(request, REGISTRY)


@pytest.mark.parametrize("attack", PICKY)
def test_what_a_prior_cannot_serve_is_refused_before_anything_runs(attack):
    settings = {f"{attack}.prior": "pca"} | ({f"{attack}.space": "p"} if attack in ("mirror", "cma") else {})
    with pytest.raises(UsageError, match=rf"attack '{'gmi' if attack == 'ppdg-vanilla' else attack}'"):
        planned(attack, **settings)


@pytest.mark.parametrize("entry", [e.name for e in REGISTRY.entries("attack")])
def test_every_attack_fits_the_prior_of_its_preset_for_smoke(entry):
    assert planned(entry)


def test_every_attack_that_asks_for_a_structure_is_tried_here():
    own = [e.name for e in REGISTRY.entries("attack") if _asks(REGISTRY.component("attack", e.name))]
    assert sorted(own) == sorted(PICKY)


def _asks(component):
    return component.check_prior is not Attack.check_prior
