"""The executor contract: run nodes whose inputs come first, report each, and never let one failure stop the others."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mibench.api.errors import UsageError
from mibench.nodes.node import Node
from mibench.registry.registry import Registry
from mibench.store.store import Store

DEFAULT_THREADS = 2


def cpu_threads() -> int:
    """Return torch's CPU threads: ``$MIBENCH_THREADS``, else 2.

    One number for every executor, because sums over threads round differently: inline and worker processes must agree.

    Raises:
        UsageError: if the variable is no number of threads.
    """
    asked = os.environ.get("MIBENCH_THREADS") or str(DEFAULT_THREADS)
    if not asked.isdecimal() or int(asked) < 1:
        raise UsageError(f"MIBENCH_THREADS={asked!r}: expected a whole number of threads, at least 1")
    return int(asked)


@dataclass
class ExecutorContext:
    """What an executor needs beside the nodes.

    Attributes:
        store: where artifacts go.
        registry: where components and life-cycle hooks are.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        workers: worker processes, for executors that have them.
    """

    store: Store
    registry: Registry
    device: str = "auto"
    workers: int = 2


@dataclass
class NodeOutcomes:
    """What became of the nodes, by key.

    Attributes:
        seconds: of the nodes that were made.
        failed: error message of the nodes that failed.
        skipped: key of the failed node that each skipped node needed, directly or not.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def failed_dependency(self, node: Node) -> str | None:
        """Return the key of an input that failed or was skipped, because of which a node cannot run; else ``None``."""
        for key in node.needs.values():
            if key in self.failed or key in self.skipped:
                return key
        return None


class Executor(ABC):
    """A way to run nodes."""

    @abstractmethod
    def run(self, nodes: Sequence[Node], ctx: ExecutorContext) -> NodeOutcomes:
        """Run nodes, inputs before what needs them; nodes whose input failed are skipped.

        Args:
            nodes: what is not in the store yet, in an order in which inputs come first.
            ctx: store, registry and resources.
        """


def skip(node: Node, failed: str, labels: Mapping[str, str], outcome: NodeOutcomes, registry: Registry) -> None:
    """Note that a node cannot run because of a failed input.

    Args:
        node: the node.
        failed: what :meth:`NodeOutcomes.failed_dependency` returned for it.
        labels: labels of nodes by key.
        outcome: where it is noted.
        registry: whose life-cycle hooks are told.
    """
    root = failed if failed in outcome.failed else outcome.skipped[failed]
    outcome.skipped[node.key] = root
    registry.notify("mibench_stage_failed", node=node.summary(), error=f"skipped: {labels.get(root, root)} failed")


def __getattr__(name: str) -> Any:
    """Find what executors of others imported under its old name."""
    renamed = {"Session": ExecutorContext, "Outcome": NodeOutcomes}
    if name not in renamed:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is called {renamed[name].__name__} now", DeprecationWarning, stacklevel=2)
    return renamed[name]
