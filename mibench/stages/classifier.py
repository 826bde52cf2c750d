"""Stages ``target``, ``evaluator`` and ``pretrain``: train a classifier, and load it again as it is deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mibench.api.classifier import Classifier, freeze, load_backbone
from mibench.api.data import ImageSet
from mibench.api.defense import Defense, TrainContext
from mibench.api.extras import flat_extras
from mibench.api.precision import full_precision
from mibench.api.rng import generator, seeded
from mibench.protocol.schema import Recipe
from mibench.protocol.split import hold_out
from mibench.registry.build import build_component
from mibench.registry.registry import Registry
from mibench.stages.context import StageContext
from mibench.stages.data import PrivateData, load_images, load_private
from mibench.stages.files import load_tensors, save_tensors
from mibench.stages.handover import printable, verdict
from mibench.stages.train import Training, make_optimizer
from mibench.store.artifact import Artifact


def run(ctx: StageContext) -> None:
    """Train a classifier and save its weights, its history and the defense's own verdict."""
    data, seed = _data(ctx), ctx.payload["seed"]
    with full_precision():
        training = _training(ctx, data)
        if not training.restore():
            training = _training(ctx, data)
        training.run(ctx.progress)
        model, defense, train_ctx = training.model, training.defense, training.ctx
        with seeded(seed, "finish"):
            defense.finish(model, training.train, train_ctx)
        with seeded(seed, "self check"):
            check = defense.self_check(model, train_ctx)
        deployed = _deploy(defense, model, train_ctx, seed)
        with seeded(seed, "sanity"):
            sanity = {part: accuracy(deployed, data.part(part), ctx.device) for part in ("train", "val")}
    save_tensors(ctx.draft / "weights.safetensors", model.state_dict())
    save_tensors(ctx.draft / "extras.safetensors", flat_extras(train_ctx.extras))
    history = [printable(means) for means in train_ctx.history]
    report = {"history": history, "self_check": verdict(check, "the defense"), "sanity_accuracy": sanity}
    if chosen := training.rule.report():
        report["checkpoint"] = chosen
    text = json.dumps(report, indent=1, sort_keys=True, allow_nan=False)
    (ctx.draft / "report.json").write_text(text + "\n", encoding="utf-8")


def _training(ctx: StageContext, data: PrivateData) -> Training:
    """Build a classifier and its training, at its beginning."""
    start, public = _weights(ctx, "start"), _weights(ctx, "pretrain")
    model, defense, train_ctx = build(
        ctx.registry, ctx.payload, ctx.device, len(data.train), start=start, public=public
    )
    recipe = Recipe.model_validate(ctx.payload["recipe"])
    inputs: dict[str, Any] = {"seed": ctx.payload["seed"], "work": ctx.work, "val": data.val}
    return Training(model, defense, recipe, data.train, train_ctx, **inputs)


def _deploy(defense: Defense, model: Classifier, train_ctx: TrainContext, seed: int) -> Classifier:
    """Return what is deployed, frozen; whatever the defense draws for it is the same wherever it is loaded."""
    with seeded(seed, "inference"):
        return freeze(defense.inference(model, train_ctx))


def _data(ctx: StageContext) -> PrivateData:
    """Return the private images, split; a public pre-training takes all images that it does not validate on."""
    if "private" in ctx.node.needs:
        return load_private(ctx)
    public = load_images(ctx.registry, ctx.input("public"))
    settings = ctx.payload.get("validation", {"images": 0, "seed": 0})
    parts = hold_out(public.labels_N.tolist(), settings["images"], settings["seed"])
    train, val = (public.subset(torch.tensor(part, dtype=torch.long)) for part in (parts.train, parts.val))
    return PrivateData(train, val, public.subset(torch.arange(0)))


def _weights(ctx: StageContext, role: str) -> dict[str, Tensor] | None:
    """Return weights and extras of a training that comes before; ``None`` without one."""
    if role not in ctx.node.needs:
        return None
    artifact = ctx.input(role)
    return load_tensors(artifact.file("weights.safetensors")) | load_tensors(artifact.file("extras.safetensors"))


def build(
    registry: Registry,
    payload: Mapping[str, Any],
    device: torch.device,
    train_size: int = 1,
    *,
    start: Mapping[str, Tensor] | None = None,
    public: Mapping[str, Tensor] | None = None,
) -> tuple[Classifier, Defense, TrainContext]:
    """Make the untrained, defended classifier of a target, evaluator or pretrain payload.

    Args:
        registry: where components are found.
        payload: of the node.
        device: where to put the network.
        train_size: training images.
        start: weights and extras of the training that the defense or the recipe starts from, if there is one.
        public: weights of the public pre-training, if the recipe wants it and the defense starts from another one.
    """
    image, recipe, seed = payload["image"], Recipe.model_validate(payload["recipe"]), payload["seed"]
    num_classes = payload["classes"] if payload["stage"] == "pretrain" else len(payload["split"]["identities"])
    train_ctx = TrainContext(
        num_classes=num_classes,
        channels=image["channels"],
        size=image["size"],
        epochs=recipe.epochs,
        steps_per_epoch=max(1, train_size // recipe.batch) if recipe.drop_last else -(-train_size // recipe.batch),
        device=device,
        rng=generator(seed, "defense", "build"),
        batch=recipe.batch,
        num_images=train_size,
        start=start,
        lr=recipe.lr,
        new_optimizer=lambda parameters: make_optimizer(recipe, list(parameters)),
    )
    with seeded(seed, "defense"):
        defense = build_component(registry, "defense", payload["defense"]) if "defense" in payload else Defense()
    with seeded(seed, "init"):
        plain = build_component(registry, "model", payload["model"]).build(
            num_classes=num_classes, channels=image["channels"], size=image["size"]
        )
        pretrained = start if payload.get("start") == "pretrain" else public
        if pretrained is not None:
            load_backbone(plain, pretrained)
        model = defense.build(plain.to(device), train_ctx)
    return model.to(device), defense, train_ctx


def load_classifier(registry: Registry, artifact: Artifact, device: torch.device) -> Classifier:
    """Return the trained classifier of an artifact as it is deployed: frozen, in evaluation mode."""
    model, defense, train_ctx = build(registry, artifact.payload, device)
    model.load_state_dict(load_tensors(artifact.file("weights.safetensors")))
    extras = load_tensors(artifact.file("extras.safetensors"))
    train_ctx.extras.update({name: tensor.to(device) for name, tensor in extras.items()})
    return _deploy(defense, model, train_ctx, artifact.payload["seed"])


def accuracy(model: Classifier, images: ImageSet, device: torch.device) -> float | None:
    """Return top-1 accuracy, for a card's sanity score; ``None`` without images."""
    if not len(images):
        return None
    hits = 0
    with torch.no_grad():
        for indices_B in torch.arange(len(images)).split(256):
            predicted_B = model(images.images(indices_B).to(device)).argmax(1).cpu()
            hits += int((predicted_B == images.labels_N[indices_B]).sum())
    return hits / len(images)
