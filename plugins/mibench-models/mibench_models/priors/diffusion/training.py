"""Training of a diffusion prior, one resumable step at a time: denoising first, then tuning by the target.

Shapes: B images of a batch, K classes, T images per class, D features, C channels, H = W pixels.
All draws of a step come from generators derived from (seed, purpose, step). The target is first asked in the first
step, and a state holds its answers about public images, so that a resumed training does not ask for them again.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.nn.functional import one_hot
from torch.optim import AdamW

from mibench.api import ImageSet, PriorTrainer, TargetView, freeze, generator
from mibench_models.priors.diffusion.prior import DiffusionPrior
from mibench_models.priors.diffusion.process import add_noise
from mibench_models.priors.parts.gradient_step import descend, finite
from mibench_models.priors.parts.pseudo_labels import draw_pairs, pseudo_labels
from mibench_models.priors.parts.target_guidance import changed, margin
from mibench_models.priors.parts.training_state import adam_state, load_adam_state, load_module_state, module_state

HIT_DECAY = 0.98
"""Decay of the moving share of samples that the target takes for their class."""


@dataclass(frozen=True, kw_only=True)
class DiffusionTraining:
    """How the denoiser is trained on pseudo-labelled public images.

    Attributes:
        top: public images per class, the ones that the target likes best.
        steps: steps of the training.
        batch: images per step.
        lr: learning rate of AdamW.
        ema: decay of the moving average of the weights.
        null: share of images that are shown without their class.
        mirror: show images mirrored half of the time.
    """

    top: Annotated[int, Ge(1)] = 30
    steps: Annotated[int, Ge(1)] = 50_000
    batch: Annotated[int, Ge(1)] = 150
    lr: Annotated[float, Gt(0)] = 1e-4
    ema: Annotated[float, Ge(0), Lt(1)] = 0.9999
    null: Annotated[float, Ge(0), Le(1)] = 0.1
    mirror: bool = True


@dataclass(frozen=True, kw_only=True)
class DiffusionTuning:
    """How the sampler is tuned towards the target.

    Attributes:
        steps: most steps of the tuning; 0 leaves it out, and the target is asked for pseudo labels only.
        batch: samples per step.
        lr: learning rate of AdamW.
        views: random changes under which the target sees each sample.
        until: the tuning rests once this share of recent samples is taken for its class.
        topk: rivals of the margin.
        feature_weight: weight of the distance of features.
    """

    steps: Annotated[int, Ge(0)] = 25_000
    batch: Annotated[int, Ge(1)] = 4
    lr: Annotated[float, Gt(0)] = 2e-4
    views: Annotated[int, Ge(1)] = 2
    until: Annotated[float, Gt(0), Le(1)] = 0.99
    topk: Annotated[int, Ge(1)] = 20
    feature_weight: Annotated[float, Ge(0)] = 1.0


class DiffusionTrainer(PriorTrainer):
    """Trains a live network whose moving average is the prior's; then tunes a few weights of that average.

    Attributes:
        total_steps: steps of both phases.
        prior: what is being trained.
    """

    def __init__(
        self,
        training: DiffusionTraining,
        tuning: DiffusionTuning,
        prior: DiffusionPrior,
        images: ImageSet,
        target: TargetView,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        """Prepare a training from its first step."""
        self.training, self.tuning, self.images, self.target = training, tuning, images, target
        self.seed, self.device = seed, device
        self.total_steps = training.steps + tuning.steps
        self.prior = prior.to(device).requires_grad_(False)
        self.live = copy.deepcopy(prior.net).requires_grad_(True)
        self.tuned = prior.net.guided()
        self.adam = AdamW(self.live.parameters(), lr=training.lr, weight_decay=0.0, fused=True)
        self.adam_tune = AdamW(self.tuned, lr=tuning.lr, weight_decay=0.0, fused=True)
        self.labelled = False
        self.features_KD: Tensor | None = None
        self.hits = torch.zeros([], device=device)

    def step(self, index: int) -> dict[str, float]:
        """Do one step of the phase that ``index`` is in.

        Returns:
            ``loss`` of denoising; or ``margin``, ``features`` (squared distance) and ``hits`` of the tuning.

        Raises:
            MibenchError: if the training diverged.
        """
        if not self.labelled:
            self.prior.pseudo_KT.copy_(
                pseudo_labels(self.target, self.images, self.training.top, device=self.device).to(self.device)
            )
            self.labelled = True
        signals = self._denoising_step(index) if index < self.training.steps else self._tuning_step(index)
        return finite(signals, index, advice="lower lr or tune_lr")

    def state(self) -> dict[str, Tensor]:
        """Return both networks, both optimisers and what the target said about public images."""
        features = {} if self.features_KD is None else {"features": self.features_KD.clone()}
        return {
            **module_state(self.live, "live"),
            **module_state(self.prior, "prior"),
            **adam_state(self.adam, "adam"),
            **adam_state(self.adam_tune, "adam_tune"),
            "hits": self.hits.clone(),
            "labelled": torch.tensor(self.labelled),
            **features,
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        load_module_state(self.live, "live", state)
        load_module_state(self.prior, "prior", state)
        load_adam_state(self.adam, "adam", state)
        load_adam_state(self.adam_tune, "adam_tune", state)
        self.hits, self.labelled = state["hits"].to(self.device), bool(state["labelled"])
        self.features_KD = state["features"].to(self.device) if "features" in state else None

    def finish(self) -> DiffusionPrior:
        """Return the prior, frozen and in evaluation mode."""
        freeze(self.prior)
        return self.prior

    def _denoising_step(self, index: int) -> dict[str, Tensor]:
        rng, training = self._rng("denoise", index), self.training
        index_B, y_B = draw_pairs(self.prior.pseudo_KT.cpu(), training.batch, rng)
        x_BCHW = self.images.images(index_B) * 2 - 1
        uniform_2B = torch.rand(2, training.batch, generator=rng)
        if training.mirror:
            x_BCHW = torch.where((uniform_2B[0] < 0.5).view(-1, 1, 1, 1), x_BCHW.flip(3), x_BCHW)
        weights_BK = one_hot(y_B, self.prior.classes) * (uniform_2B[1] >= training.null)[:, None].float()
        time_B = torch.randint(1, len(self.prior.share_T) + 1, (training.batch,), generator=rng).to(self.device)
        noise_BCHW = torch.randn(x_BCHW.shape, generator=rng).to(self.device)
        noisy_BCHW = add_noise(x_BCHW.to(self.device), noise_BCHW, self.prior.share_T[time_B - 1])
        estimate_BCHW = self.live(
            noisy_BCHW.contiguous(memory_format=torch.channels_last), time_B, weights_BK.to(self.device)
        )
        loss = (estimate_BCHW - noise_BCHW).square().mean()
        descend(self.adam, loss)
        self._update_average(index)
        return {"loss": loss.detach()}

    @torch.no_grad()
    def _update_average(self, index: int) -> None:
        decay = min(self.training.ema, (1 + index) / (10 + index))
        for average, live in zip(self.prior.net.parameters(), self.live.parameters(), strict=True):
            average.lerp_(live, 1 - decay)

    def _tuning_step(self, index: int) -> dict[str, Tensor]:
        if self.hits >= self.tuning.until:
            return {"hits": self.hits}
        rng, tuning = self._rng("tune", index), self.tuning
        y_B = torch.randint(self.prior.classes, (tuning.batch,), generator=rng)
        noise_BCHW = torch.randn(tuning.batch, *self.prior.image_shape, generator=rng).to(self.device)
        y_B = y_B.to(self.device)
        for weights in self.tuned:
            weights.requires_grad_(True)
        seen = self.prior.sample_path(noise_BCHW, one_hot(y_B, self.prior.classes).float())
        x_BCHW = (torch.cat(seen * tuning.views) + 1) / 2
        logits_BK, features_BD = self.target.logits_and_features(changed(x_BCHW, rng).clamp(0, 1))
        y_B = y_B.repeat(len(seen) * tuning.views)
        margin_B = margin(logits_BK, y_B, k=tuning.topk)
        distance_B = (features_BD - self._class_features()[y_B]).square().mean(1)
        descend(self.adam_tune, (margin_B + tuning.feature_weight * distance_B).mean())
        for weights in self.tuned:
            weights.requires_grad_(False)
        hits_B = (logits_BK.argmax(1) == y_B).float().view(tuning.views, len(seen), -1)[:, -1]
        self.hits = self.hits.lerp(hits_B.mean(), 1 - HIT_DECAY)
        return {"margin": margin_B.detach().mean(), "features": distance_B.detach().mean(), "hits": self.hits}

    @torch.no_grad()
    def _class_features(self) -> Tensor:
        """Return the mean features (K, D) of each class's pseudo-labelled images; the target is asked once."""
        if self.features_KD is None:
            rows = [self.images.images(index_T).to(self.device) for index_T in self.prior.pseudo_KT.cpu()]
            self.features_KD = torch.stack([self.target.features(x_TCHW).float().mean(0) for x_TCHW in rows])
        return self.features_KD

    def _rng(self, purpose: str, index: int) -> torch.Generator:
        return generator(self.seed, purpose, index)
