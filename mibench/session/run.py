"""Run a request: plan it, execute what is missing, write records and the report. The command line calls this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mibench.api import params
from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK, PluginError, UsageError
from mibench.execute.before_torch import prepare_torch
from mibench.execute.contract import Executor, ExecutorContext, NodeOutcomes
from mibench.execute.explain import explain
from mibench.execute.interrupts import watched_signals
from mibench.plan.facts import Facts
from mibench.plan.plan import Plan, make_plan
from mibench.protocol.request import Request
from mibench.registry.registry import Registry, load_registry
from mibench.report import write_report
from mibench.results.io import save_record
from mibench.results.record import Record
from mibench.session.cell_results import RECORD, cell_gallery, cell_record
from mibench.session.output import explaining, output_folder, prepare
from mibench.session.publish import publish, refusal, require_boards
from mibench.store.store import Store, default_root

ALWAYS_THERE = ("auto", "cpu")
"""Devices that need no look at the hardware; a plan that asks for nothing else does not import torch."""


@dataclass(frozen=True)
class RunResult:
    """What a run leaves behind.

    Attributes:
        planned: the plan that was executed.
        records: one per cell, failed ones included, controls first.
        failures: label and error of every failed stage.
        report: path of the HTML report.
        record_paths: one JSON file per record.
        published: entries written to the leaderboard.
        refusals: for each record why no board accepts it; empty if one does.
    """

    planned: Plan
    records: Sequence[Record]
    failures: Sequence[tuple[str, str]]
    report: Path | None
    record_paths: Sequence[Path]
    published: Sequence[Path] = field(default_factory=list)
    refusals: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """0 if every cell is done, 1 if some failed."""
        return EXIT_FAILED_CELLS if any(record.status == "failed" for record in self.records) else EXIT_OK


def open_store(request: Request, registry: Registry) -> Store:
    """Open the store of a request, with the artifacts that plugins ship as lower layers."""
    layers = registry.artifact_folders() if request.shipped else []
    return Store(request.store or default_root(), layers)


def plan_request(
    request: Request, registry: Registry | None = None, facts: Facts | None = None, *, lenient: bool = False
) -> Plan:
    """Check a request and plan it without running anything.

    Args:
        request: what to run.
        registry: where components are found; the installed plugins by default.
        facts: of components, to share them between plans of one store.
        lenient: whether files that are not there are listed in the plan's ``missing``; such a plan cannot be run.

    Raises:
        UsageError: if the request itself is wrong.
        PluginError: if a component ends the program when it is asked about the plan.
    """
    prepare_torch()
    registry = registry or load_registry()
    registry.get("executor", request.executor)
    if request.device not in ALWAYS_THERE:
        from mibench.stages.run import pick_device  # imports torch

        pick_device(request.device)
    store = open_store(request, registry)
    with watched_signals() as ended:
        try:
            return make_plan(request, registry, store, facts, lenient=lenient)
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            if (end := ended()) is not None:
                raise end from None
            raise PluginError(f"while the run was planned, {explain(error)}") from error


def run(
    request: Request | None = None, registry: Registry | None = None, plan: Plan | None = None, **settings: Any
) -> RunResult:
    """Run a matrix of cells.

    Args:
        request: what to run; or give its fields as keywords, e.g. ``run(defenses=["atat"], attacks=["ppa"])``.
        registry: where components are found; the installed plugins by default.
        plan: what :func:`plan_request` returned for the same request, to save doing it again.
        **settings: fields of :class:`Request`.

    Returns:
        Records, failures and paths. Failed cells do not raise; look at ``exit_code``.

    Raises:
        UsageError: if the request itself is wrong, or is given in both ways.
    """
    if request is not None and settings:
        raise UsageError(f"run() was given a request and also {', '.join(settings)}; put all into the request.")
    request = request or Request(**settings)
    registry = registry or load_registry()
    plan = plan or plan_request(request, registry)
    with output_folder(request.output) as output, explaining({"--output": output, "--publish": request.publish}):
        return _run(request, registry, plan, output)


def _run(request: Request, registry: Registry, plan: Plan, output: Path) -> RunResult:
    if request.publish is not None:
        require_boards(plan)
        prepare(request.publish, "--publish")
    outcome = _execute(request, registry, plan)
    records = [cell_record(cell, plan, outcome, registry, request.device) for cell in plan.cells]
    paths = [save_record(record, output / "records") for record in records]
    labels = {planned.key: planned.label for planned in plan.nodes}
    failures = [(labels[key], error) for key, error in outcome.failed.items()]
    pairs = list(zip(plan.cells, records, strict=True))
    failures += [(cell.label, r.failure.error) for cell, r in pairs if r.failure and r.failure.stage == RECORD]
    galleries = [cell_gallery(cell, record, plan.store) for cell, record in pairs if record.status == "done"]
    report = write_report(output / "report.html", records, galleries, failures)
    refusals = [refusal(record, cell) for cell, record in zip(plan.cells, records, strict=True)]
    published = publish(request.publish, plan, registry, records, paths) if request.publish else []
    return RunResult(plan, records, failures, report, paths, published, refusals)


def _execute(request: Request, registry: Registry, plan: Plan) -> NodeOutcomes:
    """Make what is missing; if nothing is, no executor is even imported."""
    if not plan.to_run:
        return NodeOutcomes()
    plan.store.require_writable()
    plan.store.tidy()
    ctx = ExecutorContext(plan.store, registry, request.device, request.workers)
    return _executor(request, registry).run(plan.to_run, ctx)


def _executor(request: Request, registry: Registry) -> Executor:
    made = params.build(registry.component("executor", request.executor), {}, owner=f"executor {request.executor!r}")
    if not isinstance(made, Executor):
        raise TypeError(f"{request.executor!r} is not an Executor")
    return made
