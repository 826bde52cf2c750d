"""One loaded plugin: its module, and its hooks behind a manager of its own, so that none can disturb another."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from mibench.api.errors import suggestion
from mibench.api.hookspecs import PROJECT, CollectHooks, LifecycleHooks
from mibench.registry.entry_points import GROUP, EntryPointRef
from mibench.registry.failures import Phase, PluginFailure, describe_error, place_of
from mibench.registry.interrupts import is_interruption

COLLECT = tuple(sorted(name for name in vars(CollectHooks) if name.startswith(PROJECT)))
LIFECYCLE = tuple(sorted(name for name in vars(LifecycleHooks) if name.startswith(PROJECT)))
_MARK = f"{PROJECT}_impl"


@dataclass(frozen=True)
class Plugin:
    """A plugin that could be imported and whose hooks are sound.

    Attributes:
        source: the entry point that announced it.
        module: name of its module.
        file: file of that module; empty if it has none.
        manager: a pluggy manager that holds this plugin alone.
    """

    source: EntryPointRef
    module: str
    file: str
    manager: pluggy.PluginManager

    def implements(self, hook: str) -> bool:
        """Tell whether the plugin has this hook."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Call one hook of this plugin and return the values that are not ``None``."""
        values: list[Any] = getattr(self.manager.hook, hook)(**arguments)
        return values

    def failure(self, phase: Phase, reason: str, *, file: str = "", **lost: Any) -> PluginFailure:
        """Describe something that this plugin did wrong."""
        source = self.source
        return PluginFailure(
            source.distribution, source.version, source.label, file or self.file, phase, reason, **lost
        )


def load(source: EntryPointRef) -> Plugin | PluginFailure:
    """Import the module of an entry point and check its hooks; whatever it raises becomes a failure."""
    try:
        # What a plugin prints on import must not end up in a listing that a program reads.
        with redirect_stdout(sys.stderr):
            subject = EntryPoint(source.name, source.value, GROUP).load()
    except BaseException as error:
        if is_interruption(error):
            raise
        reason = f"failed to import: {describe_error(error)}"
        return _failed(source, "import", reason, place_of(error))
    return wrap(source, subject)


def wrap(source: EntryPointRef, subject: object) -> Plugin | PluginFailure:
    """Make a plugin of a module or object that has hooks.

    Args:
        source: how to name it.
        subject: its functions or methods marked with ``hookimpl`` are the hooks.
    """
    module = getattr(subject, "__name__", "") or type(subject).__module__
    file = str(getattr(sys.modules.get(module, subject), "__file__", None) or "")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(CollectHooks)
    manager.add_hookspecs(LifecycleHooks)
    try:
        problem = _unknown_hook(subject)
        if not problem:
            manager.register(subject)
    except BaseException as error:
        if is_interruption(error):
            raise
        problem = describe_error(error)
    return _failed(source, "hooks", problem, file) if problem else Plugin(source, module, file, manager)


def _failed(source: EntryPointRef, phase: Phase, reason: str, file: str) -> PluginFailure:
    return PluginFailure(source.distribution, source.version, source.label, file, phase, reason)


def _unknown_hook(subject: object) -> str:
    """Return what is wrong with the names of a plugin's hooks; pluggy itself ignores unknown ones silently."""
    known = {*COLLECT, *LIFECYCLE}
    for name in dir(subject):
        value = getattr(subject, name, None)
        options = getattr(value, _MARK, None) if callable(value) else None
        if isinstance(options, dict):
            hook = options.get("specname") or name
            if hook not in known:
                return f"implements an unknown hook {hook!r}.{suggestion(hook, known)}"
        elif name in known and callable(value):
            return f"defines {name!r} without the decorator @mibench.api.hookimpl, so it would never be called"
    return ""
