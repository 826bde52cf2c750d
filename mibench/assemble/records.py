"""From the artifacts of a cell to its record. Reads artifacts; computes nothing but intervals and flags."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from mibench.api.column_names import beyond_name
from mibench.api.errors import MibenchError
from mibench.api.quantity import Quantity
from mibench.assemble.columns import announced, announced_flags
from mibench.assemble.environment import environment, joined
from mibench.base.canonical import digest
from mibench.nodes.classifier import ClassifierFiles
from mibench.nodes.measure import MeasureFiles
from mibench.nodes.node import Node
from mibench.nodes.reconstruct import ReconstructFiles
from mibench.plan.cells import Cell
from mibench.plan.provenance import joint_digest
from mibench.plan.resolve import Resolved
from mibench.registry.joint import join_names
from mibench.registry.registry import Registry
from mibench.results.flags import compute_flags
from mibench.results.intervals import metric_value
from mibench.results.io import seal
from mibench.results.normalize import record_leakage
from mibench.results.record import CellRef, ComponentRef, Control, Failure, MetricValue, ProtocolRef, Record
from mibench.results.reports import LedgerReport, SelfCheckReport
from mibench.store.artifact import Artifact
from mibench.store.store import Store


def make_record(cell: Cell, store: Store, registry: Registry) -> Record:
    """Put a finished cell's record together.

    Raises:
        StoreError: if an artifact is missing.
        MibenchError: if one was made from another input than the store holds, or two metrics measure the same.
    """
    _check_inputs(cell, store)
    meant = {name: one.quantity for name, one in announced(cell.graph.fixed.metrics, cell).items()}
    metrics = read_metrics(store, cell.measures, meant)
    controls: dict[Control, dict[str, MetricValue]] = {
        name: read_metrics(store, nodes, meant) for name, nodes in cell.controls.items()
    }
    made, trained = (store.get(node.stage, node.key).path for node in (cell.reconstructions, cell.target))
    attacked = ReconstructFiles(made)
    ledger = {**attacked.ledger(), "trace": _trend(attacked.trace())}
    record = Record(
        protocol=protocol_ref(cell),
        cell=cell_ref(cell),
        components=_as_made(components(cell, registry), cell, store),
        classes={str(label): identity for label, identity in enumerate(cell.graph.fixed.identities.private)},
        attacked=cell.graph.fixed.attacked,
        inputs=_inputs(cell, store),
        metrics=metrics,
        controls=controls,
        self_check=SelfCheckReport.model_validate(_told(ClassifierFiles(trained).self_check())),
        ledger=LedgerReport.model_validate(_told(ledger)),
        environment=joined({role: found.meta for role, found in _made(cell, store).items()}),
        command=reproduce(cell),
        timings=timings_of(cell, store),
    )
    flags = compute_flags(record, announced_flags(cell))
    computed = {"normalized_leakage": record_leakage(record), "flags": flags}
    return seal(record.model_copy(update=computed))


def failed_record(cell: Cell, registry: Registry, stage: str, error: str, *, device: str) -> Record:
    """Return the row of a cell that failed."""
    return seal(
        Record(
            status="failed",
            failure=Failure(stage=stage, error=error),
            protocol=protocol_ref(cell),
            cell=cell_ref(cell),
            components=components(cell, registry),
            environment=environment(device),
            command=reproduce(cell),
        )
    )


def read_metrics(store: Store, nodes: Mapping[str, Node], meant: Mapping[str, Quantity]) -> dict[str, MetricValue]:
    """Read measurements and add intervals.

    Args:
        store: where the measurements are.
        nodes: of the stage ``measure``, by metric.
        meant: what a column is, by name, where a measurement does not say it itself.

    Raises:
        MibenchError: if two metrics measure the same.
    """
    values: dict[str, MetricValue] = {}
    for node in nodes.values():
        found = MeasureFiles(store.get(node.stage, node.key).path).measured()
        for row in found["measurements"]:
            if row["name"] in values:
                raise MibenchError(f"two metrics of the protocol measure {row['name']!r}; one of them must be renamed")
            unsaid = beyond_name(row["name"], meant[row["name"]]) if row["name"] in meant else None
            stated = {"quantity": unsaid.stated()} if unsaid else {}
            values[row["name"]] = metric_value({**stated, **row}, found["group"])
    return values


def cell_ref(cell: Cell) -> CellRef:
    """Return the identity of a cell; its key covers every number in the record."""
    groups = (("measures", cell.measures), *cell.controls.items())
    keys = {name: {metric: node.key for metric, node in nodes.items()} for name, nodes in groups}
    key = digest({"protocol": cell.loaded.digest, **keys})
    return CellRef(
        model=cell.model.name,
        defense=cell.defense.name,
        attack=cell.attack.name,
        attack_preset=cell.attack.preset if "/" in cell.attack.requested else None,
        seed=cell.seed,
        key=key,
    )


def components(cell: Cell, registry: Registry) -> dict[str, ComponentRef]:
    """Return every component of a cell by role."""
    fixed = cell.graph.fixed
    found: dict[str, Resolved] = {
        "dataset": fixed.dataset,
        "model": cell.model,
        "defense": cell.defense,
        "attack": cell.attack,
        "prior": cell.prior,
        "embedder": fixed.embedder,
        **{f"evaluator:{name}": resolved for name, resolved in fixed.evaluators.items()},
        **{f"metric:{resolved.name}": resolved for resolved in fixed.metrics},
    }
    return {role: component_ref(resolved, registry) for role, resolved in found.items()}


def _as_made(found: dict[str, ComponentRef], cell: Cell, store: Store) -> dict[str, ComponentRef]:
    """State the source code that made the numbers; what is cached may be older than what is installed."""
    makers = {"dataset": cell.graph.data("private"), "model": cell.target, "defense": cell.target}
    makers |= {"attack": cell.reconstructions, "prior": cell.prior_node}
    makers |= {f"metric:{name}": node for name, node in cell.measures.items()}
    made = dict(found)
    for role, node in makers.items():
        sources = store.get(node.stage, node.key).meta.get("sources", {})
        if source := sources.get(role.partition(":")[0]):
            made[role] = found[role].model_copy(update={"source_digest": source})
    return made


def component_ref(resolved: Resolved, registry: Registry) -> ComponentRef:
    """Return a component with its provenance; that of defenses used together is joined by ``+``."""
    entries = [part.registered for part in resolved.parts] or [resolved.registered]
    return ComponentRef(
        kind=entries[0].spec.kind,
        name=resolved.name,
        distribution=_joined(entry.distribution for entry in entries),
        distribution_version=_joined(entry.distribution_version for entry in entries),
        version=resolved.version,
        preset=resolved.preset,
        params=dict(resolved.params),
        source_digest=joint_digest(registry, entries),
        licence=_joined(entry.spec.licence for entry in entries),
        overridden=resolved.overridden,
        access=_access(resolved),
        baseline=getattr(resolved.registered.spec, "baseline", False),
        comes_trained=resolved.traits.comes_trained,
    )


def _joined(values: Iterable[str]) -> str:
    return join_names(dict.fromkeys(values))


def _access(resolved: Resolved) -> str | None:
    """Return what an attack's view grants it, or what a defense is meant to hold against: the most of its parts."""
    if resolved.registered.kind == "attack":
        return resolved.traits.access
    stated = [getattr(part.registered.spec, "threat_model", None) for part in resolved.parts or (resolved,)]
    return "white-box" if "white-box" in stated else stated[0]


