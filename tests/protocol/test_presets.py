"""Presets of components that a protocol has: which one counts, what it may refer to, and what it leaves alone."""

from types import SimpleNamespace

import pytest
import yaml
from fake_plugin import PROTOCOL

from mibench.api import UsageError
from mibench.protocol.load import load_protocol, parse_protocol
from mibench.protocol.presets import Preset, Presets

RAW = yaml.safe_load(PROTOCOL.read_text())
OWN = {"quick": {"steps": 1}, "toy": {"steps": 2}}


def protocol(name="toy", **presets):
    return parse_protocol(yaml.safe_dump(RAW | {"name": name, "presets": presets})).protocol


def presets(**installed):
    """Return presets where these protocols are installed, by name."""
    found = Presets(
        SimpleNamespace(
            entries=lambda kind: [
                SimpleNamespace(name=n, spec=SimpleNamespace(name=n, version="1.0")) for n in installed
            ]
        )
    )
    found._loaded = {known: loaded for name, loaded in installed.items() for known in (name, f"{name}@1.0")}
    return found


def test_presets_are_no_part_of_the_digest():
    text = PROTOCOL.read_text()
    assert parse_protocol(text + "presets: {attack: {guess: {steps: 9}}}\n").digest == parse_protocol(text).digest


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"atack": {}}, "presets.atack: Extra inputs"),
        ({"attack": {"guess": 3}}, "presets.attack.guess"),
        ({"attack": ["guess"]}, "presets.attack: .*valid dictionary"),
        ({"like": 3}, "presets.like: .*valid string"),
    ],
)
def test_a_wrong_form_is_refused_with_its_place(said, message):
    with pytest.raises(UsageError, match=message):
        protocol(**said)


@pytest.mark.parametrize(
    ("here", "asked", "expected"),
    [
        ({"attack": {"guess": {"steps": 7}}}, None, ("toy", 7)),  # the protocol's before the component's of that name
        ({"attack": {"guess": {"steps": 7}}}, "toy", ("toy", 7)),
        ({"attack": {"guess": {"steps": 7}}}, "quick", ("quick", 1)),  # what was asked for before the protocol's
        ({"attack": {"other": {"steps": 7}}}, None, ("toy", 2)),  # the component's of the protocol's name
        ({"defense": {"guess": {"steps": 7}}}, None, ("toy", 2)),  # another kind
        ({"attack": {"guess": "quick"}}, None, ("toy", 1)),  # one of the component's own, under the protocol's name
    ],
)
def test_order_of_precedence(here, asked, expected):
    found = presets(toy=protocol()).choose(protocol(**here), "attack", "guess", OWN, asked)
    assert (found.name, found.values["steps"]) == expected


def test_without_any_there_is_none():
    assert presets().choose(protocol("free"), "attack", "guess", OWN) is None


def test_another_protocols_preset_can_be_asked_for_by_name():
    other = protocol("other", attack={"guess": {"steps": 8}})
    found = presets(other=other).choose(protocol(), "attack", "guess", OWN, "other")
    assert found == Preset("other", {"steps": 8}, "protocol other@1.0, presets.attack.guess")


def test_a_file_has_what_the_installed_protocol_of_its_name_has_unless_it_says_so_itself():
    installed = presets(toy=protocol(attack={"guess": {"steps": 7}, "pool": {"size": 3}}))
    varied = protocol(attack={"guess": {"steps": 6}})
    assert installed.choose(varied, "attack", "guess", OWN).values == {"steps": 6}
    assert installed.choose(varied, "attack", "pool", {}).values == {"size": 3}


def test_one_protocol_may_take_over_from_another():
    base = protocol("base", attack={"guess": {"steps": 5}, "pool": {"size": 5}}, defense={"noisy": "strong"})
    middle = protocol("middle", like="base", attack={"pool": {"size": 6}})
    found, heir = presets(base=base, middle=middle), protocol(like="middle")
    assert found.choose(heir, "attack", "pool", {}) == Preset(
        "toy", {"size": 6}, "protocol middle@1.0, presets.attack.pool"
    )
    assert found.choose(heir, "attack", "guess", OWN).values == {"steps": 5}
    assert found.listed(heir) == {
        ("attack", "guess"): {"steps": 5}, ("attack", "pool"): {"size": 6}, ("defense", "noisy"): "strong",
    }  # fmt: skip
    assert found.installed()["middle@1.0"]["like"] == "base"


def test_protocols_that_are_like_each_other_end():
    one, two = protocol("one", like="two"), protocol("two", like="one", attack={"guess": {"steps": 4}})
    found = presets(one=one, two=two)
    assert found.choose(one, "attack", "guess", OWN).values == {"steps": 4}
    assert found.choose(one, "attack", "pool", {}) is None


@pytest.mark.parametrize(
    ("here", "asked", "message"),
    [
        ({}, "quik", r"Unknown preset of attack 'guess' 'quik'. Did you mean 'quick'\? Available: other, quick, toy"),
        ({"attack": {"guess": "quik"}}, None, r"toy@1.0, presets.attack.guess: Unknown preset .* Did you mean 'quick'"),
        ({"like": "othr"}, None, r"toy@1.0, presets.like: Unknown protocol 'othr'. Did you mean 'other'"),
    ],
)
def test_what_does_not_exist_is_named(here, asked, message):
    found = presets(other=protocol("other", attack={"guess": {"steps": 8}}))
    with pytest.raises(UsageError, match=message):
        found.choose(protocol(**here), "attack", "guess", OWN, asked)


def test_all_presets_are_the_components_and_those_of_protocols_that_can_be_read(toy_registry):
    found = Presets(toy_registry)
    assert found.all("defense", "noisy", OWN) == OWN
    broken = protocol("broken", defense={"noisy": "no-such"})
    sound = protocol("sound", defense={"noisy": "quick"})
    assert presets(broken=broken, sound=sound).all("defense", "noisy", OWN) == OWN | {"sound": {"steps": 1}}


# In plans


def test_a_protocol_that_is_read_twice_is_parsed_once(toy_registry):
    assert load_protocol(toy_registry, "toy") is load_protocol(toy_registry, "toy")
