"""Find, load and question all plugins. Whatever one of them does, the others are listed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mibench.api.specs import Kind
from mibench.registry.collect import collect
from mibench.registry.entry_points import EntryPointRef, announced
from mibench.registry.failures import DISABLE_VARIABLE, PluginFailure
from mibench.registry.plugin import Plugin, load, wrap
from mibench.registry.probe import judge
from mibench.registry.registered import Registered
from mibench.registry.remarks import Remark, lost_factories, refusal, remarks


@dataclass
class DiscoveryResult:
    """The outcome of discovery.

    Attributes:
        plugins: loaded plugins, by distribution and entry point.
        components: usable components by kind and name.
        conflicts: names that more than one plugin provides, which nobody gets.
        folders: folders with ready-made artifacts.
        failures: everything that went wrong.
        remarks: what plugins do that makes every listing slower or louder.
    """

    plugins: list[Plugin] = field(default_factory=list)
    components: dict[tuple[Kind, str], Registered] = field(default_factory=dict)
    conflicts: dict[tuple[Kind, str], list[Registered]] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


def discover() -> DiscoveryResult:
    """Load every installed plugin that leaves a process alive. Only a real interruption escapes."""
    sources, failures = announced()
    verdicts = judge(sources)
    loaded = [
        refusal(source, verdicts[source]) or load(source) if source in verdicts else load(source) for source in sources
    ]
    found = question(loaded, failures)
    for source, verdict in verdicts.items():
        found.failures += lost_factories(source, verdict)
        found.remarks += remarks(source, verdict)
    return found


def wrap_modules(modules: Iterable[object]) -> list[Plugin | PluginFailure]:
    """Treat modules, or objects with hooks, as plugins of a distribution each; for tests."""
    made = []
    for module in modules:
        name = str(getattr(module, "__name__", "") or type(module).__name__)
        version = str(getattr(module, "__version__", "0"))
        made.append(wrap(EntryPointRef(name.partition(".")[0], version, name, name), module))
    return made


def question(loaded: Iterable[Plugin | PluginFailure], failures: Iterable[PluginFailure] = ()) -> DiscoveryResult:
    """Ask plugins what they provide, and settle who owns which name."""
    found = DiscoveryResult(failures=list(failures))
    claims: dict[tuple[Kind, str], list[tuple[Plugin, Registered]]] = {}
    for plugin in loaded:
        if isinstance(plugin, PluginFailure):
            found.failures.append(plugin)
            continue
        found.plugins.append(plugin)
        answer = collect(plugin)
        found.folders += answer.folders
        found.failures += answer.failures
        for registered in answer.registered:
            claims.setdefault((registered.kind, registered.name), []).append((plugin, registered))
    for key, owners in sorted(claims.items()):
        if len(owners) == 1:
            found.components[key] = owners[0][1]
        else:
            found.conflicts[key] = [registered for _, registered in owners]
            found.failures += _conflict(key, owners)
    return found


def describe_conflict(key: tuple[Kind, str], owners: Iterable[Registered]) -> str:
    """Say who provides a name more than once, and what to do."""
    kind, name = key
    listed = sorted({f"{owner.distribution} {owner.distribution_version}" for owner in owners})
    if len(listed) == 1:
        return f"{kind} {name!r} is provided more than once by {listed[0]}, so it cannot be used."
    both = " and ".join(listed)
    return (
        f"{kind} {name!r} is provided by {both}, so neither can be used. Uninstall one of them, "
        f"or leave it out with {DISABLE_VARIABLE}=<distribution>."
    )


def _conflict(key: tuple[Kind, str], owners: list[tuple[Plugin, Registered]]) -> list[PluginFailure]:
    reason = describe_conflict(key, [registered for _, registered in owners])
    by_source = {plugin.source: plugin for plugin, _ in owners}
    return [plugin.failure("name", reason, kind=key[0], names=(key[1],)) for plugin in by_source.values()]
