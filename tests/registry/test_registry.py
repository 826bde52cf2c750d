"""Getting components, watching, source digests."""

from __future__ import annotations

import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from mibench.api.errors import PluginError, UsageError
from mibench.api.hookspecs import hookimpl
from mibench.api.specs import AttackSpec, DefenseSpec
from mibench.api.target import Access
from mibench.registry.discovery import discover
from mibench.registry.registry import Registry, load_registry

HEAD = "from mibench.api import DefenseSpec, hookimpl\n@hookimpl\ndef mibench_defenses():\n"
NODE = {"id": "target-1", "stage": "target", "key": "k", "label": "none"}


class Offer:
    """A plugin as an object."""

    def __init__(self, *factories: str) -> None:
        self.factories = factories

    @hookimpl
    def mibench_defenses(self):
        for index, factory in enumerate(self.factories):
            yield DefenseSpec(name=f"d{index}", factory=factory, summary="s")


class Watcher:
    def __init__(self, error: BaseException | None = None) -> None:
        self.seen: list[tuple[str, float]] = []
        self.error = error

    @hookimpl
    def mibench_stage_finished(self, node, seconds):
        if self.error:
            raise self.error
        self.seen.append((node["id"], seconds))


def test_first_party_plugins_are_found():
    registry = load_registry()
    assert registry is load_registry()
    assert not registry.failures, [str(f) for f in registry.failures]
    assert registry.get("defense", "atat").distribution == "mibench-atat"
    assert Path(registry.get("defense", "atat").file).name == "__init__.py"


def test_unknown_names_and_kinds_get_a_suggestion():
    registry = Registry.from_modules(Offer("collections:OrderedDict"))
    with pytest.raises(UsageError, match=r"Unknown defense 'd1'\. Did you mean 'd0'\? Available: d0"):
        registry.get("defense", "d1")
    with pytest.raises(UsageError, match=r"Unknown kind of component 'defence'\. Did you mean 'defense'"):
        registry.entries("defence")
    assert registry.entries("defenses") == registry.entries("defense")


def test_component_imports_the_class():
    import collections

    assert Registry.from_modules(Offer("collections:OrderedDict")).component("defense", "d0") is collections.OrderedDict


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("no_such_module_at_all:C", "It needs the package 'no_such_module_at_all': try `pip install"),
        ("collections:Nope", "AttributeError"),
        ("collections:namedtuple", "is a function, not a class"),
    ],
)
def test_a_factory_that_does_not_load_is_a_plugin_error(factory, reason):
    registry = Registry.from_modules(Offer(factory))
    with pytest.raises(PluginError) as caught:
        registry.component("defense", "d0")
    assert reason in str(caught.value)
    assert "defense 'd0' of Offer 0" in str(caught.value)
    assert "pip install --force-reinstall Offer" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: AttackSpec(name="a", factory="m:C", summary="s", access="black-box"),
            "'white-box', 'scores', 'labels'",
        ),
        (
            lambda: DefenseSpec(name="d", factory="m:C", summary="s", threat_model="grey"),
            "threat_model of 'd' is 'grey'",
        ),
    ],
)
def test_a_spec_with_an_unknown_word_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_the_access_of_spec_and_class_must_agree():
    class Offered:
        @hookimpl
        def mibench_attacks(self):
            yield AttackSpec(name="sly", factory=f"{__name__}:Sly", summary="s", access="labels")

    with pytest.raises(PluginError, match="states access 'labels', its class has 'white-box'"):
        Registry.from_modules(Offered()).component("attack", "sly")


class Sly:
    """An attack that uses more than its spec states."""

    access = Access.WHITE_BOX


@pytest.mark.parametrize("body", ["import sys; sys.exit(1)", "def broken(:", "1 / 0"])
def test_a_factory_module_that_breaks_names_file_and_line(body, install):
    source = HEAD + "    yield DefenseSpec(name='late', factory='{module}_heavy:C', summary='s')\n"
    module = install("late-dist", source, heavy=body)
    registry = Registry(discover())
    assert registry.get("defense", "late")
    with pytest.raises(PluginError, match=rf"late-dist 1\.0 cannot be loaded: .*{module}_heavy\.py:1"):
        registry.component("defense", "late")


