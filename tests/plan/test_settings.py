"""Which component a setting is for, and the sentence for one that is for none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import UsageError
from mibench.api.hookspecs import hookimpl
from mibench.api.specs import SETTABLE, DefenseSpec
from mibench.plan.facts import Facts
from mibench.plan.settings import Settings
from mibench.protocol.request import Request
from mibench.registry.entry import Entry
from mibench.registry.joint import is_joint, join_names, split_names
from mibench.registry.kinds import SPEC_TYPES
from mibench.registry.registry import Registry


def settings(registry, **raw):
    return Settings({key.replace("__", "."): value for key, value in raw.items()}, Facts(registry))


def test_kinds_that_can_be_set_are_kinds():
    assert set(SETTABLE) < set(SPEC_TYPES)


def test_a_setting_goes_to_the_component_it_names_or_to_all_of_a_kind(toy_registry):
    found = settings(toy_registry, attack__lr=0.5, guess__lr=0.25, defense__lam=0.75)
    assert found.overrides("attack", "guess") == {"lr": 0.25}
    assert found.overrides("attack", "reader") == {"lr": 0.5}
    assert found.overrides("defense", "noisy") == {"lam": 0.75}
    assert found.overrides("defense", "plain") == {}
    assert found.overrides("model", "tiny") == {}
    found.check_all_used()


FROZEN = " What only the protocol names is frozen: change it in a copy of its file, and run that (--protocol FILE)."


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("defense.lamm", "no defense has 'lamm'. Did you mean 'lam'? noisy: lam."),
        ("defence.lam", "no requested component is called 'defence'. Did you mean 'defense'?"),
        ("nosy.lam", "no requested component is called 'nosy'. Did you mean 'noisy'?"),
        ("prior.steps", f"no requested attack brings a prior of its own.{FROZEN}"),
        ("linear.steps", f"no requested component is called 'linear'.{FROZEN}"),
    ],
)
def test_a_setting_for_nothing_is_explained(toy_registry, key, message):
    found = Settings({key: 1}, Facts(toy_registry))
    assert found.overrides("defense", "noisy") == {}
    with pytest.raises(UsageError) as told:
        found.check_all_used()
    assert str(told.value) == f"--set {key}: {message}"


@pytest.mark.parametrize("key", ["lam", ".lam", "defense.", ".", ""])
def test_a_key_without_two_names_is_refused_by_the_request(key):
    with pytest.raises(UsageError, match=r"expected KEY=VALUE with a key like defense\.lam \(KIND\.PARAMETER or NAME"):
        Request(settings={key: 1})


def test_a_kind_that_is_nearly_one_is_suggested():
    with pytest.raises(UsageError, match=r"Did you mean 'defense'\?"):
        Request(settings={"defence.": 1})


def test_a_setting_that_another_component_lacks_is_for_those_that_have_it(toy_registry):
    found = settings(toy_registry, defense__lam=0.75)
    assert found.overrides("defense", "flipped") == {}
    with pytest.raises(UsageError, match="no defense has 'lam'"):
        found.check_all_used()
    assert found.overrides("defense", "noisy") == {"lam": 0.75}
    found.check_all_used()


def test_a_name_may_set_what_the_component_has_not_and_is_refused_there(toy_registry):
    """The component itself says what it takes; only of a kind is it asked which of them is meant."""
    facts = Facts(toy_registry)
    found = Settings({"noisy.lamm": 1}, facts)
    assert found.overrides("defense", "noisy") == {"lamm": 1}
    found.check_all_used()
    with pytest.raises(UsageError, match=r"has no parameter 'lamm'. Did you mean 'lam'\?"):
        facts.settle("defense", "noisy", {"lamm": 1})


def test_the_first_setting_that_is_for_nothing_is_told(toy_registry):
    found = Settings({"defense.lam": 0.5, "model.widht": 1, "attack.speed": 2}, Facts(toy_registry))
    found.overrides("defense", "noisy")
    found.overrides("model", "tiny")
    found.overrides("attack", "pool")
    with pytest.raises(UsageError) as told:
        found.check_all_used()
    assert str(told.value) == "--set model.widht: no model has 'widht'. Did you mean 'width'? tiny: width."


def test_what_was_asked_for_is_listed_with_what_it_has(toy_registry):
    found = Settings({"defense.speed": 1}, Facts(toy_registry))
    for name in ("plain", "noisy", "flipped"):
        found.overrides("defense", name)
    with pytest.raises(UsageError, match=r"no defense has 'speed'\. flipped, noisy, plain: both, lam\.$"):
        found.check_all_used()


@pytest.mark.parametrize(("asked", "listed"), [(("plain",), "plain: none."), ((), ": none.")])
def test_where_there_is_nothing_to_set_the_list_says_so(toy_registry, asked, listed):
    found = Settings({"defense.lam": 1}, Facts(toy_registry))
    for name in asked:
        found.overrides("defense", name)
    with pytest.raises(UsageError) as told:
        found.check_all_used()
    assert str(told.value).endswith(listed)


def test_a_prior_that_an_attack_brings_is_explained_like_others(toy_registry):
    found = Settings({"prior.step": 1}, Facts(toy_registry))
    found.overrides("prior", "linear")
    with pytest.raises(UsageError) as told:
        found.check_all_used()
    assert str(told.value) == "--set prior.step: no prior has 'step'. Did you mean 'steps'? linear: gain, steps."


def test_groups_are_set_by_dots_under_a_kind_and_under_a_name(toy_registry):
    found = Settings({"attack.new.width": 5, "grouped.old.width": 6, "attack.lr": 0.5}, Facts(toy_registry))
    assert found.overrides("attack", "grouped") == {"new.width": 5, "width": 6, "lr": 0.5}
    assert found.overrides("attack", "guess") == {"lr": 0.5}
    found.check_all_used()


@pytest.mark.parametrize("prefix", ["attack", "grouped"])
def test_a_parameter_set_by_both_of_its_names_is_refused(toy_registry, prefix):
    found = Settings({f"{prefix}.old.width": 5, f"{prefix}.width": 6}, Facts(toy_registry))
    with pytest.raises(UsageError, match=r"attack 'grouped'.*width"):
        found.overrides("attack", "grouped")


def test_a_name_beats_a_kind_under_either_name_of_a_parameter(toy_registry):
    found = Settings({"attack.width": 5, "grouped.old.width": 6}, Facts(toy_registry))
    assert found.overrides("attack", "grouped") == {"width": 6}


class Dotted:
    """Names with dots, one of which begins another."""

    @hookimpl
    def mibench_defenses(self):
        for name in ("noisy", "noisy.v2", "model.aware"):
            yield DefenseSpec(name=name, factory="fake_plugin.parts:Noisy", summary="for tests")


def test_of_names_with_dots_the_longest_is_meant():
    facts = Facts(Registry.from_modules(Dotted()))
    found = Settings({"noisy.v2.lam": 0.25, "noisy.lam": 0.5, "model.aware.lam": 0.75}, facts)
    assert {name: found.overrides("defense", name) for name in ("noisy", "noisy.v2", "model.aware")} == {
        "noisy": {"lam": 0.5},
        "noisy.v2": {"lam": 0.25},
        "model.aware": {"lam": 0.75},
    }
    found.check_all_used()


NAMES = st.lists(st.text("abc-.019", min_size=1, max_size=5), min_size=1, max_size=4)


@given(NAMES)
def test_joined_names_come_apart_again(names):
    joined = join_names(names)
    assert split_names(joined) == names
    assert is_joint(joined) == (len(names) > 1)
    entry = Entry(joined, join_names("1" for _ in names), {name: {"x": name} for name in names})
    assert entry.names == names
    assert [(part.name, part.version, part.params) for part in entry.parts] == (
        [(name, "1", {"x": name}) for name in names] if len(names) > 1 else []
    )
    assert entry.json() == {"name": entry.name, "version": entry.version, "params": dict(entry.params)}
