"""Stage ``reconstruct``: run an attack class by class through a metered view of the target; and stage ``gold``.

The artifact holds images after the 8-bit round trip, since that is what an attacker could deliver.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mibench.api.attack import Attack, AttackContext, ClassResult
from mibench.api.errors import ClassFailed, MibenchError
from mibench.api.images import check_images, resize, to_uint8
from mibench.api.precision import full_precision
from mibench.api.prior import Prior
from mibench.api.rng import seeded
from mibench.api.target import Budget, Ledger, TargetView
from mibench.stages.classifier import load_classifier
from mibench.stages.context import StageContext
from mibench.stages.data import load_images, load_private
from mibench.stages.files import load_tensors, save_tensors
from mibench.stages.keeper import Keeper
from mibench.stages.prior import continue_training, load_prior


def run(ctx: StageContext) -> None:
    """Attack every class that is not in the checkpoint folder yet, then put the classes together."""
    attack: Attack = ctx.component("attack", ctx.payload["attack"])
    classifier = load_classifier(ctx.registry, ctx.input("target"), ctx.device)
    classes = ctx.payload.get("attacked") or list(range(classifier.num_classes))
    todo = [label for label in classes if not _info(ctx.work, label).is_file()]
    ctx.progress(len(classes) - len(todo), len(classes), "classes", {})
    if todo or not (ctx.work / "shared.json").is_file():
        view = TargetView(classifier, attack.access, classes=len(classes), budget=Budget(**ctx.payload["budget"]))
        for label in set(classes) - set(todo):
            info = json.loads(_info(ctx.work, label).read_text(encoding="utf-8"))
            view.ledger.add(Ledger(**info["spent"]))  # the budget holds over restarts
        _attack(ctx, attack, view, todo, len(classes))
    _assemble(ctx, classes)


def _attack(ctx: StageContext, attack: Attack, view: TargetView, todo: list[int], total: int) -> None:
    prior = load_prior(ctx.registry, ctx.input("prior"), ctx.device, ctx.payload.get("deploy"))
    image, seed = ctx.payload["image"], ctx.payload["seed"]
    context = AttackContext(seed, image["size"], image["channels"], ctx.device, deliver=image.get("deliver"))
    context.remember = Keeper(ctx.work, view, seed, ctx.device)
    context.train_prior = partial(continue_training, ctx, view)
    if attack.needs_public:
        context.public = load_images(ctx.registry, ctx.input("public"))
    if attack.peeks():
        context.judge = load_classifier(ctx.registry, ctx.input(_judge(ctx)), ctx.device)
    # A target that answers at random draws from torch's generator: each class has draws of its own, also when resumed.
    with view.spending() as spent, full_precision(), seeded(seed, "network"):
        shared = attack.prepare(view, prior, context)
    _write_json(ctx.work / "shared.json", asdict(spent))
    for position, label in enumerate(todo):
        with view.spending() as spent, full_precision(), seeded(seed, "network", label):
            result = _reconstruct(attack, label, shared, view, prior, context)
        # What was spent is what the view counted, whatever the attack says.
        if isinstance(result, ClassFailed):
            _write_json(_info(ctx.work, label), {"spent": asdict(spent), "trace": {}, "failed": str(result)})
            signals = {}
        else:
            _check(result, label, image)
            _save_class(ctx.work, result, spent, image.get("deliver", image["size"]))
            signals = _last(result.trace)
        ctx.progress(total - len(todo) + position + 1, total, "classes", signals)


def _reconstruct(
    attack: Attack, label: int, shared: Any, view: TargetView, prior: Prior, context: AttackContext
) -> ClassResult | ClassFailed:
    try:
        return attack.reconstruct(label, shared, view, prior, context)
    except ClassFailed as failed:
        return failed


def _judge(ctx: StageContext) -> str:
    return min(role for role in ctx.node.needs if role.startswith("evaluator:"))


def _check(result: object, label: int, image: Mapping[str, Any]) -> None:
    where = f"the attack's result for class {label}"
    if not isinstance(result, ClassResult):
        raise MibenchError(f"{where}: expected a ClassResult, got a {type(result).__name__}")
    if result.label != label:
        raise MibenchError(f"{where}: it says that it is of class {result.label}")
    images_NCHW, scores_N = check_images(result.images_NCHW, where=where), result.scores_N
    sides = dict.fromkeys((image["size"], image.get("deliver", image["size"])))
    shapes = [(image["channels"], side, side) for side in sides]
    if tuple(images_NCHW.shape[1:]) not in shapes or not len(images_NCHW):
        wanted = " or ".join(map(str, shapes))
        raise MibenchError(f"{where}: expected at least one image of shape {wanted}, got {tuple(images_NCHW.shape)}")
    if tuple(scores_N.shape) != (len(images_NCHW),) or bool(scores_N.isnan().any()):
        got = f"{int(scores_N.isnan().sum())} NaN in a shape of {tuple(scores_N.shape)}"
        raise MibenchError(f"{where}: expected a score for each of {len(images_NCHW)} images, got {got}")


def _save_class(work: Path, result: ClassResult, spent: Ledger, side: int) -> None:
    temporary = work / "class.tmp"
    images = to_uint8(resize(result.images_NCHW.detach().cpu(), side))
    save_tensors(temporary, {"images": images, "scores": result.scores_N.float()})
    temporary.replace(_part(work, result.label))
    info = {"spent": asdict(spent), "trace": {name: list(series) for name, series in result.trace.items()}}
    _write_json(_info(work, result.label), info)  # last: it says that the class is done


def _assemble(ctx: StageContext, classes: list[int]) -> None:
    infos = {label: json.loads(_info(ctx.work, label).read_text(encoding="utf-8")) for label in classes}
    failed = {str(label): info["failed"] for label, info in infos.items() if "failed" in info}
    if len(failed) == len(classes):
        raise MibenchError(f"the attack failed on every class; on class {classes[0]}: {failed[str(classes[0])]}")
    done = [label for label in classes if str(label) not in failed]
    parts = [load_tensors(_part(ctx.work, label)) for label in done]
    labels = [label for label, part in zip(done, parts, strict=True) for _ in part["images"]]
    images, scores = (torch.cat([part[name] for part in parts]) for name in ("images", "scores"))
    save_evidence(ctx.draft, images, torch.tensor(labels), scores)
    _write_json(ctx.draft / "ledger.json", _ledger(ctx, infos, failed))
    _write_json(ctx.draft / "trace.json", {str(label): info["trace"] for label, info in infos.items()})


def _ledger(ctx: StageContext, infos: Mapping[int, Mapping[str, Any]], failed: Mapping[str, str]) -> dict[str, Any]:
    """What was spent; beside it, only where it applies, failed classes, a peeked-at judge, and the prior's training."""
    shared = json.loads((ctx.work / "shared.json").read_text(encoding="utf-8"))
    spent = {str(label): info["spent"] for label, info in infos.items()}
    total = {name: shared[name] + sum(part[name] for part in spent.values()) for name in shared}
    ledger = {"shared": shared, "per_class": spent, "total": total, "budget": ctx.payload["budget"]}
    if failed:
        ledger["failed"] = dict(failed)
    if any(role.startswith("evaluator:") for role in ctx.node.needs):
        ledger["chosen_by"] = _judge(ctx)
    trained = ctx.input("prior").json("report.json").get("spent")
    if trained:
        ledger["prior_training"] = trained
    return ledger


def run_gold(ctx: StageContext) -> None:
    """Put held-out private images where reconstructions would be."""
    data = load_private(ctx)
    heldout = data.part(ctx.payload["part"])
    order = torch.argsort(heldout.labels_N, stable=True)
    if attacked := ctx.payload.get("attacked"):
        order = order[torch.isin(heldout.labels_N[order], torch.tensor(attacked))]
    images = to_uint8(heldout.images(order))
    save_evidence(ctx.draft, images, heldout.labels_N[order], torch.zeros(len(images)))


def save_evidence(folder: Path, pixels_NCHW: Tensor, labels_N: Tensor, scores_N: Tensor) -> None:
    """Write images (uint8), intended classes and the attack's own scores."""
    save_tensors(folder / "evidence.safetensors", {"pixels": pixels_NCHW, "labels": labels_N, "scores": scores_N})


def _part(work: Path, label: int) -> Path:
    return work / f"class_{label:05d}.safetensors"


def _info(work: Path, label: int) -> Path:
    return _part(work, label).with_suffix(".json")


def _last(trace: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(series[-1]) for name, series in trace.items() if len(series)}


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)
