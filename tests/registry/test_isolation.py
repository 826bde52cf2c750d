"""Whatever one plugin does, it is reported by distribution, file and reason, and the others are listed."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import pytest

import mibench
from mibench.api import DefenseSpec, hookimpl
from mibench.api.errors import PluginError, UsageError
from mibench.registry.discovery import discover
from mibench.registry.registry import Registry

HEAD = "from mibench.api import AttackSpec, DefenseSpec, hookimpl\n"
SPEC = 'DefenseSpec(name="bad", factory="m:C", summary="s"'

BROKEN = {
    "raises": ("raise RuntimeError('no luck')", "import", "RuntimeError: no luck", ":1"),
    "exits": ("import sys\nsys.exit(7)", "import", "called sys.exit(7)", ":2"),
    "own BaseException": ("class Odd(BaseException): pass\nraise Odd('x')", "import", "Odd: x", ":2"),
    "syntax error": ("def broken(:\n    pass", "import", "SyntaxError", ":1"),
    "missing package": ("import surely_not_installed_anywhere", "import", "surely_not_installed_anywhere", ":1"),
    "unknown hook": (
        HEAD + "@hookimpl\ndef mibench_defences():\n    return []",
        "hooks",
        "unknown hook 'mibench_defences'. Did you mean 'mibench_defenses'?",
        ".py",
    ),
    "forgotten decorator": ("def mibench_defenses():\n    return []", "hooks", "without the decorator", ".py"),
    "unknown argument": (
        HEAD + "@hookimpl\ndef mibench_stage_finished(node, minutes):\n    pass",
        "hooks",
        "minutes",
        ".py",
    ),
    "wrong API": (
        HEAD + f"@hookimpl\ndef mibench_defenses():\n    return [{SPEC}, api='99')]",
        "spec",
        "plugin API '99'; this mibench has '1': install matching versions (bad)",
        ".py",
    ),
    "not a spec": (HEAD + "@hookimpl\ndef mibench_defenses():\n    return ['bad']", "spec", "type str", ".py"),
    "wrong kind": (
        HEAD + "@hookimpl\ndef mibench_defenses():\n    yield AttackSpec(name='bad', factory='m:C', summary='s')",
        "spec",
        "AttackSpec; expected DefenseSpec (bad)",
        ".py",
    ),
    "version is a number": (
        HEAD + f"@hookimpl\ndef mibench_defenses():\n    yield {SPEC}, version=1)",
        "spec",
        "version is 1; expected a string (bad)",
        ".py",
    ),
    "hook raises": (
        HEAD + "@hookimpl\ndef mibench_defenses():\n    raise KeyError('gone')",
        "collect",
        "mibench_defenses raised KeyError",
        ":4",
    ),
    "hook exits": (
        HEAD + "@hookimpl\ndef mibench_defenses():\n    raise SystemExit",
        "collect",
        "called sys.exit(None)",
        ":4",
    ),
    "generator raises": (
        HEAD + f"@hookimpl\ndef mibench_defenses():\n    yield {SPEC})\n    raise OSError('disk')",
        "collect",
        "OSError: disk",
        ":5",
    ),
    "bad name": (
        HEAD + "@hookimpl\ndef mibench_defenses():\n    yield DefenseSpec(name='B A D', factory='m:C', summary='s')",
        "collect",
        "'B A D'",
        "specs.py",
    ),
    "returns nothing": (HEAD + "@hookimpl\ndef mibench_defenses():\n    pass", "collect", "returned None", ".py"),
    "returns a string": (HEAD + "@hookimpl\ndef mibench_defenses():\n    return 'bad'", "collect", "str", ".py"),
    "folder outside": (
        HEAD + "@hookimpl\ndef mibench_artifacts():\n    return ['mibench:../..']",
        "artifacts",
        "expected 'package:folder'",
        ".py",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_reported_and_costs_only_itself(case, good, install):
    source, phase, reason, file = BROKEN[case]
    module = install("bad-dist", source)

    registry = Registry(discover())

    assert registry.component("defense", "good").__name__ == "Good"
    (failure,) = [f for f in registry.failures if f.distribution == "bad-dist"]
    assert (failure.version, failure.entry_point, failure.phase) == ("1.0", f"plugin = {module}", phase)
    assert reason in failure.reason
    assert "\n" not in failure.reason
    assert file in failure.file
    assert "bad" not in [entry.name for entry in registry.entries("defense")]


@pytest.mark.parametrize("case", ["raises", "wrong API", "generator raises"])
def test_a_broken_plugin_is_fatal_only_to_a_request_that_needs_it(case, good, install):
    install("bad-dist", BROKEN[case][0])
    registry = Registry(discover())
    assert registry.get("defense", "good").distribution == "good-dist"
    with pytest.raises(PluginError, match=r"bad-dist 1\.0") as caught:
        registry.get("defense", "bad")
    assert caught.value.exit_code == 3


def test_a_slip_of_the_user_stays_a_slip_when_a_plugin_is_broken(good, install):
    install("bad-dist", BROKEN["raises"][0])
    with pytest.raises(UsageError, match=r"Did you mean 'good'(.|\n)*bad-dist 1\.0: failed to import"):
        Registry(discover()).get("defense", "goood")


def test_a_plugin_that_lost_a_defense_is_not_blamed_for_an_unknown_attack(good, install):
    install("bad-dist", BROKEN["generator raises"][0])
    with pytest.raises(UsageError, match="Unknown attack 'zzz'"):
        Registry(discover()).get("attack", "zzz")


def test_other_hooks_and_siblings_of_a_refused_spec_still_count(install):
    source = HEAD + (
        "@hookimpl\ndef mibench_defenses():\n    raise OSError\n"
        "@hookimpl\ndef mibench_attacks():\n"
        "    yield AttackSpec(name='fine-attack', factory='json:JSONDecoder', summary='s')\n"
        "    yield AttackSpec(name='old-attack', factory='m:C', summary='s', api='0')\n"
    )
    install("half-dist", source)
    registry = Registry(discover())
    names = [entry.name for entry in registry.entries("attack") if entry.distribution == "half-dist"]
    assert names == ["fine-attack"]
    assert {f.phase for f in registry.failures if f.distribution == "half-dist"} == {"spec", "collect"}


def test_two_plugins_with_one_name_are_both_named_and_neither_wins(good, install):
    install(
        "rival-dist",
        HEAD + "@hookimpl\ndef mibench_defenses():\n"
        "    yield DefenseSpec(name='good', factory='m:C', summary='s')\n"
        "    yield DefenseSpec(name='only-mine', factory='m:C', summary='s')\n",
    )
    registry = Registry(discover())
    with pytest.raises(PluginError, match=r"good-dist 1\.0 and rival-dist 1\.0, so neither can be used"):
        registry.get("defense", "good")
    names = [entry.name for entry in registry.entries("defense")]
    assert "good" not in names
    assert "only-mine" in names
    assert {f.distribution for f in registry.failures if f.phase == "name"} == {"good-dist", "rival-dist"}
    assert len(registry.conflicts()) == 1


def test_the_same_name_as_another_kind_is_no_conflict(good, install):
    install(
        "rival-dist",
        HEAD + "@hookimpl\ndef mibench_attacks():\n    yield AttackSpec(name='good', factory='m:C', summary='s')\n",
    )
    registry = Registry(discover())
    assert registry.get("attack", "good").distribution == "rival-dist"
    assert registry.get("defense", "good").distribution == "good-dist"


def test_damaged_entry_points_hide_nobody(good, install):
    install("bad-dist", "", entry="[mibench]\nno equals sign here\n")
    registry = Registry(discover())
    assert registry.get("defense", "good")
    (failure,) = [f for f in registry.failures if f.distribution == "bad-dist"]
    assert failure.phase == "entry-point"


SIGNAL = "import signal\nsignal.raise_signal(signal.SIGINT)"


@pytest.mark.parametrize("source", ["raise KeyboardInterrupt", SIGNAL], ids=["raised", "sent to itself"])
def test_a_plugin_that_interrupts_at_import_is_named(source, good, install):
    install("bad-dist", source)
    registry = Registry(discover())
    assert registry.component("defense", "good").__name__ == "Good"
    (failure,) = [f for f in registry.failures if f.distribution == "bad-dist"]
    assert failure.phase == "import"
    assert "KeyboardInterrupt" in failure.reason


def test_a_plugin_that_interrupts_in_a_hook_is_named(good, install):
    install("bad-dist", HEAD + "@hookimpl\ndef mibench_defenses():\n    raise KeyboardInterrupt")
    (failure,) = [f for f in Registry(discover()).failures if f.distribution == "bad-dist"]
    assert (failure.phase, failure.reason) == ("collect", "mibench_defenses raised KeyboardInterrupt")


def test_a_class_that_interrupts_when_it_is_imported_is_named(install):
    source = HEAD + f"@hookimpl\ndef mibench_defenses():\n    yield {SPEC})".replace("m:C", "fake_bad_dist_d:C")
    install("bad-dist", source, d="class C: pass\nraise KeyboardInterrupt")
    with pytest.raises(PluginError, match=r"bad-dist 1\.0 cannot be loaded: KeyboardInterrupt"):
        Registry(discover()).component("defense", "bad")


def test_ctrl_c_while_plugins_are_loaded_interrupts():
    """Not in a plugin's own process: whoever presses it means all of mibench."""

    class Slow:
        @hookimpl
        def mibench_defenses(self):
            signal.raise_signal(signal.SIGINT)
            return []

    with pytest.raises(KeyboardInterrupt):
        Registry.from_modules(Slow())


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_what_a_signal_handler_of_mibench_raises_is_no_plugins_fault(error, monkeypatch):
    code = compile("def stop(number, frame):\n    raise error", f"{Path(mibench.__file__).parent}/stop.py", "exec")
    names = {"error": error}
    exec(code, names)
    before = signal.signal(signal.SIGTERM, names["stop"])

    class Slow:
        @hookimpl
        def mibench_defenses(self):
            signal.raise_signal(signal.SIGTERM)
            return []

    try:
        if issubclass(error, Exception):
            assert len(Registry.from_modules(Slow()).failures) == 1
        else:
            with pytest.raises(error):
                Registry.from_modules(Slow())
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_generator_without_an_end_is_stopped():
    class Endless:
        @hookimpl
        def mibench_defenses(self):
            return itertools.repeat(DefenseSpec(name="again", factory="m:C", summary="s"))

    (failure,) = Registry.from_modules(Endless()).failures
    assert failure.reason == "mibench_defenses gives more than 10000 objects; does it ever end?"


