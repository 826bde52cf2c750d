"""The executor contract: run nodes whose inputs come first, report each, and never let one failure stop the others."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
class Session:
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
class Outcome:
    """What became of the nodes, by key.

    Attributes:
        seconds: of the nodes that were made.
        failed: error message of the nodes that failed.
        skipped: key of the failed node that each skipped node needed, directly or not.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def lost(self, node: Node) -> str | None:
        """Return why a node cannot run: the key of a failed or skipped input, if there is one."""
        for key in node.needs.values():
            if key in self.failed or key in self.skipped:
                return key
        return None


class Executor(ABC):
    """A way to run nodes."""

    @abstractmethod
    def run(self, nodes: Sequence[Node], session: Session) -> Outcome:
        """Run nodes, inputs before what needs them; nodes whose input failed are skipped.

        Args:
            nodes: what is not in the store yet, in an order in which inputs come first.
            session: store, registry and resources.
        """


def skip(node: Node, lost: str, labels: Mapping[str, str], outcome: Outcome, registry: Registry) -> None:
    """Note that a node cannot run because of a failed input."""
    root = lost if lost in outcome.failed else outcome.skipped[lost]
    outcome.skipped[node.key] = root
    registry.notify("mibench_stage_failed", node=node.summary(), error=f"skipped: {labels.get(root, root)} failed")
