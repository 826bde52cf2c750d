"""Stages ``target``, ``evaluator`` and ``pretrain``: train a classifier, and load it again as it is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mibench.api.classifier import Classifier, Model, load_backbone
from mibench.api.defense import Defense, TrainContext
from mibench.api.extras import flat_extras
from mibench.api.precision import full_precision
from mibench.api.rng import seeded
from mibench.nodes.classifier import (
    ClassifierFiles,
    ClassifierInputs,
    EvaluatorInputs,
    PretrainInputs,
    PrivateClassifierInputs,
    TargetInputs,
)
from mibench.nodes.marks import Ref
from mibench.nodes.table import read_inputs
from mibench.protocol.split import HoldOut, hold_out
from mibench.registry.build import Components
from mibench.stages.context import StageContext
from mibench.stages.data import PrivateData, load_images, load_private
from mibench.stages.files import load_tensors, save_tensors
from mibench.stages.handover import verdict
from mibench.stages.judge_check import accuracy, check_judge
from mibench.store.artifact import Artifact
from mibench.training import hooks
from mibench.training.loop import Training
from mibench.training.signals import printable


def run(ctx: StageContext[ClassifierInputs]) -> None:
    """Train a classifier and save its weights, its history and the defense's own verdict."""
    data, seed = _data(ctx), ctx.inputs.seed
    with full_precision():
        training = _training(ctx, data)
        if not training.restore():
            training = _training(ctx, data)
        training.run(ctx.progress)
        model, defense, train_ctx = training.model, training.defense, training.ctx
        hooks.finish(defense, model, training.train, train_ctx, seed)
        check = hooks.self_check(defense, model, train_ctx, seed)
        deployed = hooks.deploy(defense, model, train_ctx, seed)
        with seeded(seed, "sanity"):
            sanity = {part: accuracy(deployed, data.split(part), ctx.device) for part in ("train", "val")}
            if isinstance(ctx.inputs, EvaluatorInputs) and (least := ctx.inputs.least_accuracy) is not None:
                sanity["test"] = check_judge(deployed, data.split("test"), ctx.device, least)
    files = ClassifierFiles(ctx.draft)
    save_tensors(files.weights, model.state_dict())
    save_tensors(files.extras, flat_extras(train_ctx.extras))
    history = [printable(means) for means in train_ctx.history]
    report = {"history": history, "self_check": verdict(check, "the defense"), "sanity_accuracy": sanity}
    if chosen := training.rule.report():
        report["checkpoint"] = chosen
    files.write_report(report)


def _training(ctx: StageContext[ClassifierInputs], data: PrivateData) -> Training:
    """Build a classifier and its training, at its beginning."""
    inputs, before = ctx.inputs, {}
    if isinstance(inputs, PrivateClassifierInputs):
        before = {"start": _weights(ctx, inputs.start), "public": _weights(ctx, inputs.pretrain)}
    model, defense, train_ctx = build(ctx.components, inputs, ctx.device, len(data.train), **before)
    given: dict[str, Any] = {"seed": inputs.seed, "work": ctx.work, "val": data.val}
    return Training(model, defense, inputs.recipe, data.train, train_ctx, **given)


def _data(ctx: StageContext[ClassifierInputs]) -> PrivateData:
    """Return the private images, split; a public pre-training takes all images that it does not validate on."""
    inputs = ctx.inputs
    if isinstance(inputs, PrivateClassifierInputs):
        return load_private(ctx, inputs.private, inputs.split)
    if not isinstance(inputs, PretrainInputs):
        raise TypeError(f"the stage {inputs.stage!r} trains no classifier")
    public = load_images(ctx.artifact(inputs.public))
    settings = inputs.validation or HoldOut(images=0, seed=0)
    parts = hold_out(public.labels_N.tolist(), settings.images, settings.seed)
    train, val = (public.subset(torch.tensor(part, dtype=torch.long)) for part in (parts.train, parts.val))
    return PrivateData(train, val, public.subset(torch.arange(0)))


def _weights(ctx: StageContext[ClassifierInputs], ref: Ref | None) -> dict[str, Tensor] | None:
    """Return weights and extras of a training that comes before; ``None`` without one."""
    if ref is None:
        return None
    files = ClassifierFiles(ctx.artifact(ref).path)
    return load_tensors(files.weights) | load_tensors(files.extras)


def build(
    components: Components,
    inputs: ClassifierInputs,
    device: torch.device,
    train_size: int = 1,
    *,
    start: Mapping[str, Tensor] | None = None,
    public: Mapping[str, Tensor] | None = None,
) -> tuple[Classifier, Defense, TrainContext]:
    """Make the untrained, defended classifier of a target, evaluator or public pre-training.

    Args:
        components: builds what the network is made of.
        inputs: of its stage.
        device: where to put the network.
        train_size: training images.
        start: weights and extras of the training that the defense or the recipe starts from, if there is one.
        public: weights of the public pre-training, if the recipe wants it and the defense starts from another one.
    """
    image, recipe, seed, num_classes = inputs.image, inputs.recipe, inputs.seed, inputs.num_classes
    task = hooks.Task(
        num_classes=num_classes,
        channels=image.channels,
        size=image.size,
        train_size=train_size,
        seed=seed,
        device=device,
        start=start,
    )

    def defense() -> Defense:
        if not isinstance(inputs, TargetInputs):
            return Defense()
        made: Defense = components.build("defense", inputs.defense)
        return made

    def plain() -> Classifier:
        model: Model = components.build("model", inputs.model)
        if isinstance(inputs, EvaluatorInputs) and not recipe.epochs:
            people = inputs.split.identities
            return model.build_trained(identities=people, channels=image.channels, size=image.size)
        made = model.build(num_classes=num_classes, channels=image.channels, size=image.size)
        begins = inputs.start if isinstance(inputs, PrivateClassifierInputs) else None
        pretrained = start if begins and begins.stage == PretrainInputs.stage else public
        if pretrained is not None:
            load_backbone(made, pretrained)
        return made

    return hooks.build(defense, plain, recipe, task)


def load_classifier(components: Components, artifact: Artifact, device: torch.device) -> Classifier:
    """Return the trained classifier of an artifact as it is deployed: frozen, in evaluation mode."""
    inputs, files = read_inputs(artifact.payload), ClassifierFiles(artifact.path)
    if not isinstance(inputs, ClassifierInputs):
        raise TypeError(f"expected the artifact of a classifier, got one of the stage {artifact.stage!r}")
    model, defense, train_ctx = build(components, inputs, device)
    model.load_state_dict(load_tensors(files.weights))
    extras = load_tensors(files.extras)
    train_ctx.extras.update({name: tensor.to(device) for name, tensor in extras.items()})
    return hooks.deploy(defense, model, train_ctx, inputs.seed)
