"""Run one stage: take its lock, look again, do the work, commit. Every executor goes through here."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from mibench import __version__
from mibench.api.errors import MibenchError, UsageError
from mibench.plan.node import Node
from mibench.plan.provenance import sources_of
from mibench.protocol.request import DEVICE
from mibench.registry.registry import Registry
from mibench.stages import classifier, data, measure, prior, reconstruct
from mibench.stages.context import Progress, StageContext
from mibench.store.artifact import Artifact
from mibench.store.store import Store

STAGES: dict[str, Callable[[StageContext], None]] = {
    "data": data.run,
    "prior": prior.run,
    "evaluator": classifier.run,
    "pretrain": classifier.run,
    "target": classifier.run,
    "reconstruct": reconstruct.run,
    "gold": reconstruct.run_gold,
    "measure": measure.run,
}


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
        began = time.monotonic()
        meta: dict[str, object] = {"label": node.label, "mibench": __version__, "device": device.type}
        meta["sources"] = sources_of(registry, node.payload)
        with store.commit(node.stage, node.key, node.payload, meta) as draft:
            STAGES[node.stage](StageContext(node, store, registry, device, draft, store.work(node.key), progress))
            meta["seconds"] = round(time.monotonic() - began, 3)
            meta["torch"] = str(torch.__version__)
            meta["threads"] = torch.get_num_threads()
    made = store.find(node.stage, node.key)
    if made is None:
        raise MibenchError(f"the {node.stage} artifact {node.key[:12]} was damaged right after it was written")
    return made


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
