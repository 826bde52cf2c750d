"""Run one stage: take its lock, look again, do the work, commit. Every executor goes through here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mibench.api.errors import MibenchError, UsageError
from mibench.api.rng import seeded
from mibench.nodes.node import Node
from mibench.nodes.table import function_of
from mibench.plan.provenance import made_by, sources_of
from mibench.protocol.request import DEVICE
from mibench.registry.registry import Registry
from mibench.stages.checkpoints import claim
from mibench.stages.context import StageContext, find_artifact
from mibench.stages.environment import describe
from mibench.store.artifact import Artifact
from mibench.store.store import Store
from mibench.training.loop import Progress
from mibench.training.signals import numbers


def run_node(node: Node, store: Store, registry: Registry, device: torch.device, progress: Progress) -> Artifact:
    """Make a node's artifact unless it exists, and return it.

    Another process that makes the same artifact is waited for, and its result is taken.

    Raises:
        MibenchError: if the stage fails; its checkpoints stay for the next try.
    """
    registry.files.update(node.files)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what libraries draw on "the" GPU is seeded there too
    with store.lock(node.key):
        found = store.find(node.stage, node.key)
        if found is not None:
            return found
        began, work_on = time.monotonic(), function_of(type(node.inputs))
        inputs = {role: find_artifact(store, ref).content for role, ref in node.inputs.refs().items()}
        environment = describe(device)
        work = store.work(node.key)
        compute = {name: environment[name] for name in ("device_name", "threads")}
        stamp = {**made_by(registry, node.inputs), **compute, "inputs": inputs}
        meta: dict[str, object] = {"label": node.label, **environment}
        meta |= {"sources": sources_of(registry, node.inputs), "inputs": inputs}
        context: StageContext[Any] = StageContext(node, store, registry, device, Path(), work, _plain(progress))
        with store.commit(node.stage, node.key, node.payload, meta) as draft, seeded(node.stage, node.key):
            claim(work, stamp)
            # Seeded: code of components may draw where no stage expects it to.
            work_on(replace(context, draft=draft))
            meta["seconds"] = round(time.monotonic() - began, 3)
    made = store.find(node.stage, node.key)
    if made is None:
        raise MibenchError(f"the {node.stage} artifact {node.key[:12]} was damaged right after it was written")
    return made


def _plain(progress: Progress) -> Progress:
    """Let progress be told in plain numbers, whatever a component tells: it has to fit through a pipe of JSON."""

    def told(done: int, total: int, unit: str, signals: Mapping[str, float]) -> None:
        progress(int(done), int(total), str(unit), numbers(signals, "a signal of the progress"))

    return told


def pick_device(name: str) -> torch.device:
    """Return the device of a request: ``"auto"`` takes a GPU if there is one.

    Raises:
        UsageError: if results are not made on such a device, or there is none.
    """
    if not DEVICE.fullmatch(name):
        raise UsageError(f"{name!r} is not a device of mibench; expected auto, cpu, cuda or cuda:N")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(index or 0) >= count:
        raise UsageError(f"the device {name!r} was asked for, but torch sees {count} CUDA devices")
    return torch.device(name)
