"""Everything before the first attack: look at folders and network, refuse what does not fit, write the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibench.api import params as parameters
from mibench.api.errors import UsageError
from mibench.audit import draft as drafting
from mibench.audit.check import MOST, Sanity, check_network
from mibench.audit.class_names import outputs_of
from mibench.audit.network import network_params
from mibench.audit.people import People, count_people
from mibench.audit.request import AuditRequest
from mibench.plan.plan import Plan
from mibench.protocol.request import Request
from mibench.registry.registry import Registry
from mibench.session.run import plan_request

if TYPE_CHECKING:
    from mibench.api.classifier import Model
    from mibench.api.data import Dataset


@dataclass(frozen=True)
class Prepared:
    """An audit that can begin.

    Attributes:
        request: what was asked for.
        people: who is in the folders.
        sanity: how good the network is.
        protocol: the protocol file.
        model: name of the model that stands for the network.
        twin: name of the model that is trained beside it.
        run: the run that does the work.
        plan: of that run.
    """

    request: AuditRequest
    people: People
    sanity: Sanity
    protocol: Path
    model: str
    twin: str | None
    run: Request
    plan: Plan


def prepare(request: AuditRequest, registry: Registry) -> Prepared:
    """Look at folders and network, and plan the audit.

    Raises:
        UsageError: if anything does not fit; the sentence says what.
        DataError: if files cannot be read.
    """
    template = drafting.find_template(registry, request.template)
    attacks = drafting.choose_attacks(request, template, registry)
    folders = drafting.dataset_params(request)
    dataset = _built(registry, "dataset", template.dataset, folders)
    people = count_people(dataset)
    params = network_params(request)
    if order := outputs_of(request.classes, people.names):
        params["order"] = order
    twin = drafting.choose_twin(request, template, params)
    model = _built(registry, "model", template.model, params)
    side = _side(request, model)
    sanity = _check(model, dataset, people, request, side)
    sanity.require(anyway=request.any_accuracy)
    text = drafting.draft(request, template, people, params, side, attacks)
    protocol = drafting.keep_protocol(request.output, text)
    run = _as_run(request, protocol, [template.model, *([twin] if twin else [])], attacks)
    return Prepared(request, people, sanity, protocol, template.model, twin, run, plan_request(run, registry))


def _built(registry: Registry, kind: str, name: str, values: Mapping[str, Any]) -> Any:
    made = parameters.build(registry.component(kind, name), values, owner=f"{kind} {name!r}")
    if lines := made.missing():
        raise UsageError(" ".join(lines))
    return made


def _side(request: AuditRequest, model: Model) -> int:
    side = request.size or model.usual_side()
    if side is None:
        raise UsageError(
            "--size: state the side in pixels of the images that the network was trained at, such as 64 or 224"
        )
    return side


def _check(model: Model, dataset: Dataset, people: People, request: AuditRequest, side: int) -> Sanity:
    """Ask the network about held-out photographs, of each person as many."""
    import torch

    from mibench.stages.run import pick_device

    identities = list(range(len(people.names)))
    images = dataset.load(identities, size=side, channels=request.channels)
    each, chosen, seen = max(1, MOST // len(identities)), [], dict.fromkeys(identities, 0)
    parts = dataset.parts(identities) or []
    for index, (part, label) in enumerate(zip(parts, images.labels_N.tolist(), strict=True)):
        if part == "test" and seen[label] < each:
            seen[label] += 1
            chosen.append(index)
    indices_N = torch.tensor(chosen)
    labels_N = images.labels_N[indices_N]
    return check_network(model, images.images(indices_N), labels_N, people.names, pick_device(request.device))


def _as_run(request: AuditRequest, protocol: Path, models: list[str], attacks: list[str]) -> Request:
    same = {name: getattr(request, name) for name in ("device", "executor", "workers", "store", "output")}
    return Request(
        protocols=(str(protocol),), models=tuple(models), attacks=tuple(attacks), seeds=(request.seed,), **same
    )
