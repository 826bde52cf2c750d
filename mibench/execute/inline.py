"""Executor ``inline``: one node after the other in this process. The one to debug with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from mibench.execute.contract import Executor, ExecutorContext, NodeOutcomes, cpu_threads, skip
from mibench.execute.explain import explain
from mibench.execute.interrupts import Ended, watched_signals
from mibench.execute.signals import Stopped
from mibench.nodes.node import Node
from mibench.stages.run import pick_device, run_node


@dataclass(frozen=True, kw_only=True)
class Inline(Executor):
    """Runs everything here, in order."""

    def run(self, nodes: Sequence[Node], ctx: ExecutorContext) -> NodeOutcomes:
        """Run the nodes one by one."""
        torch.set_num_threads(cpu_threads())
        device = pick_device(ctx.device)
        labels = {node.key: node.label for node in nodes}
        outcome = NodeOutcomes()
        with watched_signals() as ended:
            for node in nodes:
                failed = outcome.failed_dependency(node)
                if failed is not None:
                    skip(node, failed, labels, outcome, ctx.registry)
                    continue
                self._one(node, device, ctx, outcome, ended)
                if (end := ended()) is not None:  # by a person, whatever a component made of it
                    raise end
        return outcome

    def _one(self, node: Node, device: torch.device, ctx: ExecutorContext, outcome: NodeOutcomes, ended: Ended) -> None:
        registry, summary = ctx.registry, node.summary()

        def progress(done: int, total: int, unit: str, signals: Mapping[str, float]) -> None:
            registry.notify(
                "mibench_stage_progress", node=summary, done=done, total=total, unit=unit, signals=dict(signals)
            )

        registry.notify("mibench_stage_started", node=summary)
        began = time.monotonic()
        try:
            run_node(node, ctx.store, registry, device, progress)
        except Stopped:
            raise
        except BaseException as error:  # the isolation point between stages: one failed cell must not stop the others
            if (end := ended()) is not None:
                raise end from None
            outcome.failed[node.key] = explain(error, node)
            registry.notify("mibench_stage_failed", node=summary, error=outcome.failed[node.key])
            return
        outcome.seconds[node.key] = time.monotonic() - began
        registry.notify("mibench_stage_finished", node=summary, seconds=outcome.seconds[node.key])
