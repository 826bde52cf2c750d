"""A way to call the command line, and an execution that only pretends."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import pytest
from node_factory import make_node
from record_factory import make_record

import mibench.cli
import mibench.session as mibench_session
from mibench.cli.main import main
from mibench.plan.plan import PlannedNode
from mibench.protocol.request import Request
from mibench.results.record import Failure, Record

for command in pkgutil.iter_modules(mibench.cli.__path__, "mibench.cli."):
    # A module that a test is the first to import would keep for ever what that test has put in the place of others.
    importlib.import_module(command.name)


class Output(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Output]


@pytest.fixture()
def mibench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return ``mibench(*arguments)``, which runs the command line in this process."""
    monkeypatch.delenv("MIBENCH_DEBUG", raising=False)

    def _call(*arguments: str) -> Output:
        code = main(list(arguments))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Output(code, captured.out, captured.err)

    return _call


def planned(stage: str, label: str, *, reused: bool, seconds: float | None) -> PlannedNode:
    return PlannedNode(make_node(stage, label), reused, "in the store" if reused else "not there", seconds)


@dataclass
class Pretence:
    """What the command line asked for, and what it is told."""

    requests: list[Request] = field(default_factory=list)
    records: list[Record] = field(default_factory=lambda: [make_record(defense="none"), make_record(defense="atat")])
    failures: list[tuple[str, str]] = field(default_factory=list)
    error: BaseException | None = None
    refusal: str = ""
    plan: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(
            protocol_ids=["tiny@1.0 (3f2a9c)"],
            machines=["two CPU cores"],
            resources={},
            missing=[],
            unlisted_seeds=[],
            cells=[object(), object()],
            nodes=[
                planned("prior", "pca on public identities", reused=True, seconds=0.0),
                planned("target", "atat · smallcnn · seed 0", reused=False, seconds=100.0),
                planned("measure", "reid", reused=False, seconds=20.0),
            ],
        )
    )

    def fail(self, defense: str) -> None:
        """Let the cells of a defense fail."""
        reason = Failure(stage="target", error="loss is NaN")
        self.records = [
            r.model_copy(update={"status": "failed", "failure": reason, "metrics": {}})
            if r.cell.defense == defense
            else r
            for r in self.records
        ]
        self.failures.append((f"{defense} · smallcnn · seed 0", "loss is NaN"))

    def plan_request(self, request: Request, registry: object, *, lenient: bool = False) -> SimpleNamespace:
        self.requests.append(request)
        return self.plan

    def run(self, request: Request, registry, plan=None) -> SimpleNamespace:
        if self.error:
            raise self.error
        node = self.plan.nodes[1].node.summary()
        registry.notify("mibench_stage_started", node=node)
        signals = {"targeted_success": 0.99}
        registry.notify("mibench_stage_progress", node=node, done=50, total=50, unit="epochs", signals=signals)
        registry.notify("mibench_stage_finished", node=node, seconds=48.2)
        for label, error in self.failures:
            registry.notify("mibench_stage_failed", node={**node, "id": "other", "label": label}, error=error)
        return SimpleNamespace(
            records=self.records,
            failures=self.failures,
            planned=self.plan,
            report=Path("out/report.html"),
            record_paths=[Path(f"out/records/{record.cell.defense}.json") for record in self.records],
            refusals=["MB101 failed" if record.status == "failed" else self.refusal for record in self.records],
            published=[Path("leaderboards/tiny/1.0/entries/one.json")] if request.publish else [],
            exit_code=1 if self.failures else 0,
        )


@pytest.fixture()
def pretence(monkeypatch: pytest.MonkeyPatch) -> Pretence:
    """Replace planning and execution."""
    made = Pretence()
    module = ModuleType("mibench.session.run")
    module.plan_request, module.run = made.plan_request, made.run
    monkeypatch.setitem(sys.modules, "mibench.session.run", module)
    monkeypatch.setattr(mibench_session, "run", module, raising=False)
    return made
