"""Stages ``target`` and ``evaluator``: train a classifier, and load it again as it is deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mibench.api.classifier import Classifier, freeze
from mibench.api.data import ImageSet
from mibench.api.defense import Defense, TrainContext
from mibench.api.precision import full_precision
from mibench.api.rng import generator, seeded
from mibench.protocol.schema import Recipe
from mibench.registry.registry import Registry
from mibench.stages.context import StageContext, build_component
from mibench.stages.data import load_private
from mibench.stages.files import load_tensors, save_tensors
from mibench.stages.train import Training
from mibench.store.artifact import Artifact


def run(ctx: StageContext) -> None:
    """Train a classifier and save its weights, its history and the defense's own verdict."""
    data = load_private(ctx)
    with full_precision():
        model, defense, train_ctx = build(ctx.registry, ctx.payload, ctx.device, train_size=len(data.train))
        recipe = Recipe.model_validate(ctx.payload["recipe"])
        training = Training(model, defense, recipe, data.train, train_ctx, seed=ctx.payload["seed"], work=ctx.work)
        training.run(ctx.progress)
        check = defense.self_check(model, train_ctx)
        deployed = freeze(defense.inference(model, train_ctx))
        sanity = {part: accuracy(deployed, data.part(part), ctx.device) for part in ("train", "val")}
    save_tensors(ctx.draft / "weights.safetensors", model.state_dict())
    save_tensors(ctx.draft / "extras.safetensors", flat_extras(train_ctx.extras))
    report = {
        "history": train_ctx.history,
        "self_check": {"active": check.active, "signals": dict(check.signals), "reason": check.reason},
        "sanity_accuracy": sanity,
    }
    (ctx.draft / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def build(
    registry: Registry, payload: Mapping[str, Any], device: torch.device, *, train_size: int
) -> tuple[Classifier, Defense, TrainContext]:
    """Make the untrained, defended classifier of a target or evaluator payload."""
    image, recipe, seed = payload["image"], payload["recipe"], payload["seed"]
    num_classes = len(payload["split"]["identities"])
    train_ctx = TrainContext(
        num_classes=num_classes,
        channels=image["channels"],
        size=image["size"],
        epochs=recipe["epochs"],
        steps_per_epoch=-(-train_size // recipe["batch"]),
        device=device,
        rng=generator(seed, "defense", "build"),
    )
    defense = build_component(registry, "defense", payload["defense"]) if "defense" in payload else Defense()
    with seeded(seed, "init"):
        plain = build_component(registry, "model", payload["model"]).build(
            num_classes=num_classes, channels=image["channels"], size=image["size"]
        )
        model = defense.build(plain, train_ctx)
    return model.to(device), defense, train_ctx


def load_classifier(registry: Registry, artifact: Artifact, device: torch.device) -> Classifier:
    """Return the trained classifier of an artifact as it is deployed: frozen, in evaluation mode."""
    model, defense, train_ctx = build(registry, artifact.payload, device, train_size=1)
    model.load_state_dict(load_tensors(artifact.file("weights.safetensors")))
    train_ctx.extras |= load_tensors(artifact.file("extras.safetensors"))
    deployed = defense.inference(model, train_ctx)
    freeze(deployed)
    return deployed


def flat_extras(extras: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors among a defense's extras, and the weights of its modules as ``name.parameter``."""
    flat = {name: value for name, value in extras.items() if isinstance(value, Tensor)}
    for name, value in extras.items():
        if isinstance(value, nn.Module):
            flat |= {f"{name}.{key}": tensor for key, tensor in value.state_dict().items()}
    return flat


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
