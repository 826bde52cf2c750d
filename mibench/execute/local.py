"""Executor ``local``: worker processes on this machine, each with a leased device, each replaced if it dies."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import mibench
from mibench.execute.contract import Executor, ExecutorContext, NodeOutcomes, skip
from mibench.execute.leases import device_slots
from mibench.nodes.node import Node
from mibench.store.store import Store

Inbox = queue.Queue[tuple["_Worker", dict[str, Any] | None]]
"""Events of all workers; ``None`` when a worker's process has ended."""
PATIENCE_S = 5.0
START = (
    "import json, sys; sys.path[:] = dict.fromkeys([*json.loads(sys.argv.pop(1)), *sys.path]); "
    "from mibench.execute.worker import main; sys.exit(main())"
)
"""What a worker's Python runs: with ``-P``, so that no name in the working folder stands in for the standard library's,
and with the places that this process imports from, so that both run the same code."""


class _Worker:
    """One worker process and the node it is busy with."""

    def __init__(self, store: Store, device: str, inbox: Inbox) -> None:
        self.device = device
        self.node: Node | None = None
        self.began = 0.0
        self.ready = False
        self.process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-c", START, _places(), str(store.root), device, *map(str, store.layers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._listener = threading.Thread(target=self._listen, args=(inbox,), daemon=True)
        self._listener.start()

    def _listen(self, inbox: Inbox) -> None:
        if self.process.stdout is not None:
            with self.process.stdout as lines, contextlib.suppress(ValueError):  # half a line: it died while it wrote
                for line in lines:
                    inbox.put((self, json.loads(line)))
        inbox.put((self, None))

    def submit(self, node: Node) -> None:
        """Hand over a node."""
        self.node, self.began = node, time.monotonic()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it died; its end is already on the way to the inbox
                self.process.stdin.write(json.dumps(node.to_json()) + "\n")
                self.process.stdin.flush()

    def release(self) -> None:
        """Ask the process to end, if need be in the middle of its work; does not wait."""
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        if self.node is not None or not self.ready:
            self.process.terminate()

    def wait(self) -> None:
        """Wait for the end of a process that was released; what does not end in time is killed."""
        try:
            self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._listener.join()


def _places() -> str:
    """Return where this process imports from; the working folder only if this package lies in it."""
    places, own = [place for place in sys.path if place], str(Path(mibench.__file__).parents[1])
    return json.dumps(places if own in places else [own, *places])


@dataclass(frozen=True, kw_only=True)
class Local(Executor):
    """Runs independent nodes at the same time in worker processes."""

    def run(self, nodes: Sequence[Node], ctx: ExecutorContext) -> NodeOutcomes:
        """Run the nodes on as many workers as there are slots and independent nodes."""
        if not nodes:
            return NodeOutcomes()
        slots = device_slots(ctx.device, min(ctx.workers, len(nodes)), torch.cuda.device_count())
        return _Run(nodes, ctx, slots).loop()


class _Run:
    """The scheduling of one call."""

    def __init__(self, nodes: Sequence[Node], ctx: ExecutorContext, slots: list[str]) -> None:
        self.waiting = list(nodes)
        self.pending = {node.key for node in nodes}
        self.labels = {node.key: node.label for node in nodes}
        self.ctx, self.outcome = ctx, NodeOutcomes()
        self.inbox: Inbox = queue.Queue()
        self.workers = [self._start(device) for device in slots]

    def loop(self) -> NodeOutcomes:
        try:
            while self.pending:
                self._hand_out()
                if not self.pending:
                    break
                self._on_message(*self.inbox.get())
        finally:
            for worker in self.workers:
                worker.release()
            for worker in self.workers:
                worker.wait()
        return self.outcome

    def _start(self, device: str) -> _Worker:
        return _Worker(self.ctx.store, device, self.inbox)

    def _hand_out(self) -> None:
        for node in list(self.waiting):
            failed = self.outcome.failed_dependency(node)
            if failed is not None:
                self.waiting.remove(node)
                self.pending.discard(node.key)
                skip(node, failed, self.labels, self.outcome, self.ctx.registry)
        idle = [worker for worker in self.workers if worker.ready and worker.node is None]
        for worker in idle:
            ready = next((n for n in self.waiting if not self.pending & set(n.needs.values())), None)
            if ready is None:
                return
            self.waiting.remove(ready)
            self.ctx.registry.notify("mibench_stage_started", node=ready.summary())
            worker.submit(ready)

    def _on_message(self, worker: _Worker, message: dict[str, Any] | None) -> None:
        if message is None:
            self._replace(worker)
            return
        event = message.pop("event")
        if event == "ready":
            worker.ready = True
        elif event == "progress" and worker.node is not None:
            self.ctx.registry.notify("mibench_stage_progress", node=worker.node.summary(), **message)
        else:
            self._finish(worker, message.get("error"))

    def _finish(self, worker: _Worker, error: str | None) -> None:
        node, worker.node = worker.node, None
        if node is None:
            return
        self.pending.discard(node.key)
        seconds = time.monotonic() - worker.began
        if error is None:
            self.outcome.seconds[node.key] = seconds
            self.ctx.registry.notify("mibench_stage_finished", node=node.summary(), seconds=seconds)
        else:
            self.outcome.failed[node.key] = error
            self.ctx.registry.notify("mibench_stage_failed", node=node.summary(), error=error)

    def _replace(self, worker: _Worker) -> None:
        code = worker.process.wait()
        died = f"its worker process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
        if worker.node is None and not worker.ready:
            raise RuntimeError(f"a worker could not start: {died}; its messages are above")
        self._finish(worker, f"{died}; its checkpoints are kept, run the same command to continue")
        worker.release()
        self.workers[self.workers.index(worker)] = self._start(worker.device)
