"""Presets of a protocol, as plans use them: files of users, what is frozen, and whose fault a wrong value is."""

import pytest
import yaml
from fake_plugin import PROTOCOL

from mibench.api import UsageError
from mibench.plan.cells import expand
from mibench.protocol.request import Request

RAW = yaml.safe_load(PROTOCOL.read_text())


def planned(registry, folder, said, **fields):
    path = folder / "own.yaml"
    path.write_text(PROTOCOL.read_text() + yaml.safe_dump({"presets": said}))
    asked = {"protocols": (str(path),), "defenses": ("noisy",), "attacks": ("reader",)} | fields
    return expand(Request(**asked), registry)[-1]


def test_a_file_that_a_user_names_can_have_presets(toy_registry, tmp_path):
    said = {"defense": {"noisy": {"lam": 0.75}, "not-installed": {"lam": 1}}, "attack": {"reader": "deep"}}
    found = planned(toy_registry, tmp_path, said)
    assert (found.defense.preset, found.defense.params, found.defense.overridden) == ("toy", {"lam": 0.75}, False)
    assert (found.attack.preset, found.attack.params["steps"], found.attack.requested) == ("toy", 4, "reader")
    assert planned(toy_registry, tmp_path, said, settings={"noisy.lam": 0.5}).defense.overridden


def test_what_the_protocol_freezes_is_not_its_presets(toy_registry, tmp_path):
    found = planned(toy_registry, tmp_path, {"attack": {"guess": {"steps": 9}}}, attacks=("guess",))
    assert (found.attack.preset, found.attack.params["steps"]) == ("quick", 3)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lamm": 0.1}, "toy@1.0, presets.defense.noisy: .* no parameter 'lamm'. Did you mean 'lam'"),
        ({"lam": 3}, "toy@1.0, presets.defense.noisy: .*lam = 3 is not valid"),
    ],
)
def test_what_the_component_refuses_is_said_with_its_place_once_it_is_used(toy_registry, tmp_path, said, message):
    assert planned(toy_registry, tmp_path, {"defense": {"noisy": said}}, defenses=("plain",))
    with pytest.raises(UsageError, match=message):
        planned(toy_registry, tmp_path, {"defense": {"noisy": said}})


def test_what_a_user_sets_wrong_is_not_the_protocols_fault(toy_registry, tmp_path):
    with pytest.raises(UsageError) as raised:
        planned(toy_registry, tmp_path, {"defense": {"noisy": {"lam": 0.5}}}, settings={"noisy.lam": 7})
    assert "presets" not in str(raised.value)


def _files(folder, **presets):
    for name, said in presets.items():
        (folder / f"{name}.yaml").write_text(PROTOCOL.read_text() + (yaml.safe_dump({"presets": said}) if said else ""))
    return tuple(str(folder / f"{name}.yaml") for name in presets)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", [None, {"defense": {"noisy": {"lam": 0.5}}}, {"like": "other"}])
def test_two_protocols_that_differ_in_their_presets_alone_are_refused_together(toy_registry, tmp_path, other, order):
    """Results go by the name of a protocol, so those of one of the two would be taken for the other's."""
    named = _files(tmp_path, one={"defense": {"noisy": {"lam": 0.75}}}, two=other)[::order]
    asked = {"defenses": ("noisy",), "attacks": ("guess",)}
    with pytest.raises(UsageError) as told:
        expand(Request(protocols=named, **asked), toy_registry)
    assert str(told.value) == (
        f"{named[0]} and {named[1]} have other presets and are both called toy@1.0; rename one of them."
    )
    alone = [expand(Request(protocols=(one,), **asked), toy_registry)[-1].loaded.digest for one in named]
    assert alone[0] == alone[1]


def test_two_protocols_with_the_same_presets_are_one(toy_registry, tmp_path):
    said = {"defense": {"noisy": {"lam": 0.75}}, "attack": {"reader": "deep"}}
    named = _files(tmp_path, one=said, two=dict(reversed(said.items())))
    found = expand(Request(protocols=named, defenses=("noisy",), attacks=("guess",)), toy_registry)
    assert [(cell.defense.name, cell.loaded.requested) for cell in found] == [("plain", named[0]), ("noisy", named[0])]