@pytest.mark.parametrize("off", ["bad-dist", "BAD_dist", "x, bad.dist"])
def test_plugins_can_be_disabled(off, good, install, monkeypatch):
    install("bad-dist", BROKEN["raises"][0])
    monkeypatch.setenv("MIBENCH_DISABLE_PLUGINS", off)
    registry = Registry(discover())
    assert registry.get("defense", "good")
    assert not [f for f in registry.failures if f.distribution == "bad-dist"]


def test_what_a_plugin_prints_does_not_reach_stdout(install, capsys):
    install("loud-dist", HEAD + "print('import')\n@hookimpl\ndef mibench_defenses():\n    print('hook')\n    return []")
    Registry(discover())
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.split() == ["import", "hook"]


def test_order_does_not_depend_on_the_path(install):
    for name in ("zz-dist", "aa-dist"):
        install(
            name,
            HEAD + f"@hookimpl\ndef mibench_defenses():\n"
            f"    yield DefenseSpec(name='{name[:2]}2', factory='m:C', summary='s')\n"
            f"    yield DefenseSpec(name='{name[:2]}1', factory='m:C', summary='s')\n",
        )
    entries = Registry(discover()).entries("defenses")
    assert [e.name for e in entries if e.distribution.endswith("-dist")] == ["aa1", "aa2", "zz1", "zz2"]
    assert [e.distribution for e in entries] == sorted(e.distribution for e in entries)
