"""Noise on the penultimate feature of a trained network.

Shapes: B images of a batch, K classes, D features.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from mibench.api import Classifier, Defense, ImageSet, SelfCheck, TrainContext, evaluating
from mibench_defenses.parts.wrapping import compare, keep_signals, verdict

Kind = Literal["gauss", "laplace"]


@dataclass(frozen=True, kw_only=True)
class FeatureNoise(Defense):
    """Train as usual; deploy head(feature + noise), with a noise vector drawn once or anew for every answer.

    A fixed vector changes each logit of a linear head by a constant, so it acts like another bias and hides little: a
    score attacker sees shifted, still exact answers. Fresh noise can be averaged away by asking again. Gradients pass
    through either, and an attacker with the weights reads the feature before the noise.

    Source: Chaudhuri, Guo, van der Maaten, Mahloujifar and Tygert, 2024 (Gaussian noise on features); the fixed vector
    with sd 0.1 of the DaredEVAL code (unpublished); Laplace noise: Titcombe et al., 2021 (there in split learning).

    Attributes:
        sd: standard deviation of each entry of the noise; 0 is plain training.
        relative: measure ``sd`` in units of the root mean square entry of the features of the training images.
        fixed: one vector for all images, drawn before training; else a new one for each image of each query.
        kind: distribution of the entries; both have the same standard deviation.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The DaredEVAL code, where it is called work in progress.
        "compat": {"sd": 0.1, "relative": False, "fixed": True},
    }

    sd: Annotated[float, Ge(0)] = 0.1
    relative: bool = True
    fixed: bool = True
    kind: Kind = "gauss"

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Draw the fixed vector, of unit standard deviation; the network stays as it is."""
        unit_D = unit_noise((classifier.feature_dim,), self.kind, rng=ctx.rng)
        ctx.extras["noise"] = unit_D.to(ctx.device)
        ctx.extras["scale"] = torch.tensor(self.sd, device=ctx.device)
        return classifier

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Measure the features, fix the scale of the noise, and count whose prediction it changes."""
        rms = rms_feature(model, data, ctx)
        scale = self.sd * (rms if self.relative else 1.0)
        ctx.extras["scale"].fill_(scale)
        unit = float(ctx.extras["noise"].square().mean().sqrt()) if self.fixed else 1.0
        size = scale * unit / rms if rms > 0 else 0.0
        keep_signals({"relative_noise": size, **compare(model, self.inference(model, ctx), data, ctx)}, ctx)

    def inference(self, model: Classifier, ctx: TrainContext) -> Classifier:
        """Return a classifier with the same weights whose head sees noisy features, or the plain one if sd is 0."""
        if self.sd == 0:
            return model
        scale, noise_D = (ctx.extras[name].to(ctx.device) for name in ("scale", "noise"))
        # The trained network is saved after this and must keep its head; weights are shared, not copied.
        shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
        deployed = copy.deepcopy(model, shared)
        deployed.replace_head(NoisyHead(deployed.head, scale, noise_D if self.fixed else None, self.kind))
        return deployed

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff noise of more than no size moves the answers to training images."""
        check = verdict(ctx)
        size = check.signals.get("relative_noise", 0.0)
        return SelfCheck(
            check.active and size > 0, check.signals, f"noise of {size:.3g} times the rms feature; {check.reason}"
        )


class NoisyHead(nn.Module):
    """A head that sees features plus noise.

    Args:
        head: the head that was trained.
        scale: standard deviation of the noise, a scalar tensor.
        noise_D: the fixed vector of unit standard deviation; ``None`` draws from torch's global generator.
        kind: distribution of what is drawn.
    """

    scale: Tensor
    noise_D: Tensor | None

    def __init__(self, head: nn.Module, scale: Tensor, noise_D: Tensor | None, kind: Kind) -> None:
        super().__init__()
        self.head = head
        self.kind: Kind = kind
        self.register_buffer("scale", scale)
        self.register_buffer("noise_D", noise_D)

    @property
    def extra(self) -> dict[str, Tensor]:
        """What the head inside adds to a forward pass."""
        return getattr(self.head, "extra", {})

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return logits (B, K)."""
        if self.noise_D is None:
            noise_BD = unit_noise(tuple(features_BD.shape), self.kind, device=features_BD.device)
        else:
            noise_BD = self.noise_D
        logits_BK: Tensor = self.head(features_BD + self.scale * noise_BD)
        return logits_BK


def unit_noise(
    shape: tuple[int, ...], kind: Kind, *, rng: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw independent entries of mean 0 and standard deviation 1.

    Args:
        shape: of the result.
        kind: "gauss", or "laplace" as the difference of two exponential variables.
        rng: generator on the device; torch's global one without it.
        device: of the result.
    """
    if kind == "gauss":
        return torch.randn(shape, generator=rng, device=device)
    first, second = (-torch.log1p(-torch.rand(shape, generator=rng, device=device)) for _ in range(2))
    return (first - second) / math.sqrt(2)


def rms_feature(model: Classifier, data: ImageSet, ctx: TrainContext) -> float:
    """Return the root mean square over all entries of the features of all images, in evaluation mode."""
    total, count = 0.0, 0
    with evaluating(model), torch.no_grad():
        for part_B in torch.arange(len(data)).split(max(1, ctx.batch)):
            features_BD = model.features(data.images(part_B).to(ctx.device)).double()
            total, count = total + float(features_BD.square().sum()), count + features_BD.numel()
    return math.sqrt(total / count)
