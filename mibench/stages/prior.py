"""Stage ``prior``: train the attacker's generator on public images, step by step, resumable; and load it again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from mibench.api.classifier import freeze
from mibench.api.data import ImageSet
from mibench.api.prior import GuidedPriorModel, Prior, PriorModel, PriorTrainer, build_prior
from mibench.api.rng import derive_seed, seeded
from mibench.api.target import Access, Ledger, TargetView
from mibench.registry.build import build_component
from mibench.registry.registry import Registry
from mibench.stages.classifier import load_classifier
from mibench.stages.context import StageContext
from mibench.stages.data import load_images
from mibench.stages.files import load_checkpoint, load_tensors, save_checkpoint, save_tensors
from mibench.store.artifact import Artifact

CHECKPOINT_SECONDS = 60.0
REPORT_SECONDS = 1.0


def run(ctx: StageContext) -> None:
    """Train the prior and save its weights."""
    component = ctx.component("prior", ctx.payload["prior"])
    images, seed = load_images(ctx.registry, ctx.input("public")), ctx.payload["seed"]
    with seeded(seed, "init"):
        prior = _build(component, ctx.payload).to(ctx.device)
    where: dict[str, Any] = {"seed": seed, "device": ctx.device}
    spent = Ledger()
    if component.needs_target:
        view = TargetView(load_classifier(ctx.registry, ctx.input("target"), ctx.device), Access.WHITE_BOX)
        trainer, spent = component.trainer(prior, images, view, **where), view.ledger
    else:
        trainer = component.trainer(prior, images, **where)
    signals = _train(trainer, spent, ctx)
    save_tensors(ctx.draft / "weights.safetensors", trainer.finish().state_dict())
    report = {"images": len(images), "steps": trainer.total_steps, "last_signals": signals}
    report |= {"spent": asdict(spent)} if component.needs_target else {}
    (ctx.draft / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _build(component: PriorModel | GuidedPriorModel, payload: Mapping[str, Any]) -> Prior:
    image = payload["image"]
    return build_prior(component, channels=image["channels"], size=image["size"], classes=payload.get("classes", 0))


def _train(trainer: PriorTrainer, spent: Ledger, ctx: StageContext) -> dict[str, float]:
    checkpoint = ctx.work / "prior.pt"
    state = load_checkpoint(checkpoint)
    first, signals = 0, {}
    if state is not None:
        trainer.load_state(state["trainer"])
        first = state["step"]
        spent.add(Ledger(**state.get("spent", {})))  # after load_state, and before it asks anything more
    saved = reported = time.monotonic()
    for index in range(first, trainer.total_steps):
        # A target that answers at random draws from torch's generators: each step has draws of its own.
        with seeded(ctx.payload["seed"], "network", index):
            signals = trainer.step(index)
        now = time.monotonic()
        if now - reported > REPORT_SECONDS or index + 1 == trainer.total_steps:
            ctx.progress(index + 1, trainer.total_steps, "steps", signals)
            reported = now
        # None after the last step: a run resumed there would have no signals to report.
        if now - saved > CHECKPOINT_SECONDS and index + 1 < trainer.total_steps:
            save_checkpoint(checkpoint, {"trainer": trainer.state(), "step": index + 1, "spent": asdict(spent)})
            saved = now
    return signals


def continue_training(
    ctx: StageContext, view: TargetView, prior: Prior, images: ImageSet, steps: int, purpose: str
) -> Prior:
    """Train a copy of a prior on, for some steps of the component that the ``prior`` input of this stage came from.

    Args:
        ctx: of a stage that has a prior.
        view: the target, for priors whose training asks it.
        prior: where to start; it is left alone.
        images: what to train on.
        steps: of the component's trainer, with fresh optimisers.
        purpose: names the draws, together with the stage's seed.
    """
    component = ctx.component("prior", ctx.input("prior").payload["prior"])
    where: dict[str, Any] = {"seed": derive_seed(ctx.payload["seed"], "train prior", purpose), "device": ctx.device}
    asked = (view,) if component.needs_target else ()
    copy = prior.clone().train().requires_grad_(True)  # as `build` makes them
    trainer: PriorTrainer = component.trainer(copy, images, *asked, **where)
    for index in range(steps):
        with seeded(where["seed"], "network", index):
            trainer.step(index)
    return freeze(trainer.finish())


def load_prior(
    registry: Registry, artifact: Artifact, device: torch.device, settings: Mapping[str, Any] | None = None
) -> Prior:
    """Return the trained prior of an artifact, frozen and deployed; ``settings`` are parameters that act only then."""
    entry = artifact.payload["prior"]
    entry = {**entry, "params": {**entry["params"], **(settings or {})}}
    component: PriorModel | GuidedPriorModel = build_component(registry, "prior", entry)
    with seeded(0, "placeholder"):
        prior = _build(component, artifact.payload)
    prior.load_state_dict(load_tensors(artifact.file("weights.safetensors")))
    freeze(prior)
    return component.deploy(prior.to(device))
