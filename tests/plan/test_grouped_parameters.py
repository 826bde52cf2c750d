"""Parameters in groups, from --set, presets and protocols to keys, records and commands."""

import pytest

from mibench.api import UsageError
from mibench.assemble.records import reproduce
from mibench.plan.cells import expand
from mibench.plan.facts import Facts
from mibench.plan.resolve import resolve
from mibench.protocol.load import load_protocol
from mibench.protocol.request import Request
from mibench.protocol.schema import ComponentChoice


def cell(registry, attack="grouped", **settings):
    request = Request(protocols=("toy",), attacks=(attack,), defenses=("plain",), settings=settings)
    return expand(request, registry)[-1]


def test_keys_hold_flat_names_where_they_are_declared_and_dotted_ones_elsewhere(toy_registry):
    params = cell(toy_registry).attack.params
    assert {name: params[name] for name in params if name not in ("images", "steps", "lr")} == {
        "width": 2.0, "begin": "", "new.width": 4.0, "new.start": ""
    }  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"attack.old.width": 0.5},
        {"grouped.old.width": "0.5"},
        {"attack.width": 0.5},
        {"attack.old": {"width": 0.5}},
        {"attack.width": 0.7, "grouped.old.width": 0.5},  # a name beats a kind, whatever the parameter is called
    ],
)
def test_every_name_of_a_parameter_makes_the_same_key_and_command(toy_registry, settings):
    made, plain = cell(toy_registry, **settings), cell(toy_registry, **{"grouped.width": 0.5})
    assert made.reconstructions.key == plain.reconstructions.key
    assert made.attack.overridden
    assert "grouped.width=" in reproduce(made)
    assert made.reconstructions.key != cell(toy_registry).reconstructions.key


def test_parameters_without_a_flat_name_keep_the_dotted_one(toy_registry):
    made = cell(toy_registry, **{"attack.new.width": 0.5})
    assert made.attack.params["new.width"] == 0.5
    assert "--set grouped.new.width=0.5" in reproduce(made)


def test_settings_lie_over_presets_that_nest(toy_registry):
    assert cell(toy_registry, "grouped/broad").attack.params["width"] == 8.0
    made = cell(toy_registry, "grouped/broad", **{"attack.width": 0.5}).attack
    assert (made.params["width"], made.params["new.width"]) == (0.5, 9.0)


@pytest.mark.parametrize("params", [{"new": {"width": 6}}, {"new.width": 6}, {"new": {"width": 6}, "old.width": 2}])
def test_protocols_may_nest_too(toy_registry, params):
    choice = ComponentChoice(name="grouped", params=params)
    made = resolve(
        Facts(toy_registry),
        "attack",
        choice,
        protocol=load_protocol(toy_registry, "toy").protocol,
        overrides={"old.start": ""},
    )
    assert made.params["new.width"] == 6.0
    assert made.params["width"] == 2.0
    assert not made.overridden
    assert made.overrides == {"old.start": ""}


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"attack.old.widht": 1}, ["no attack has 'old.widht'. Did you mean 'old.width'?", "grouped: ", "new.width"]),
        ({"grouped.old.widht": 1}, ["attack 'grouped' has no parameter 'old.widht'. Did you mean 'old.width'?"]),
        ({"groupde.old.width": 1}, ["no requested component is called 'groupde'. Did you mean 'grouped'?"]),
        ({"attack.old.width": 1, "attack.width": 2}, ["attack 'grouped': 'old.width' and 'width' are two names"]),
        ({"grouped.width": 1, "grouped.old": {"width": 1}}, ["'width' and 'old.width' are two names"]),
        ({"attack.old.width": 0}, ["attack 'grouped': width = 0 is not valid; expected float > 0"]),
        ({"attack.new.width": 0}, ["attack 'grouped': new.width = 0 is not valid; expected float > 0"]),
        ({"attack.new": 0}, ["new = 0 is not valid", "new.width="]),
    ],
)
def test_errors_name_the_parameter(toy_registry, settings, parts):
    with pytest.raises(UsageError) as caught:
        cell(toy_registry, **settings)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "key"),
    [("attack.old.start", "begin"), ("attack.begin", "begin"), ("attack.new.start", "new.start")],
)
def test_files_in_groups_stand_for_their_bytes(toy_registry, tmp_path, setting, key):
    file = tmp_path / "start.txt"
    file.write_text("x")
    made = cell(toy_registry, **{setting: str(file)})
    found = made.attack.params[key]
    assert found.startswith("sha256:")
    assert made.attack.settled.files == {found: str(file)}
    with pytest.raises(UsageError, match=r"start.* = '.*gone' does not exist|begin = '.*gone' does not exist"):
        cell(toy_registry, **{setting: str(tmp_path / "gone")})
