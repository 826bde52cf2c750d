"""Stage ``reconstruct``: run an attack class by class through a metered view of the target; and stage ``gold``.

The artifact holds images after the 8-bit round trip, since that is what an attacker could deliver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from mibench.api.prior_view import metered
from mibench.api.rng import seeded
from mibench.api.target import Budget, Ledger, TargetView
from mibench.nodes.files import Evidence
from mibench.nodes.gold import GoldFiles, GoldInputs
from mibench.nodes.prior import PriorFiles
from mibench.nodes.reconstruct import ReconstructFiles, ReconstructInputs, ReconstructWork, evaluator_role
from mibench.protocol.schema import ImageShape
from mibench.stages.classes import ClassCheckpoint, load_class, save_class
from mibench.stages.classifier import load_classifier
from mibench.stages.compute_cache import ComputeCache
from mibench.stages.context import StageContext
from mibench.stages.data import are_portraits, load_images, load_private
from mibench.stages.files import save_streamed, save_tensors
from mibench.stages.handover import counts, curves
from mibench.stages.prior import continue_training, load_prior
from mibench.training.checkpoints import load_json, save_json


def run(ctx: StageContext[ReconstructInputs]) -> None:
    """Attack every class that is not whole in the checkpoint folder, then put the classes together."""
    attack: Attack = ctx.component("attack", ctx.inputs.attack)
    classifier = load_classifier(ctx.components, ctx.artifact(ctx.inputs.target), ctx.device)
    classes = ctx.inputs.attacked or list(range(classifier.num_classes))
    done = {label: found.info for label in classes if (found := load_class(ctx.work, label))}
    todo = [label for label in classes if label not in done]
    ctx.progress(len(done), len(classes), "classes", {})
    if todo or load_json(ReconstructWork(ctx.work).shared) is None:
        view = TargetView(
            classifier, attack.access, classes=len(classes), budget=Budget(**ctx.inputs.budget.model_dump())
        )
        for info in done.values():
            view.ledger.add(Ledger(**info["spent"]))  # the budget holds over restarts
        _attack(ctx, attack, view, todo, len(classes))
    _assemble(ctx, classes)


def _attack(
    ctx: StageContext[ReconstructInputs], attack: Attack, view: TargetView, todo: list[int], total: int
) -> None:
    inputs, image, seed = ctx.inputs, ctx.inputs.image, ctx.inputs.seed
    prior = load_prior(ctx.components, ctx.artifact(inputs.prior), ctx.device, inputs.deploy)
    prior = metered(prior, view.ledger)
    context = AttackContext(seed, image.size, image.channels, ctx.device, deliver=image.deliver)
    context.cached = ComputeCache(ctx.work, view, seed, ctx.device)
    context.train_prior = partial(continue_training, ctx, view)
    if inputs.public:
        context.public = load_images(ctx.artifact(inputs.public))
    if inputs.judge:
        context.evaluator = load_classifier(ctx.components, ctx.artifact(inputs.evaluators[inputs.judge]), ctx.device)
    # A target that answers at random draws from torch's generator: each class has draws of its own, also when resumed.
    with view.spending() as spent, full_precision(), seeded(seed, "network"):
        shared = attack.prepare(view, prior, context)
    save_json(ReconstructWork(ctx.work).shared, counts(spent, f"the attack {inputs.attack.name!r}"))
    for position, label in enumerate(todo):
        with view.spending() as spent, full_precision(), seeded(seed, "network", label):
            result = _reconstruct(attack, label, shared, view, prior, context)
        # What was spent is what the view counted, whatever the attack says.
        where = f"the attack's result for class {label}"
        info: dict[str, Any] = {"label": label, "spent": counts(spent, where), "trace": {}}
        if isinstance(result, ClassFailed):
            save_class(ctx.work, {**info, "failed": str(result)})
        else:
            _check(result, label, image, where)
            info["trace"] = curves(result.trace, where)
            images = to_uint8(resize(result.images_NCHW.detach().cpu(), image.judged.size))
            save_class(ctx.work, info, {"images": images, "scores": result.scores_N.float()})
        ctx.progress(total - len(todo) + position + 1, total, "classes", _last(info["trace"]))


def _reconstruct(
    attack: Attack, label: int, shared: Any, view: TargetView, prior: Prior, context: AttackContext
) -> ClassResult | ClassFailed:
    try:
        return attack.reconstruct(label, shared, view, prior, context)
    except ClassFailed as failed:
        return failed


def _check(result: object, label: int, image: ImageShape, where: str) -> None:
    if not isinstance(result, ClassResult):
        raise MibenchError(f"{where}: expected a ClassResult, got a {type(result).__name__}")
    if result.label != label:
        raise MibenchError(f"{where}: it says that it is of class {result.label}")
    images_NCHW, scores_N = check_images(result.images_NCHW, where=where), result.scores_N
    sides = dict.fromkeys((image.size, image.judged.size))
    shapes = [(image.channels, side, side) for side in sides]
    if tuple(images_NCHW.shape[1:]) not in shapes or not len(images_NCHW):
        wanted = " or ".join(map(str, shapes))
        raise MibenchError(f"{where}: expected at least one image of shape {wanted}, got {tuple(images_NCHW.shape)}")
    if tuple(scores_N.shape) != (len(images_NCHW),) or bool(scores_N.isnan().any()):
        got = f"{int(scores_N.isnan().sum())} NaN in a shape of {tuple(scores_N.shape)}"
        raise MibenchError(f"{where}: expected a score for each of {len(images_NCHW)} images, got {got}")


def _assemble(ctx: StageContext[ReconstructInputs], classes: list[int]) -> None:
    infos: dict[int, Mapping[str, Any]] = {}
    scores: list[Tensor] = []
    labels: list[int] = []
    shape: Sequence[int] = ()
    for label in classes:  # one at a time: all images of all classes may be more than memory holds
        part = _done(ctx.work, label)
        infos[label] = part.info
        if "failed" not in part.info:
            scores.append(part.tensors["scores"])
            labels += [label] * len(scores[-1])
            shape = part.tensors["images"].shape[1:]
    failed = {str(label): info["failed"] for label, info in infos.items() if "failed" in info}
    if len(failed) == len(classes):
        raise MibenchError(f"the attack failed on every class; on class {classes[0]}: {failed[str(classes[0])]}")
    files = ReconstructFiles(ctx.draft)
    small = {"labels": torch.tensor(labels), "scores": torch.cat(scores)}
    images = (_done(ctx.work, label).tensors["images"] for label in classes if str(label) not in failed)
    save_streamed(files.evidence, small, "pixels", (len(labels), *shape), images)
    files.write_ledger(_ledger(ctx, infos, failed))
    files.write_trace({str(label): info["trace"] for label, info in infos.items()})


def _done(work: Path, label: int) -> ClassCheckpoint:
    found = load_class(work, label)
    if found is None:
        raise MibenchError(f"class {label} was damaged while others were attacked; the same command attacks it again")
    return found


def _ledger(
    ctx: StageContext[ReconstructInputs], infos: Mapping[int, Mapping[str, Any]], failed: Mapping[str, str]
) -> dict[str, Any]:
    """What was spent; beside it, only where it applies, failed classes, a peeked-at judge, and the prior's training."""
    shared = load_json(ReconstructWork(ctx.work).shared)
    if shared is None:
        raise MibenchError("what the attack shares between classes was damaged; the same command makes it again")
    spent = {str(label): info["spent"] for label, info in infos.items()}
    total = {name: shared[name] + sum(part[name] for part in spent.values()) for name in shared}
    ledger = {"shared": shared, "per_class": spent, "total": total, "budget": ctx.inputs.budget.model_dump(mode="json")}
    if failed:
        ledger["failed"] = dict(failed)
    if ctx.inputs.judge:
        ledger["chosen_by"] = evaluator_role(ctx.inputs.judge)
    trained = PriorFiles(ctx.artifact(ctx.inputs.prior).path).spent()
    if trained:
        ledger["prior_training"] = trained
    return ledger


def run_gold(ctx: StageContext[GoldInputs]) -> None:
    """Put held-out private images, or second portraits, where reconstructions would be."""
    private = ctx.artifact(ctx.inputs.private)
    if are_portraits(private):
        heldout = load_images(private)
    else:
        heldout = load_private(ctx, ctx.inputs.private, ctx.inputs.split).split(ctx.inputs.split_name)
    order = torch.argsort(heldout.labels_N, stable=True)
    if attacked := ctx.inputs.attacked:
        order = order[torch.isin(heldout.labels_N[order], torch.tensor(attacked))]
    images = heldout.pixels(order)
    save_evidence(ctx.draft, images, heldout.labels_N[order], torch.zeros(len(images)))


def save_evidence(folder: Path, pixels_NCHW: Tensor, labels_N: Tensor, scores_N: Tensor) -> None:
    """Write images (uint8), intended classes and the attack's own scores."""
    save_tensors(GoldFiles(folder).evidence, Evidence(pixels_NCHW, labels_N, scores_N).tensors())


def _last(trace: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(series[-1]) for name, series in trace.items() if series and series[-1] is not None}
