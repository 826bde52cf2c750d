"""PPDG-vanilla, Peng et al., "Pseudo-Private Data Guided Model Inversion Attacks", NeurIPS 2024, low resolution.

Shapes: N candidates of a class, M of them kept, P public images, K classes, C channels, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import (
    Access,
    AttackContext,
    ClassFailed,
    ClassResult,
    ImageSet,
    Prior,
    TargetView,
    TensorImages,
    UsageError,
    derive_seed,
    to_uint8,
)
from mibench_attacks.methods.gmi import GenerativeInversion
from mibench_attacks.methods.ked_mi import DistributionalInversion
from mibench_attacks.methods.plg_mi import PseudoLabelGuided
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.selection.robust_rank import RobustRank
from mibench_attacks.views.transforms import RandomView

HostName = Literal["gmi", "ked-mi", "plg-mi"]
HOSTS: dict[HostName, type[GradientAttack]] = {
    "gmi": GenerativeInversion,
    "ked-mi": DistributionalInversion,
    "plg-mi": PseudoLabelGuided,
}
SMOKE_HOSTS: dict[HostName, dict[str, Any]] = {
    "gmi": {"prior": "dcgan/smoke", "restarts": 4, "final": 4, "steps": 5, "batch_ref": 5},
    "ked-mi": {"prior": "ked-gan/smoke", "draws": 4, "final": 4, "steps": 5},
    "plg-mi": {"prior": "plg-cgan/smoke", "restarts": 4, "final": 4, "steps": 5},
}
VIEW = RandomView(scale=(0.8, 1.0), flip=0.5, rotate=5.0, jitter=0.2)
"""Views of the ranking that chooses pseudo-private images."""


class Tuned(NamedTuple):
    """What the classes share before the last round.

    Attributes:
        prior: trained on with the pseudo-private images of all earlier rounds.
        host: what the host attack prepared with it.
    """

    prior: Prior
    host: Any


@dataclass(frozen=True, kw_only=True)
class PseudoPrivateVanilla(GradientAttack):
    """Attack all classes, add the best images to the public ones, train the GAN on with them, attack again.

    The host is an attack on a GAN that was trained here. Each round but the last attacks every class with many
    candidates, keeps the share that the target likes best under random views, and continues the GAN's own training
    on public and pseudo-private images. Deliberate differences from the released code: a training is a number of
    updates and not of passes, and its optimisers start afresh. A class for which a round finds nothing adds nothing.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; empty takes the host's.
        host: the attack of each round.
        host_preset: preset of the host: one of its own, or what the protocols orl64, rendered64 and smoke have for it.
        rounds: attacks; 1 is the host alone.
        candidates: images per class that a round before the last makes.
        keep: images per class that become pseudo-private, the best of the candidates.
        draws: random views over which the choice averages the target's confidence.
        tune_steps: steps of the GAN's training between rounds.
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless keep <= candidates.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    needs_public: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # ten passes through 30 000 public and 100 x 500 pseudo-private images, 5 batches of 64 per step (derived)
        "paper": {"host_preset": "ppdg"},
        "paper-ked": {"host": "ked-mi", "host_preset": "ppdg"},
        # a quarter is kept around PLG-MI, and its training is counted in updates there too
        "paper-plg": {"host": "plg-mi", "host_preset": "paper", "candidates": 200, "keep": 50, "tune_steps": 100},
        # for 64-pixel priors on two CPU cores
        "small": {"host_preset": "small", "candidates": 8, "keep": 4, "draws": 25, "tune_steps": 150},
    }

    host: HostName = "gmi"
    host_preset: str = "ppdg"
    rounds: Annotated[int, Ge(1)] = 2
    candidates: Annotated[int, Ge(1)] = 1000
    keep: Annotated[int, Ge(1)] = 500
    draws: Annotated[int, Ge(1)] = 100
    tune_steps: Annotated[int, Ge(1)] = 2500
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        if self.keep > self.candidates:
            raise UsageError(f"attack 'ppdg-vanilla': expected keep <= candidates, got {self.keep} > {self.candidates}")
        self._host()

    def prior_choice(self) -> str | None:
        """Return the host's prior."""
        return self.prior or self._host().prior_choice()

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Ask the host."""
        self._host().check_prior(prior, num_classes)

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Tuned:
        """Do all rounds but the last, on every class; a resumed attack finds the weights that they led to."""
        for index in range(self.rounds - 1):
            weights = ctx.cached(f"round {index}", partial(self._tune, index, target, prior, ctx))
            prior = prior.clone()
            prior.load_state_dict(dict(weights))
        return Tuned(prior, self._host().prepare(target, prior, ctx))

    def reconstruct(
        self, label: int, shared: Tuned, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Attack one class with the tuned GAN."""
        return self._host().reconstruct(label, shared.host, target, shared.prior, ctx)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images when all classes are attacked: the host's in each round, and the draws of the choices.

        Without what a guided GAN asks while it is trained on.
        """
        early, last = self._many().cost(num_classes), self._host().cost(num_classes)
        total = {name: (self.rounds - 1) * early[name] + last[name] for name in last}
        total["forward"] += (self.rounds - 1) * num_classes * self.candidates * self.draws
        return total

    def _tune(self, index: int, target: TargetView, prior: Prior, ctx: AttackContext) -> dict[str, Tensor]:
        images = _join(ctx.public, *self._pseudo_private(index, target, prior, ctx), target.num_classes)
        return ctx.train_prior(prior, images, self.tune_steps, f"round {index}").state_dict()

    def _pseudo_private(
        self, index: int, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> tuple[Tensor, Tensor]:
        host, early = self._many(), replace(ctx, seed=derive_seed(ctx.seed, "round", index), deliver=None)
        shared = host.prepare(target, prior, early)
        rank = RobustRank(keep=self.keep, draws=self.draws, view=VIEW, batch=self.batch)

        def best(label: int) -> dict[str, Tensor]:
            try:
                images_NCSS = host.reconstruct(label, shared, target, prior, early).images_NCHW
                found = rank.rank(images_NCSS, label, target, early.rng("class", label, "pseudo-private"))
            except ClassFailed:
                return {"pixels": torch.zeros(0, ctx.channels, ctx.size, ctx.size, dtype=torch.uint8)}
            return {"pixels": to_uint8(images_NCSS[found.index_M])}

        kept = [
            ctx.cached(f"round {index} class {label}", partial(best, label))["pixels"].cpu()
            for label in range(target.num_classes)
        ]
        labels = [label for label, pixels in enumerate(kept) for _ in pixels]
        return torch.cat(kept), torch.tensor(labels, dtype=torch.long)

    def _host(self) -> GradientAttack:
        known = {**protocol_presets(self.host), **HOSTS[self.host].presets}
        if self.host_preset not in known:
            raise UsageError(f"attack {self.host!r} has no preset {self.host_preset!r}; choose from {sorted(known)}")
        host = HOSTS[self.host](**known[self.host_preset])
        shared: dict[str, Any] = {name: getattr(self, name) for name in ("align", "n_aug", "noise", "batch")}
        return replace(host, **shared)

    def _many(self) -> GradientAttack:
        """Return the host with all candidates delivered."""
        number = "draws" if self.host == "ked-mi" else "restarts"
        changes: dict[str, Any] = {"final": self.candidates, number: self.candidates}
        return replace(self._host(), **changes)


def protocol_presets(host: HostName) -> dict[str, dict[str, Any]]:
    """Return what protocols have for a host, under the names that ``host_preset`` has in published records.

    An attack cannot read protocols. These stand here a second time, and a test compares them.
    """
    small = {name: value for name, value in HOSTS[host].presets["small"].items() if name != "prior"}
    return {"orl64": small, "rendered64": small, "smoke": SMOKE_HOSTS[host]}


def _join(public: ImageSet | None, pixels_MCSS: Tensor, labels_M: Tensor, classes: int) -> ImageSet:
    """Put public and pseudo-private images together; labels of public identities follow those of the classes."""
    if public is None:
        raise UsageError("attack 'ppdg-vanilla' needs public images")
    pixels = torch.cat([to_uint8(public.all_images()), pixels_MCSS])
    labels = torch.cat([public.labels_N + classes, labels_M])
    return TensorImages(pixels, labels, classes + public.num_classes)
