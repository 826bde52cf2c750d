"""The executors of the core, provided through the same hook as anybody's."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import ExecutorSpec, hookimpl


@hookimpl
def mibench_executors() -> Iterable[ExecutorSpec]:
    """Return ``inline`` and ``local``."""
    yield ExecutorSpec(
        name="inline", factory="mibench.execute.inline:Inline", summary="one stage after the other in this process"
    )
    yield ExecutorSpec(
        name="local", factory="mibench.execute.local:Local", summary="worker processes, each with a leased device"
    )