def reproduce(cell: Cell) -> str:
    """Return the command that repeats one cell, whatever matrix it was part of and however that was asked for."""
    words = ["mibench", "run", "--protocol", cell.loaded.requested, "--model", cell.model.requested]
    words += ["--defense", cell.defense.requested, "--attack", cell.attack.requested, "--seed", str(cell.seed)]
    if cell.loaded.variant != "test":
        words += ["--variant", cell.loaded.variant]
    for resolved in (cell.model, cell.defense, cell.attack, cell.prior):
        for parameter, value in resolved.overrides.items():
            prefix = "" if resolved.parts else f"{resolved.name}."
            words += ["--set", f"{prefix}{parameter}={json.dumps(value)}"]
    return shlex.join(words)


def protocol_ref(cell: Cell) -> ProtocolRef:
    """Return the protocol of a cell as records state it."""
    protocol = cell.loaded.protocol
    return ProtocolRef(
        name=protocol.name,
        version=protocol.version,
        digest=cell.loaded.digest,
        variant=cell.loaded.variant,
        headline=protocol.headline,
    )


def _inputs(cell: Cell, store: Store) -> dict[str, str]:
    return {role: store.get(node.stage, node.key).content for role, node in cell.inputs.items()}


def _made(cell: Cell, store: Store) -> dict[str, Artifact]:
    """Return every artifact whose numbers or digest a record states, by role."""
    return {role: store.get(node.stage, node.key) for role, node in nodes_of(cell).items()}


def nodes_of(cell: Cell) -> dict[str, Node]:
    """Return the nodes whose artifacts a record states the digest or the numbers of, by role."""
    groups = (("measure", cell.measures), *cell.controls.items())
    nodes = dict(cell.inputs)
    return nodes | {f"{group}/{name}": node for group, members in groups for name, node in members.items()}


def _check_inputs(cell: Cell, store: Store) -> None:
    """Refuse numbers of an input that is not there any more: one that was damaged and came out otherwise since."""
    made, nodes = _made(cell, store), nodes_of(cell)
    now = {artifact.key: artifact for artifact in made.values()}
    for role, artifact in made.items():
        known = {} if store.is_shipped(artifact) else artifact.meta.get("inputs", {})
        needs = nodes[role].needs
        for need, content in known.items():
            found = now.get(needs[need])
            if found is not None and found.content != content:
                raise MibenchError(
                    f"{role} was made from another {need} than the store holds, which was made again since and came"
                    f" out otherwise. Remove {artifact.path} and run the same command again."
                )


def _told(value: Any) -> Any:
    """Return a diagnostic of an older artifact as JSON can hold it: what is not finite becomes text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _told(item) for key, item in value.items()}
    return [_told(item) for item in value] if isinstance(value, list) else value


def timings_of(cell: Cell, store: Store) -> dict[str, float]:
    """Return the seconds that the stages of a cell took."""
    nodes = {"target": cell.target, "reconstruct": cell.reconstructions}
    nodes |= {f"measure/{name}": node for name, node in cell.measures.items()}
    return {role: store.get(node.stage, node.key).meta.get("seconds", 0.0) for role, node in nodes.items()}


def _trend(traces: Mapping[str, Mapping[str, list[float | None]]]) -> dict[str, float]:
    """Average the first and the last attack loss over classes; those without such numbers are counted instead."""
    losses = [trace["loss"] for trace in traces.values() if trace.get("loss")]
    ends = [(series[0], series[-1]) for series in losses]
    finite = [(a, b) for a, b in ends if a is not None and b is not None and math.isfinite(a) and math.isfinite(b)]
    count, broken = len(finite), {"not_finite": len(ends) - len(finite)} if len(finite) < len(ends) else {}
    if not count:
        return {**broken}
    first, last = sum(a for a, _ in finite) / count, sum(b for _, b in finite) / count
    return {"loss_first": first, "loss_last": last, **broken}
