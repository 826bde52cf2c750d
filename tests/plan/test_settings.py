"""Which component a setting is for, and the sentence for one that is for none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import UsageError
from mibench.api.specs import SETTABLE
from mibench.plan.facts import Facts
from mibench.plan.settings import Settings
from mibench.protocol.request import Request
from mibench.registry.entry import Entry
from mibench.registry.joint import is_joint, join_names, split_names
from mibench.registry.kinds import SPEC_TYPES


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


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("defense.lamm", "no defense has 'lamm'. Did you mean 'lam'? noisy: lam."),
        ("defence.lam", "no requested component is called 'defence'. Did you mean 'defense'?"),
        ("nosy.lam", "no requested component is called 'nosy'. Did you mean 'noisy'?"),
        ("prior.steps", "no requested attack brings a prior of its own, and the protocol's is frozen"),
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
