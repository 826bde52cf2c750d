"""What follows from a verdict on a plugin: whether it is refused, what it has lost, what people should know."""

from __future__ import annotations

from dataclasses import dataclass

from mibench.registry.entry_points import EntryPointRef
from mibench.registry.failures import Phase, PluginFailure
from mibench.registry.kinds import as_kind
from mibench.registry.verdicts import SLOW_S, Verdict, own_files


@dataclass(frozen=True)
class Remark:
    """Something that a plugin does and should not, though it works.

    Attributes:
        distribution: the distribution that brings the plugin.
        version: its version.
        entry_point: name of the entry point, as ``name = value``.
        text: what it does and what its author can do about it.
    """

    distribution: str
    version: str
    entry_point: str
    text: str


def refusal(source: EntryPointRef, verdict: Verdict) -> PluginFailure | None:
    """Return why a plugin is not loaded; ``None`` if it may be."""
    if not verdict.trouble:
        return None
    reason = f"was tried in a process of its own, and {verdict.trouble}; `mibench doctor` tries it again"
    phase: Phase = "import" if "import" in verdict.phase else "collect"
    file = next(iter(own_files(source)), "")
    return PluginFailure(source.distribution, source.version, source.label, file, phase, reason)


def lost_factories(source: EntryPointRef, verdict: Verdict) -> list[PluginFailure]:
    """Return a failure for every component whose class does not exist."""
    lost = []
    for kind, name, problem in verdict.missing:
        file = next(iter(own_files(source)), "")
        reason = f"{kind} {name!r} cannot be used: {problem}"
        failure = PluginFailure(
            source.distribution, source.version, source.label, file, "factory", reason, as_kind(kind), (name,)
        )
        lost.append(failure)
    return lost


def remarks(source: EntryPointRef, verdict: Verdict) -> list[Remark]:
    """Return what people should know about a plugin that works."""
    texts = []
    if verdict.trouble:
        return []
    if verdict.heavy:
        texts.append(f"imports {', '.join(verdict.heavy)} to be listed; import it where it is used")
    if verdict.seconds > SLOW_S:
        texts.append(f"takes {verdict.seconds:.1f} s to be listed, which every command waits for")
    if verdict.writes:
        texts.append("writes to the terminal when it is listed")
    return [Remark(source.distribution, source.version, source.label, text) for text in texts]
