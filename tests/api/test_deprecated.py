"""Old names of the plugin contract work and say which name is meant and when they go."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
import torch
from packaging.version import Version

import mibench
import mibench.api
from mibench.api import deprecated


def attack_class(**methods):
    """Make an attack in this test, so that its warning belongs to it."""
    bare = {"prepare": lambda *_: None, "reconstruct": lambda *_: None}
    return type("Mine", (mibench.api.Attack,), bare | methods)


def old_attack(value=True, base=None):
    with pytest.warns(DeprecationWarning, match=r"'.*\.peeks' is now called '.*\.uses_evaluator'.* in mibench 0\.3\."):
        if base:
            return type("Older", (base,), {"peeks": lambda self: value})
        return attack_class(peeks=lambda self: value)


def test_the_version_in_which_they_go_has_not_come():
    assert Version(mibench.__version__) < Version(deprecated.GONE_IN), "delete mibench/api/deprecated.py and its users"


@pytest.mark.parametrize(("old", "new"), deprecated.CLASSES.items())
def test_old_classes_are_the_new_ones(old, new):
    with pytest.warns(
        DeprecationWarning, match=rf"'mibench.api.{old}' is now called 'mibench.api.{new}'.* 0\.3"
    ) as told:
        found = getattr(mibench.api, old)
    assert found is getattr(mibench.api, new)
    assert [one.filename for one in told] == [__file__]
    assert old not in mibench.api.__all__


@pytest.mark.parametrize(
    ("module", "old"),
    [("params", "Added"), ("params", "Deployed"), ("metric", "Evidence"), ("defense", "Start"), ("prior", "Carry")],
)
def test_old_classes_are_found_where_they_are_defined(module, old):
    home = __import__(f"mibench.api.{module}", fromlist=["x"])
    with pytest.warns(DeprecationWarning, match=f"'mibench.api.{old}' is now"):
        assert getattr(home, old) is getattr(home, deprecated.CLASSES[old])
    for wrong in {*deprecated.CLASSES, "Nonsense"} - {
        name for name, new in deprecated.CLASSES.items() if hasattr(home, new)
    }:
        with pytest.raises(AttributeError, match=f"'mibench.api.{module}' has no attribute '{wrong}'"):
            getattr(home, wrong)


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = mibench.api.Nonsense  # type: ignore[attr-defined]


def test_an_old_marker_still_keeps_a_parameter_out_of_keys():
    with pytest.warns(DeprecationWarning, match="Added"):
        from mibench.api import Added  # type: ignore[attr-defined]
    from mibench.api.params import canonical

    @dataclass(frozen=True)
    class Component:
        young: Annotated[int, Added()] = 1

    assert canonical(Component()) == {}
    assert canonical(Component(2)) == {"young": 2}


def test_an_overridden_peeks_is_what_uses_evaluator_says():
    assert old_attack(True)().uses_evaluator() is True
    assert old_attack(False)().uses_evaluator() is False
    assert attack_class()().uses_evaluator() is False


def test_the_warning_names_the_file_of_the_override():
    with pytest.warns(DeprecationWarning, match=r"'Mine\.peeks'") as told:
        attack_class(peeks=lambda self: True)
    assert [one.filename for one in told] == [__file__]


def test_the_old_method_can_be_called_on_a_new_attack():
    attack = attack_class(uses_evaluator=lambda self: True)()
    with pytest.warns(DeprecationWarning, match="'Attack.peeks' is now called 'Attack.uses_evaluator'"):
        assert attack.peeks() is True


def test_an_override_that_asks_its_base_does_not_ask_itself():
    base = attack_class(uses_evaluator=lambda self: "base")

    with pytest.warns(DeprecationWarning, match="peeks"):

        class Old(base):  # type: ignore[valid-type]
            def peeks(self):
                return ("old", super().peeks())

    class New(Old):
        def uses_evaluator(self):
            return ("new", super().uses_evaluator())

    with pytest.warns(DeprecationWarning, match="peeks"):
        assert New().uses_evaluator() == ("new", ("old", "base"))


def test_an_override_in_a_class_beside_counts():
    class Beside:
        def peeks(self):
            return ("beside", super().peeks())

    with pytest.warns(DeprecationWarning, match=r"'Beside\.peeks'"):
        made = type("Mine", (Beside, attack_class()), {})
    with pytest.warns(DeprecationWarning, match="peeks"):
        assert made().uses_evaluator() == ("beside", False)


def test_a_class_with_both_names_serves_both_versions_in_silence(recwarn):
    attack = attack_class(peeks=lambda self: True, uses_evaluator=lambda self: True)()
    assert attack.uses_evaluator()
    assert attack.peeks()
    assert not recwarn.list


def test_a_subclass_of_an_old_attack_inherits_the_override():
    old = old_attack(True)
    assert type("Sub", (old,), {})().uses_evaluator() is True
    assert old_attack(False, base=old)().uses_evaluator() is False


def context(**options):
    return mibench.api.AttackContext(seed=0, size=8, channels=3, device=torch.device("cpu"), **options)


@pytest.mark.parametrize(("old", "new"), deprecated.MEMBERS["AttackContext"].items())
def test_old_attributes_of_a_context_lead_to_the_new(old, new):
    ctx, first, second = context(**{new: "first"}), "first", "second"
    with pytest.warns(DeprecationWarning, match=f"'AttackContext.{old}' is now called 'AttackContext.{new}'"):
        assert getattr(ctx, old) == first
    with pytest.warns(DeprecationWarning, match=f"'AttackContext.{old}'"):
        setattr(ctx, old, second)
    assert getattr(ctx, new) == second


def test_old_names_are_no_fields_and_cost_nobody_a_warning(recwarn):
    assert {"judge", "remember"}.isdisjoint(mibench.api.AttackContext.__dataclass_fields__)
    assert context() == context()
    assert "judge" not in repr(context())
    assert [getattr(mibench.api.Attack, name) for name in dir(mibench.api.Attack)]
    assert not recwarn.list


def prior_class(**methods):
    bare = {"to_latent": lambda *_: None, "render": lambda *_: None}
    return type("Mine", (mibench.api.Prior,), bare | methods)


def test_a_prior_that_overrides_frame_crops_so():
    with pytest.warns(DeprecationWarning, match=r"'Mine\.frame' is now called 'Mine\.crop_and_resize'"):
        made = prior_class(frame=lambda self, x, size: x[..., :size, :size] + 1)()
    shown = made.crop_and_resize(torch.zeros(1, 3, 8, 8), 4)
    assert torch.equal(shown, torch.ones(1, 3, 4, 4))


def test_frame_of_a_new_prior_crops_and_resizes():
    prior, x = prior_class(crop=0.5)(), torch.rand(1, 3, 8, 8)
    with pytest.warns(DeprecationWarning, match="'Prior.frame' is now called 'Prior.crop_and_resize'"):
        shown = prior.frame(x, 4)
    assert torch.equal(shown, x[..., 2:6, 2:6])


def test_the_tables_name_what_exists():
    for owner, renamed in deprecated.MEMBERS.items():
        cls = getattr(mibench.api, owner)
        fields = getattr(cls, "__dataclass_fields__", {})
        assert all(new in fields or callable(getattr(cls, new)) for new in renamed.values())


def test_asking_for_an_old_name_of_a_light_module_stays_light():
    code = "import sys, mibench.api.deprecated, mibench.api; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