def test_listing_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from mibench.registry import load_registry; r = load_registry(); "
        "assert r.entries('defense') and not r.failures; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_watchers_are_called_with_the_arguments_they_name_and_can_leave():
    registry, watcher = Registry.from_modules(), Watcher()
    registry.watch(watcher)
    registry.notify("mibench_stage_started", node=NODE)
    registry.notify("mibench_stage_finished", node=NODE, seconds=1.5)
    registry.unwatch(watcher)
    registry.unwatch(watcher)
    registry.notify("mibench_stage_finished", node=NODE, seconds=2.5)
    assert watcher.seen == [("target-1", 1.5)]


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3)])
def test_a_failing_watcher_is_dropped_recorded_and_disturbs_nobody(error):
    bad, fine = Watcher(error), Watcher()
    registry = Registry.from_modules(bad)
    registry.watch(fine)
    registry.notify("mibench_stage_finished", node=NODE, seconds=1)
    bad.error = None
    registry.notify("mibench_stage_finished", node=NODE, seconds=2)
    assert fine.seen == [("target-1", 1), ("target-1", 2)]
    assert bad.seen == []
    (failure,) = registry.failures
    assert (failure.phase, failure.distribution) == ("watch", "Watcher")
    with pytest.raises(UsageError):  # a dropped watcher is no reason to suspect a missing component
        registry.get("defense", "x")


def test_a_watcher_that_interrupts_is_dropped_and_named():
    registry = Registry.from_modules(Watcher(KeyboardInterrupt()))
    registry.notify("mibench_stage_finished", node=NODE, seconds=1)
    (failure,) = registry.failures
    assert failure.reason == "mibench_stage_finished raised KeyboardInterrupt; it no longer watches this run"


def test_ctrl_c_in_a_watcher_is_not_swallowed():
    class Slow:
        @hookimpl
        def mibench_stage_finished(self, node, seconds):
            signal.raise_signal(signal.SIGINT)

    registry = Registry.from_modules(Slow())
    with pytest.raises(KeyboardInterrupt):
        registry.notify("mibench_stage_finished", node=NODE, seconds=1)
    assert registry.failures == []


def test_wrong_watchers_and_hooks_are_refused():
    class Wrong:
        @hookimpl
        def mibench_stage_finish(self, node): ...

    with pytest.raises(PluginError, match="Did you mean 'mibench_stage_finished'"):
        Registry.from_modules().watch(Wrong())
    with pytest.raises(ValueError, match="not a life-cycle hook"):
        Registry.from_modules().notify("mibench_defenses")


def test_modules_can_stand_in_for_plugins():
    module = types.ModuleType("my_plugin.inner")
    exec(
        "from mibench.api import *\n" + HEAD + "    yield DefenseSpec(name='m', factory='a:B', summary='s')",
        vars(module),
    )
    entry = Registry.from_modules(module).get("defense", "m")
    assert (entry.distribution, entry.module) == ("my_plugin", "my_plugin.inner")


def test_artifact_folders_come_from_the_hook():
    class Ships:
        @hookimpl
        def mibench_artifacts(self):
            return ["mibench:api", "mibench:no-such-folder"]

    registry = Registry.from_modules(Ships())
    assert [folder.name for folder in registry.artifact_folders()] == ["api"]
    assert "no-such-folder" in registry.failures[0].reason


class TestSourceDigest:
    def digest(self, install, name: str, content: str) -> str:
        source = HEAD + "    yield DefenseSpec(name='{module}', factory='{module}:C', summary='s')\n"
        module = install(name, source.replace("name='{module}'", f"name='{name}'") + content)
        registry = Registry(discover())
        entry = registry.get("defense", name)
        assert entry.module == module
        return registry.source_digest(entry)

    def test_it_is_a_stable_sha256(self):
        registry = load_registry()
        entry = registry.get("defense", "atat")
        assert registry.source_digest(entry) == registry.source_digest(entry)
        assert len(registry.source_digest(entry)) == 64

    def test_it_covers_single_file_modules(self, install):
        assert self.digest(install, "one", "# a\n") != self.digest(install, "two", "# b\n")

    def test_it_follows_every_source_of_a_package_and_nothing_else(self, site):
        from mibench.registry.packages import _digest

        package = site / "digested"
        (package / "inner").mkdir(parents=True)
        (package / "__init__.py").write_text("a = 1\n")
        (package / "inner" / "x.py").write_text("b = 1\n")
        first = _digest.__wrapped__(("digested",))
        (package / "data.json").write_text("{}")
        assert _digest.__wrapped__(("digested",)) == first
        (package / "inner" / "x.py").write_text("b = 2\n")
        changed = _digest.__wrapped__(("digested",))
        (package / "inner" / "x.py").rename(package / "inner" / "y.py")
        assert len({first, changed, _digest.__wrapped__(("digested",))}) == 3
