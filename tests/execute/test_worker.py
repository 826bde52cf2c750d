"""The worker of executor ``local``, spoken to over its pipes: one line in, lines out, whatever is printed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_plugin
import pytest
from node_factory import make_node

from mibench.execute.local import START, _places
from mibench.nodes.node import Node
from mibench.store.store import Store


@pytest.fixture()
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": fake_plugin.install(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-P", "-c", START, _places(), str(tmp_path / "store"), "cpu"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        env=environment,
    ) as process:
        yield process
        process.kill()


def hear(worker: subprocess.Popen[str]) -> dict[str, Any]:
    assert worker.stdout is not None
    told: dict[str, Any] = json.loads(worker.stdout.readline())
    return told


def order(worker: subprocess.Popen[str], node: Node) -> dict[str, Any]:
    """Order a node and return the last that is told of it."""
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(node.to_json()) + "\n")
    worker.stdin.flush()
    while (told := hear(worker))["event"] == "progress":
        pass
    return told


def test_a_worker_makes_what_it_is_told_and_says_what_became_of_it(
    worker: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert hear(worker) == {"event": "ready"}
    data = make_node("data")
    assert order(worker, data) == {"event": "finished"}
    assert Store(tmp_path / "store").find("data", data.key) is not None
    failed = order(worker, make_node("gold"))  # its data are not in the store
    assert failed["event"] == "failed"
    assert order(worker, data) == {"event": "finished"}  # it goes on
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(timeout=300) == 0


def test_a_worker_that_is_told_to_end_says_by_which_signal(worker: subprocess.Popen[str]) -> None:
    assert hear(worker) == {"event": "ready"}
    worker.terminate()
    assert worker.wait(timeout=300) == 128 + signal.SIGTERM
