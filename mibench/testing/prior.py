"""The contract of priors: the generator that is built, and its training.

Shapes: B latents, Z noise, L style layers, W style vector, C channels, H = W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar
from unittest import SkipTest

import torch
from torch import Tensor

from mibench.api.classifier import freeze
from mibench.api.prior import BlockState, Prior, PriorTrainer, build_prior, prior_trainer
from mibench.api.rng import generator, seeded
from mibench.api.specs import Kind
from mibench.registry.build import Components
from mibench.stages.prior import load_prior
from mibench.testing.checks import global_rng_untouched, largest_difference, require, same_tensors, snapshot
from mibench.testing.component import ComponentContract
from mibench.testing.tiny_components import TinyWhiteBoxChoice
from mibench.testing.tiny_stages import TESTED, tiny_stages
from mibench.testing.training import CPU

MOST_STEPS = 50
"""A longer training is not run whole by a contract."""
PRESET = "contract"


class PriorContract(ComponentContract):
    """Subclass, set ``component`` (a ``PriorModel``) and small ``settings``, and run with pytest.

    Attributes:
        trains: the prior can be trained step by step; false for priors that only come as files.
        tolerance: how far pixels may differ between an image rendered alone and in a batch.
    """

    trains: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-4

    def build(self) -> Prior:
        """Build the untrained prior at the world's image shape; override to test a ready-made one."""
        self.require_files()
        with seeded("contract", "prior"):
            return build_prior(
                self.make(), channels=self.world.channels, size=self.world.size, classes=self.world.classes
            )

    def prior(self) -> Prior:
        """Return the prior after a single training step, frozen; what ``build`` makes may still be blank."""
        if not self.trains:
            return freeze(self.build())
        trainer = self._trainer()
        self._step(trainer, 0)
        return trainer.finish()

    def latents(self, prior: Prior, n: int = 4) -> Tensor:
        """Draw fixed latents (n, L, W)."""
        with torch.no_grad():
            return prior.to_latent(prior.sample(n, generator("contract", "latents")))

    def test_sampling_is_deterministic(self) -> None:
        """One generator seed, one noise (n, Z); another seed, another noise."""
        prior = self.prior()
        first, again, other = (prior.sample(3, generator("noise", seed)) for seed in (0, 0, 1))
        require(first.shape == (3, prior.noise_size), f"noise of shape {tuple(first.shape)}")
        require(torch.equal(first, again), "one seed gave two different noises")
        require(not torch.equal(first, other), "two seeds gave the same noise")

    def test_latents_have_their_shape(self) -> None:
        """Noise maps to finite latents (B, L, W); truncation 0 is one latent for all; a row does not see the others."""
        prior = self.prior()
        z_BZ = prior.sample(4, generator("contract", "latents"))
        with torch.no_grad():
            latent_BLW, alone, mean = (
                prior.to_latent(z_BZ),
                prior.to_latent(z_BZ[:1]),
                prior.to_latent(z_BZ, truncation=0.0),
            )
        shape = (4, prior.latent_layers, prior.latent_size)
        require(tuple(latent_BLW.shape) == shape, f"latents of shape {tuple(latent_BLW.shape)}, expected {shape}")
        require(bool(latent_BLW.isfinite().all()), "latents are not finite")
        require(largest_difference(alone, latent_BLW[:1]) <= self.tolerance, "a latent depends on its batch")
        require(largest_difference(mean, mean[:1].expand_as(mean)) <= self.tolerance, "truncation 0 leaves differences")

    def test_renders_images(self) -> None:
        """Latents render to finite float32 (B, C, H, W), the same each time, alone or batched; resized as asked."""
        prior = self.prior()
        latent_BLW = self.latents(prior)
        with torch.no_grad(), global_rng_untouched("render"):
            image_BCHW, again, alone = prior.render(latent_BLW), prior.render(latent_BLW), prior.render(latent_BLW[:1])
        right = image_BCHW.dtype == torch.float32 and image_BCHW.shape[:2] == (4, self.world.channels)
        require(right, f"rendered {image_BCHW.dtype} {tuple(image_BCHW.shape)}")
        require(bool(image_BCHW.isfinite().all()), "pixels are not finite")
        require(torch.equal(image_BCHW, again), "two renderings of one latent differ")
        require(largest_difference(alone, image_BCHW[:1]) <= self.tolerance, "an image depends on its batch")
        framed = tuple(prior.crop_and_resize(image_BCHW, self.world.size).shape[2:])
        require(framed == (self.world.size, self.world.size), f"crop_and_resize gave {framed}")

    def test_render_is_not_clamped(self) -> None:
        """Far latents render outside [0, 1], or at least are not cut off there, and have gradients."""
        prior = self.prior()
        latent_BLW = (3 * self.latents(prior)).requires_grad_(True)
        image_BCHW = prior.render(latent_BLW)
        cut = ((image_BCHW == 0) | (image_BCHW == 1)).float().mean().item()
        inside = bool(((image_BCHW >= 0) & (image_BCHW <= 1)).all())
        require(
            not inside or cut < 0.01, f"render clamps: {cut:.0%} of the pixels are exactly 0 or 1; let callers clamp"
        )
        (gradient,) = torch.autograd.grad(image_BCHW.square().sum(), latent_BLW)
        require(bool(gradient.isfinite().all()), "gradients with respect to latents are not finite")
        require(bool(gradient.flatten(1).ne(0).any(1).all()), "some latent has no gradient at all")

    def test_blocks_compose(self) -> None:
        """Running the first blocks by hand and rendering from there gives the whole rendering."""
        prior = self.prior()
        if prior.blocks == 1:
            raise SkipTest("this prior has no intermediate blocks")
        latent_BLW = self.latents(prior)
        carry: BlockState | None = None
        with torch.no_grad():
            whole = prior.render(latent_BLW)
            for index in range(prior.blocks - 1):
                carry = prior.step_block(index, latent_BLW, carry)
                apart = largest_difference(prior.render(latent_BLW, start=index + 1, carry=carry), whole)
                require(apart <= self.tolerance, f"entering at block {index + 1} differs by {apart:.2g}")

    def test_discriminator_scores_images(self) -> None:
        """A discriminator, if there is one, maps images to finite logits (B,)."""
        prior = self.prior()
        if prior.discriminator is None:
            raise SkipTest("this prior has no discriminator")
        with torch.no_grad():
            logits_B = prior.discriminator(prior.render(self.latents(prior)).clamp(0, 1))
        require(logits_B.shape == (4,) and bool(logits_B.isfinite().all()), f"logits of shape {tuple(logits_B.shape)}")

    def test_training_steps_and_resumes(self) -> None:
        """Steps report finite signals, follow no global seed, and a restored training goes on as if never stopped."""
        if not self.trains:
            raise SkipTest("this prior is not trained step by step")
        whole, first, second = self._trainer(), self._trainer(), self._trainer()
        with seeded("contract", "global", 1):
            signals = [self._step(whole, index) for index in range(min(2, whole.total_steps))]
        finite = all(math.isfinite(value) for row in signals for value in row.values())
        require(finite, f"signals are not finite: {signals}")
        self._step(first, 0)
        second.load_state(snapshot(first.state()))
        for index in range(1, len(signals)):
            self._step(second, index)
        require(same_tensors(whole.state(), second.state()), "a resumed training differs from one that went through")
        finished = whole.finish()
        frozen = not finished.training and not any(p.requires_grad for p in finished.parameters())
        require(frozen, "finish() must return the prior in evaluation mode with gradients switched off")

    def test_prior_stage(self) -> None:
        """The stage ``prior`` makes the same weights after an interruption, and loads them again as they are."""
        if not self.trains:
            raise SkipTest("this prior is not trained step by step")
        steps = self._trainer().total_steps
        if steps > MOST_STEPS:
            raise SkipTest(f"its training takes {steps} steps; settings with at most {MOST_STEPS} let the stage be run")
        guided = self.make().needs_target
        components: dict[tuple[Kind, str], type] = {("prior", TESTED): self.component}
        parts: dict[str, Any] = {"prior": self.entry()}
        if guided:  # the protocol's own prior sees no target
            components[("attack", TESTED)] = TinyWhiteBoxChoice
            parts = {"attacks": {TESTED: {"name": TESTED, "params": {"brings": f"{TESTED}/{PRESET}"}}}}
            components[("prior", TESTED)] = _with_preset(self.component, self.entry()["params"])
        with tiny_stages(self.world, components, **parts) as stages:
            artifact = stages.same_bytes(stages.cell.prior_node)
            loaded = [load_prior(Components(stages.registry), artifact, CPU) for _ in range(2)]
            latents = [self.latents(prior) for prior in loaded]
            with torch.no_grad():
                images = [prior.render(latent) for prior, latent in zip(loaded, latents, strict=True)]
        require(torch.equal(*latents) and torch.equal(*images), "a prior that is loaded twice renders otherwise")

    def _trainer(self) -> PriorTrainer:
        prior, images = self.build(), self.world.images("public")
        with seeded("contract", "trainer"):
            return prior_trainer(self.make(), prior, images, seed=0, device=CPU, target=self.world.target())

    def _step(self, trainer: PriorTrainer, index: int) -> dict[str, float]:
        with seeded("contract", "step", index):  # as the stage does it
            return trainer.step(index)


def _with_preset(component: type, values: Mapping[str, Any]) -> type:
    """Return a component with a preset of these parameters, which an attack can name."""
    presets = {**getattr(component, "presets", {}), PRESET: dict(values)}
    return type(component.__name__, (component,), {"presets": presets, "__module__": component.__module__})
