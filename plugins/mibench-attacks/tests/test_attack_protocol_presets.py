"""What the shipped protocols have for the attacks: it can be made, fits their budgets, and leaves nobody out."""

from typing import Any

import mibench_attacks
import pytest
from mibench_attacks.methods.ppdg_vanilla import HOSTS, protocol_presets

from mibench.api.params import build, canonical
from mibench.plan.facts import Facts
from mibench.protocol.load import load_protocol
from mibench.registry.registry import load_registry

REGISTRY = load_registry()
FACTS = Facts(REGISTRY)
NAMES = [spec.name for spec in mibench_attacks.mibench_attacks()]


def preset(protocol: str, name: str) -> Any:
    """Return the attack as it runs under a protocol that does not freeze it; ``None`` if that has nothing for it."""
    own = FACTS.traits("attack", name).presets
    found = FACTS.presets.choose(load_protocol(REGISTRY, protocol).protocol, "attack", name, own)
    return build(REGISTRY.component("attack", name), found.values, owner=name) if found else None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", ["orl64", "rendered64", "smoke"])
def test_every_attack_has_settings_that_can_be_made(protocol, name):
    made = preset(protocol, name)
    if made is None:
        assert name in load_protocol(REGISTRY, protocol).protocol.attacks
    else:
        assert build(type(made), canonical(made)) == made


@pytest.mark.parametrize("name", sorted({*NAMES} - {"ppa", "ppdg-vanilla", "lomma", "diff-mi", "if-gmi"}))
@pytest.mark.parametrize("protocol", ["orl64", "rendered64"])
def test_attacks_have_ppas_budget(protocol, name):
    made = preset(protocol, name)
    assert canonical(made)["final"] == 6
    assert made.cost(24)["backward"] <= 30_000 * (2 if name == "plg-mi" else 1)  # which sees each image in two views


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("protocol", ["orl64", "rendered64", "smoke"])
def test_hosts_of_ppdg_vanilla_run_as_they_do_alone(protocol, host):
    assert build(HOSTS[host], protocol_presets(host)[protocol]) == preset(protocol, host)
    assert preset(protocol, "ppdg-vanilla").host_preset == protocol
