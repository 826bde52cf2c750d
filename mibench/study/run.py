"""Run a study: design, plan, execute, analyse, write. The command line calls this."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mibench.api.errors import UsageError
from mibench.api.specs import DefenseSpec
from mibench.api.study import Design, Findings, Study, StudyEvidence
from mibench.protocol.load import LoadedProtocol, Variant, load_protocol, parse_protocol
from mibench.protocol.request import Request
from mibench.registry.registry import Registry, load_registry
from mibench.results.record import Record
from mibench.session import run as session
from mibench.store.store import default_root
from mibench.study.design import Written, keep_design, make_design, settled_design
from mibench.study.evidence import by_arm, failures, load_records, make_evidence
from mibench.study.page import Stated, write_page
from mibench.study.plan import StudyPlan, plan_study
from mibench.study.protocol import with_metrics, write_protocol
from mibench.study.request import StudyRequest, build_study


@dataclass(frozen=True)
class StudyResult:
    """What a study found and where it stands.

    Attributes:
        evidence: what was analysed.
        findings: tables, figures and verdict.
        page: the HTML page; ``None`` if nothing was written.
        records: all records, failed ones included.
    """

    evidence: StudyEvidence
    findings: Findings
    page: Path | None
    records: Sequence[Record]


@dataclass(frozen=True)
class Prepared:
    """A study that is ready to run.

    Attributes:
        study: the component.
        loaded: the protocol that it starts from.
        variant: of the protocol.
        written: the design.
        plan: of all arms.
        folder: where everything goes.
    """

    study: Study
    loaded: LoadedProtocol
    variant: Variant
    written: Written
    plan: StudyPlan
    folder: Path


def plan_only(request: StudyRequest, registry: Registry | None = None) -> tuple[Written, StudyPlan]:
    """Return the design and plan of a study and write nothing but a protocol with its metrics, to a folder that goes.

    Raises:
        UsageError: if the request is wrong.
    """
    registry = registry or load_registry()
    study, loaded, variant = _parts(request, registry)
    written = make_design(study, request, loaded, registry, request.store or default_root())
    with TemporaryDirectory(prefix="mibench-study-") as folder:
        protocol = write_protocol(loaded, study.metrics(), Path(folder))
        return written, plan_study(written.design, request, loaded, protocol, variant, registry)


def prepare(request: StudyRequest, registry: Registry) -> Prepared:
    """Draw the design of a study, write it down, and plan it.

    Raises:
        UsageError: if the request is wrong, or its folder belongs to another study.
    """
    study, loaded, variant = _parts(request, registry)
    folder = request.folder(loaded.id)
    drawn = make_design(study, request, loaded, registry, request.store or default_root())
    written = settled_design(drawn, folder)
    protocol = write_protocol(loaded, study.metrics(), folder)
    plan = plan_study(written.design, request, loaded, protocol, variant, registry)
    keep_design(written, folder)  # once it can be run, and before anything is
    return Prepared(study, loaded, variant, written, plan, folder)


def run_study(
    name: str | StudyRequest, *, registry: Registry | None = None, prepared: Prepared | None = None, **settings: Any
) -> StudyResult:
    """Run a study, or what is left of it, and analyse its records.

    Args:
        name: of the study, or the whole request.
        registry: where components are found.
        prepared: what :func:`prepare` returned for the same request, to save doing it again.
        **settings: fields of :class:`StudyRequest`, if a name was given.

    Raises:
        UsageError: if the request is wrong; ``TooFewRecords`` if there is too little to analyse.
    """
    request = name if isinstance(name, StudyRequest) else StudyRequest(name=name, **settings)
    registry = registry or load_registry()
    if request.records:
        return _from_records(request, registry)
    ready = prepared or prepare(request, registry)
    run = Request(
        protocols=(ready.loaded.requested,),
        device=request.device,
        executor=request.executor,
        workers=request.workers,
        store=request.store,
        shipped=request.shipped,
        output=ready.folder,
    )
    made = session.run(run, registry, ready.plan.plan)
    return _conclude(request, registry, ready.study, ready.written.design, ready.plan, made.records, ready.folder)


def _from_records(request: StudyRequest, registry: Registry) -> StudyResult:
    """Analyse records that exist. Nothing is run; the design is the one that would be drawn."""
    study, loaded, variant = _parts(request, registry)
    running = parse_protocol(with_metrics(loaded, study.metrics()), variant) if study.metrics() else loaded
    written, plan = plan_only(request, registry)
    records = load_records(request.records)
    own = [record for record in records if record.protocol.digest == running.digest]
    if not own:
        raise UsageError(
            f"none of the {len(records)} records is of {running.id} as {request.name} runs it, with digest"
            f" {running.digest[:12]}; they are of {', '.join(sorted({_protocol(record) for record in records}))}."
            " Name their protocol with --protocol, or run the study."
        )
    if others := len(records) - len(own):
        reason = (
            f"they are not of {running.id} with the metrics of this study, or of another version, and do not compare"
        )
        plan = replace(plan, left_out=(*plan.left_out, (f"{others} of the records given", reason)))
    return _conclude(request, registry, study, written.design, plan, own, request.folder(loaded.id))


def _conclude(
    request: StudyRequest,
    registry: Registry,
    study: Study,
    design: Design,
    plan: StudyPlan,
    records: Sequence[Record],
    folder: Path,
) -> StudyResult:
    specs = [entry.spec for entry in registry.entries("defense")]
    families = {spec.name: spec.family for spec in specs if isinstance(spec, DefenseSpec)}
    command = repeat(request)
    evidence = make_evidence(
        request.name,
        design,
        by_arm(records, plan.arms, adopt=study.adopts),
        families,
        absent=[*failures(records), *plan.left_out],
        command=command,
    )
    findings = study.analyse(evidence)
    page = write_page(folder, Stated(request.name, study.claim, study.rule, command), evidence, findings)
    return StudyResult(evidence, findings, page, records)


def repeat(request: StudyRequest) -> str:
    """Return the command that makes what a study lacks."""
    words = ["mibench", "study", "run", request.name, "--protocol", request.protocol]
    words += ["--model", request.model] if request.model else []
    words += [word for attack in request.attacks for word in ("--attack", attack)]
    words += [word for seed in request.seeds for word in ("--seed", str(seed))]
    words += [word for key, value in request.settings.items() for word in ("--set", f"{key}={_typed(value)}")]
    words += ["--variant", request.variant] if request.variant else []
    return shlex.join(words)


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _protocol(record: Record) -> str:
    variant = "" if record.protocol.variant == "test" else f"+{record.protocol.variant}"
    return f"{record.protocol.name}@{record.protocol.version}{variant} ({record.protocol.digest[:12]})"


def _parts(request: StudyRequest, registry: Registry) -> tuple[Study, LoadedProtocol, Variant]:
    study = build_study(request, registry)
    variant = request.variant or study.variant
    loaded = load_protocol(registry, request.protocol, variant)
    return study, loaded, variant
