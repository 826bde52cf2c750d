"""Which source code made an artifact or its checkpoints: digests of the distributions of a stage's components."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from mibench.base.canonical import digest
from mibench.base.version import __version__
from mibench.nodes.inputs import Inputs
from mibench.registry.packages import digest_of_sources
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry


def sources_of(registry: Registry, inputs: Inputs) -> dict[str, str]:
    """Return the source digest of each component of a stage, by its field."""
    return {
        field: joint_digest(registry, [registry.get(kind, name) for name in entry.names])
        for field, (kind, entry) in inputs.components().items()
    }


def joint_digest(registry: Registry, entries: Sequence[Registered]) -> str:
    """Return the source digest of a component, or one for several that are used together."""
    digests = [registry.source_digest(entry) for entry in entries]
    return digests[0] if len(digests) == 1 else digest(digests)


def made_by(registry: Registry, inputs: Inputs) -> dict[str, str]:
    """Return what a stage's checkpoints depend on beside its key: the code of its components, of the core, of torch."""
    sources = {f"source code of the {role}": digest for role, digest in sources_of(registry, inputs).items()}
    core = {
        "source code of mibench": f"{__version__} {digest_of_sources(['mibench'])}",
        "torch": metadata.version("torch"),
    }
    return sources | core
