"""An audit from a request to its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK
from mibench.audit.advice import command, limits, suggestions
from mibench.audit.draft import Template, find_template
from mibench.audit.findings import AttackFound, Findings, find, verdict
from mibench.audit.page import counts, render_audit
from mibench.audit.prepare import Prepared
from mibench.audit.worst import Example, worst_examples
from mibench.base.files import write_atomic
from mibench.registry.registry import Registry
from mibench.session.run import RunResult, run

PAGE, DOCUMENT = "audit.html", "audit.json"


@dataclass(frozen=True)
class AuditResult:
    """What an audit leaves behind.

    Attributes:
        prepared: what was planned.
        findings: what was found.
        document: the findings as plain JSON.
        page: the report.
        run: what the run left: records, and its own report with all numbers.
    """

    prepared: Prepared
    findings: Findings
    document: dict[str, Any]
    page: Path
    run: RunResult

    @property
    def exit_code(self) -> int:
        """0 if every attack came to its end, 1 if some failed."""
        return EXIT_FAILED_CELLS if self.findings.failed else EXIT_OK


def audit(prepared: Prepared, registry: Registry) -> AuditResult:
    """Attack a network that was looked at, and write report and findings beside its protocol.

    What the store has is reused, so the same audit continues where an interrupted one stopped.

    Raises:
        MibenchError: if something cannot be written. Failed attacks do not raise; look at ``exit_code``.
    """
    result = run(prepared.run, registry, prepared.plan)
    template = find_template(registry, prepared.request.template)
    records, folder = list(result.records), prepared.protocol.parent
    found = find(prepared, records)
    pairs = list(zip(prepared.plan.cells, records, strict=True))
    own = [(cell, one) for cell, one in pairs if one.status == "done" and one.cell.model == prepared.model]
    examples = worst_examples(own, prepared.people.names, prepared.plan.store)
    page = render_audit(prepared, template, found, examples, records, result.report, registry)
    document = as_document(prepared, template, found, examples, result, registry)
    text = json.dumps(document, indent=1, allow_nan=False)
    write_atomic(folder / DOCUMENT, text + "\n")
    return AuditResult(prepared, found, document, write_atomic(folder / PAGE, page), result)


def as_document(
    prepared: Prepared,
    template: Template,
    found: Findings,
    examples: Sequence[Example],
    result: RunResult,
    registry: Registry,
) -> dict[str, Any]:
    """Return the findings as plain JSON; people are named by their folders."""
    names, request = prepared.people.names, prepared.request
    tried = suggestions(prepared, template, registry)
    return {
        "verdict": verdict(found),
        "network": {"model": request.model, "weights": str(request.weights) if request.weights else None},
        "access": request.access,
        "accuracy": found.accuracy,
        "people": {"private": list(names), "public": prepared.people.public},
        "recognised": [names[label] for label in found.recognised],
        "counts": {name: cells[0] for name, cells in counts(found)},
        "floor": found.floor,
        "lookalike": found.lookalike,
        "gold": found.gold,
        "twin": {"model": found.twin, "accuracy": found.twin_accuracy} if found.twin else None,
        "attacks": [_attack(one, names) for one in found.attacks],
        "failed": [{"attack": name, "error": reason} for name, reason in found.failed],
        "worst": [{"person": one.name, "attack": one.attack, "share": one.share} for one in examples],
        "not_shown": list(limits(prepared, found)),
        "defenses": [{**asdict(one), "command": command(prepared, template, one.name)} for one in tried],
        "protocol": str(prepared.protocol),
        "records": [str(path) for path in result.record_paths],
        "report": str(result.report) if result.report else None,
    }


def _attack(one: AttackFound, names: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "attack": one.name,
        "access": one.access,
        "recognised": [names[label] for label in one.recognised],
    }
    told |= {"share": one.share.value, "share_ci95": one.share.ci95, "evaluators": one.evaluators}
    gap, ci95 = one.above_floor or (None, None)
    told |= {"above_floor": gap, "above_floor_ci95": ci95, "recognised_in_twin": one.twin}
    return told | {"seconds": one.seconds, "forward": one.forward, "backward": one.backward, "flags": one.flags}
