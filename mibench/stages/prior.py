"""Stage ``prior``: train the attacker's generator on public images, step by step, resumable; and load it again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mibench.api.classifier import freeze
from mibench.api.data import ImageSet
from mibench.api.errors import MibenchError
from mibench.api.prior import Prior, PriorModel, PriorTrainer, build_prior, prior_trainer
from mibench.api.prior_view import metered, unmetered
from mibench.api.rng import derive_seed, seeded
from mibench.api.target import Access, Ledger, TargetView
from mibench.nodes.prior import PriorFiles, PriorInputs
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.registry.build import Components
from mibench.stages.classifier import load_classifier
from mibench.stages.context import StageContext
from mibench.stages.data import load_images
from mibench.stages.files import load_tensors, save_tensors
from mibench.store.artifact import Artifact
from mibench.training.checkpoints import load_checkpoint, save_checkpoint, set_aside
from mibench.training.signals import numbers, printable

CHECKPOINT = "prior.pt"
CHECKPOINT_SECONDS = 60.0
REPORT_SECONDS = 1.0


def run(ctx: StageContext[PriorInputs]) -> None:
    """Train the prior and save its weights."""
    images = load_images(ctx.artifact(ctx.inputs.public))
    begun = _begin(ctx, images)
    while not begun.restore(ctx.work / CHECKPOINT):
        begun = _begin(ctx, images)
    signals = _train(begun, ctx)
    with seeded(ctx.inputs.seed, "finish"):
        weights = begun.trainer.finish().state_dict()
    broken = [name for name, tensor in weights.items() if bool(tensor.isnan().any())]
    if broken:
        raise MibenchError(f"the prior's training diverged: {broken[0]} holds NaN")
    files = PriorFiles(ctx.draft)
    save_tensors(files.weights, weights)
    report = {"images": len(images), "steps": begun.trainer.total_steps, "last_signals": printable(signals)}
    report |= {} if begun.target is None else {"spent": asdict(begun.target.ledger)}
    files.write_report(report)


@dataclass
class _Begun:
    """A training of a prior: where it stands, and the target that it asks, if it needs one."""

    trainer: PriorTrainer
    target: TargetView | None
    step: int = 0

    def restore(self, checkpoint: Path) -> bool:
        """Continue from a checkpoint, if there is one; false for one that does not fit, which is set aside."""
        state = load_checkpoint(checkpoint)
        if state is None:
            return True
        try:
            self.trainer.load_state(state["trainer"])
            self.step = state["step"]
            if self.target is not None:  # after load_state, and before it asks anything more
                self.target.ledger.add(Ledger(**state["spent"]))
        except Exception as error:  # whatever the trainer raises for a state that it does not know
            set_aside([checkpoint], f"it does not fit this training ({type(error).__name__}: {error})")
            return False
        return True

    def save(self, checkpoint: Path, step: int) -> None:
        """Write a checkpoint after ``step`` steps."""
        spent = Ledger() if self.target is None else self.target.ledger
        save_checkpoint(checkpoint, {"trainer": self.trainer.state(), "step": step, "spent": asdict(spent)})


def _begin(ctx: StageContext[PriorInputs], images: ImageSet) -> _Begun:
    """Build a prior and its training, at its beginning."""
    component, seed = ctx.component("prior", ctx.inputs.prior), ctx.inputs.seed
    with seeded(seed, "init"):
        prior = _build(component, ctx.inputs).to(ctx.device)
    view = None
    if ctx.inputs.target is not None:
        view = TargetView(
            load_classifier(ctx.components, ctx.artifact(ctx.inputs.target), ctx.device), Access.WHITE_BOX
        )
    with seeded(seed, "trainer"):
        return _Begun(prior_trainer(component, prior, images, seed=seed, device=ctx.device, target=view), view)


def _build(component: PriorModel, inputs: PriorInputs) -> Prior:
    image = inputs.image
    return build_prior(component, channels=image.channels, size=image.size, classes=inputs.classes or 0)


def _train(begun: _Begun, ctx: StageContext[PriorInputs]) -> dict[str, float]:
    total, signals = begun.trainer.total_steps, {}
    saved = reported = time.monotonic()
    for index in range(begun.step, total):
        # A target that answers at random draws from torch's generators: each step has draws of its own.
        with seeded(ctx.inputs.seed, "network", index):
            signals = numbers(begun.trainer.step(index), "a signal of the prior's training")
        now = time.monotonic()
        if now - reported > REPORT_SECONDS or index + 1 == total:
            ctx.progress(index + 1, total, "steps", signals)
            reported = now
        # None after the last step: a run resumed there would have no signals to report.
        if now - saved > CHECKPOINT_SECONDS and index + 1 < total:
            begun.save(ctx.work / CHECKPOINT, index + 1)
            saved = now
    return signals


def continue_training(
    ctx: StageContext[ReconstructInputs], view: TargetView, prior: Prior, images: ImageSet, steps: int, purpose: str
) -> Prior:
    """Train a copy of a prior on, for some steps of the component that the ``prior`` input of this stage came from.

    Args:
        ctx: of a stage that has a prior.
        view: the target, for priors whose training asks it; what the outcome renders is counted there.
        prior: where to start; it is left alone.
        images: what to train on.
        steps: of the component's trainer, with fresh optimisers.
        purpose: names the draws, together with the stage's seed.
    """
    component = ctx.component("prior", PriorInputs.read(ctx.artifact(ctx.inputs.prior).payload).prior)
    seed = derive_seed(ctx.inputs.seed, "train prior", purpose)
    copy = unmetered(prior).clone().train().requires_grad_(True)  # as `build` makes them
    trainer = prior_trainer(component, copy, images, seed=seed, device=ctx.device, target=view)
    for index in range(steps):
        with seeded(seed, "network", index):
            trainer.step(index)
    return metered(freeze(trainer.finish()), view.ledger)


def load_prior(
    components: Components, artifact: Artifact, device: torch.device, settings: Mapping[str, Any] | None = None
) -> Prior:
    """Return the trained prior of an artifact, frozen and deployed; ``settings`` are parameters that act only then."""
    inputs = PriorInputs.read(artifact.payload)
    entry = replace(inputs.prior, params={**inputs.prior.params, **(settings or {})})
    component: PriorModel = components.build("prior", entry)
    with seeded(0, "placeholder"):
        prior = _build(component, inputs)
    prior.load_state_dict(load_tensors(PriorFiles(artifact.path).weights))
    freeze(prior)
    with seeded(0, "deploy"):
        return component.deploy(prior.to(device))
