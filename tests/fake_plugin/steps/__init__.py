"""Four versions of one protocol: a cosmetic change, a regradable one, and one that has everything run again."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import ProtocolSpec, hookimpl

VERSIONS = ("1.0", "1.1", "1.2", "2.0")


def registry():
    """Return a registry of these protocols, and of the components that they name."""
    import fake_plugin
    import fake_plugin.steps
    import mibench.execute.plugin
    from mibench.registry.registry import Registry

    return Registry.from_modules(fake_plugin, fake_plugin.steps, mibench.execute.plugin)


@hookimpl
def mibench_protocols() -> Iterable[ProtocolSpec]:
    for version in VERSIONS:
        yield ProtocolSpec(
            name="steps",
            factory="fake_plugin.parts:HERE",
            summary="for tests",
            version=version,
            file=f"fake_plugin:steps/{version}.yaml",
            superseded=version != VERSIONS[-1],
        )
