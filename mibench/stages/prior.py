"""Stage ``prior``: train the attacker's generator on public images, step by step, resumable; and load it again."""

from __future__ import annotations

import json
import time

import torch

from mibench.api.classifier import freeze
from mibench.api.prior import Prior, PriorModel, PriorTrainer
from mibench.api.rng import seeded
from mibench.registry.build import build_component
from mibench.registry.registry import Registry
from mibench.stages.context import StageContext
from mibench.stages.data import load_images
from mibench.stages.files import load_checkpoint, load_tensors, save_checkpoint, save_tensors
from mibench.store.artifact import Artifact

CHECKPOINT_SECONDS = 60.0
REPORT_SECONDS = 1.0


def run(ctx: StageContext) -> None:
    """Train the prior and save its weights."""
    component: PriorModel = ctx.component("prior", ctx.payload["prior"])
    images = load_images(ctx.registry, ctx.input("public"))
    image, seed = ctx.payload["image"], ctx.payload["seed"]
    with seeded(seed, "init"):
        prior = component.build(channels=image["channels"], size=image["size"]).to(ctx.device)
    trainer = component.trainer(prior, images, seed=seed, device=ctx.device)
    signals = _train(trainer, ctx)
    save_tensors(ctx.draft / "weights.safetensors", trainer.finish().state_dict())
    report = {"images": len(images), "steps": trainer.total_steps, "last_signals": signals}
    (ctx.draft / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _train(trainer: PriorTrainer, ctx: StageContext) -> dict[str, float]:
    checkpoint = ctx.work / "prior.pt"
    state = load_checkpoint(checkpoint)
    first, signals = 0, {}
    if state is not None:
        trainer.load_state(state["trainer"])
        first = state["step"]
    saved = reported = time.monotonic()
    for index in range(first, trainer.total_steps):
        signals = trainer.step(index)
        now = time.monotonic()
        if now - reported > REPORT_SECONDS or index + 1 == trainer.total_steps:
            ctx.progress(index + 1, trainer.total_steps, "steps", signals)
            reported = now
        # None after the last step: a run resumed there would have no signals to report.
        if now - saved > CHECKPOINT_SECONDS and index + 1 < trainer.total_steps:
            save_checkpoint(checkpoint, {"trainer": trainer.state(), "step": index + 1})
            saved = now
    return signals


def load_prior(registry: Registry, artifact: Artifact, device: torch.device) -> Prior:
    """Return the trained prior of an artifact, frozen."""
    image = artifact.payload["image"]
    component: PriorModel = build_component(registry, "prior", artifact.payload["prior"])
    with seeded(0, "placeholder"):
        prior = component.build(channels=image["channels"], size=image["size"])
    prior.load_state_dict(load_tensors(artifact.file("weights.safetensors")))
    freeze(prior)
    return prior.to(device)
