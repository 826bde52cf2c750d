"""The registry: what is installed, by kind and name. Never imports torch."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

from mibench.api.errors import PluginError, unknown
from mibench.registry.discovery import DiscoveryResult, describe_conflict, discover, question, wrap_modules
from mibench.registry.entry_points import EntryPointRef
from mibench.registry.failures import PluginFailure, describe_error, pip_hint, place_of
from mibench.registry.interrupts import is_interruption
from mibench.registry.kinds import as_kind
from mibench.registry.packages import digest_of_sources, installed_distributions
from mibench.registry.plugin import LIFECYCLE, Plugin, wrap
from mibench.registry.registered import Registered


class Registry:
    """Components by kind and name, plugins that broke, and plugins that watch a run.

    Args:
        discovered: the outcome of discovery.

    Attributes:
        failures: everything that plugins did wrong so far, by distribution.
        files: digest to path of the files that parameters of components name, as far as plans have found them.
        remarks: what plugins do that makes every listing slower or louder, by distribution.
    """

    def __init__(self, discovered: DiscoveryResult) -> None:
        self.failures: list[PluginFailure] = sorted(
            discovered.failures, key=lambda failure: (failure.distribution, failure.entry_point)
        )
        self.files: dict[str, str] = {}
        self.remarks = sorted(discovered.remarks, key=lambda remark: (remark.distribution, remark.entry_point))
        self._components = discovered.components
        self._conflicts = discovered.conflicts
        self._folders = discovered.folders
        self._plugins = list(discovered.plugins)
        self._watchers = [plugin for plugin in discovered.plugins if any(map(plugin.implements, LIFECYCLE))]
        self._watched: dict[int, Plugin] = {}

    @classmethod
    def from_modules(cls, *modules: object) -> Registry:
        """Make a registry of modules (or objects with hooks) instead of what is installed; for tests."""
        return cls(question(wrap_modules(modules)))

    def plugins(self) -> list[EntryPointRef]:
        """Return the entry points that were loaded, by distribution."""
        return [plugin.source for plugin in self._plugins]

    def entries(self, kind: str) -> list[Registered]:
        """Return the usable components of a kind, by distribution and name."""
        wanted = as_kind(kind)
        found = [registered for (kind, _), registered in self._components.items() if kind == wanted]
        return sorted(found, key=lambda registered: (registered.distribution, registered.name))

    def conflicts(self) -> list[str]:
        """Return a sentence for each name that more than one plugin provides."""
        return [describe_conflict(key, owners) for key, owners in sorted(self._conflicts.items())]

    def get(self, kind: str, name: str) -> Registered:
        """Return a component's spec and provenance without importing it.

        Raises:
            UsageError: for an unknown name, with a suggestion.
            PluginError: for a name that two plugins claim, or that a plugin which failed to load may provide.
        """
        wanted = as_kind(kind)
        if (wanted, name) in self._components:
            return self._components[wanted, name]
        if (wanted, name) in self._conflicts:
            raise PluginError(describe_conflict((wanted, name), self._conflicts[wanted, name]))
        names = [registered.name for registered in self.entries(wanted)]
        error = unknown(wanted, name, names)
        suspects = [failure for failure in self.failures if failure.may_provide(wanted, name)]
        if not suspects:
            raise error
        told = "\n".join([str(error), "Plugins that failed to load and may provide it:", *(f"  {s}" for s in suspects)])
        # A name close to an existing one is a slip of the user, whatever else is broken.
        slip = difflib.get_close_matches(name, names, n=1, cutoff=0.75) and not any(s.names for s in suspects)
        raise type(error)(told) if slip else PluginError(told)

    def component(self, kind: str, name: str) -> type[Any]:
        """Import a component's class.

        Raises:
            UsageError: for an unknown name.
            PluginError: if the plugin cannot be imported or its factory is not a class.
        """
        registered = self.get(kind, name)
        module, _, attribute = registered.spec.factory.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except BaseException as error:
            if is_interruption(error):
                raise
            place = place_of(error, otherwise=registered.file)
            raise PluginError(_broken(registered, f"{describe_error(error)} ({place})", error)) from error
        if not isinstance(found, type):
            problem = f"its factory {registered.spec.factory!r} is a {type(found).__name__}, not a class"
            raise PluginError(_broken(registered, problem))
        stated, own = getattr(registered.spec, "access", None), getattr(found, "access", None)
        if stated and own and stated != own:
            raise PluginError(_broken(registered, f"its spec states access {stated!r}, its class has {str(own)!r}"))
        return found

    def artifact_folders(self) -> list[Path]:
        """Return the folders with ready-made artifacts that plugins ship."""
        return list(self._folders)

    def source_digest(self, registered: Registered) -> str:
        """Return the sha256 over the Python sources of the package that provides a component.

        It covers relative paths and bytes of every ``.py`` file of the plugin's top package (and of the factory's, if
        that is another), so it is the same for a wheel and for an editable installation.
        """
        return digest_of_sources([registered.module, registered.spec.factory.partition(":")[0]])

    def fingerprint(self) -> tuple[str, frozenset[str]]:
        """Return a digest of all that components can come from, and the top packages whose sources are in it.

        It covers Python, all installed distributions, and the sources of the core and of every plugin.
        """
        modules = {"mibench"}
        for registered in self._components.values():
            modules |= {registered.module, registered.spec.factory.partition(":")[0]}
        specs = sorted(repr(registered) for registered in self._components.values())
        state = "\n".join([sys.version, *installed_distributions(), *specs, digest_of_sources(modules)])
        return hashlib.sha256(state.encode()).hexdigest(), frozenset(name.partition(".")[0] for name in modules)

    def watch(self, watcher: object) -> None:
        """Let an object with life-cycle hooks (methods marked with ``hookimpl``) watch what happens from now on.

        Raises:
            PluginError: if its hooks are unknown or take unknown arguments.
        """
        name = type(watcher).__name__
        plugin = wrap(EntryPointRef("mibench", "", name, type(watcher).__module__), watcher)
        if isinstance(plugin, PluginFailure):
            raise PluginError(f"{name} cannot watch: {plugin.reason}")
        self._watched[id(watcher)] = plugin
        self._watchers.append(plugin)

    def unwatch(self, watcher: object) -> None:
        """Stop an object from watching; without effect if it does not watch."""
        plugin = self._watched.pop(id(watcher), None)
        self._watchers = [kept for kept in self._watchers if kept is not plugin]

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a life-cycle hook of every plugin and watcher.

        One that raises is dropped and recorded in ``failures``: watching never changes a run.

        Raises:
            ValueError: if ``hook`` is not a life-cycle hook.
        """
        if hook not in LIFECYCLE:
            raise ValueError(f"{hook!r} is not a life-cycle hook; expected one of {', '.join(LIFECYCLE)}")
        for plugin in self._watchers:
            try:
                plugin.call(hook, **arguments)
            except BaseException as error:
                if is_interruption(error):
                    raise
                self._watchers = [kept for kept in self._watchers if kept is not plugin]
                reason = f"{hook} raised {describe_error(error)}; it no longer watches this run"
                self.failures.append(plugin.failure("watch", reason, file=place_of(error)))


@cache
def load_registry() -> Registry:
    """Return the registry of what is installed, made once per process."""
    return Registry(discover())


def _broken(registered: Registered, problem: str, error: BaseException | None = None) -> str:
    missing = (getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ImportError) else ""
    own = missing in {"", registered.module.partition(".")[0]}
    hint = "" if own else f"It needs the package {missing!r}: try `pip install {missing}`. "
    return (
        f"{registered.kind} {registered.name!r} of {registered.distribution} {registered.distribution_version} "
        f"cannot be loaded: {problem}. {hint}{pip_hint(registered.distribution)}"
    )


__all__ = ["Registered", "Registry", "load_registry"]
