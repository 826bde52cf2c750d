"""PPDG-vanilla, Peng et al., "Pseudo-Private Data Guided Model Inversion Attacks", NeurIPS 2024, low resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from annotated_types import Ge
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, FlatNames, Prior, TargetView, UsageError, build, derive_seed
from mibench_attacks.methods.gmi import GenerativeInversion
from mibench_attacks.methods.ked_mi import DistributionalInversion
from mibench_attacks.methods.plg_mi import PseudoLabelGuided
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.selection.pseudo_private import PseudoPrivateSelection, joined

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


class Tuned(NamedTuple):
    """The prior, trained on with pseudo-private images of all earlier rounds, and what the host prepared with it."""

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
        selection: of pseudo-private images.
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
    selection: Annotated[PseudoPrivateSelection, FlatNames()] = PseudoPrivateSelection()
    tune_steps: Annotated[int, Ge(1)] = 2500
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        self._host()  # an unknown preset is refused here

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
        """Count images if all classes are attacked: the host's and the choices', not those of a GAN's training."""
        early, last = self._many().cost(num_classes), self._host().cost(num_classes)
        total = {name: (self.rounds - 1) * early[name] + last[name] for name in last}
        total["forward"] += (self.rounds - 1) * num_classes * self.selection.candidates * self.selection.draws
        return total

    def _tune(self, index: int, target: TargetView, prior: Prior, ctx: AttackContext) -> dict[str, Tensor]:
        name, early = f"round {index}", replace(ctx, seed=derive_seed(ctx.seed, "round", index), deliver=None)
        found = self.selection.collect(self._many(), target, prior, early, name=name, batch=self.batch)
        images = joined(ctx.public, *found, target.num_classes)
        return ctx.train_prior(prior, images, self.tune_steps, name).state_dict()

    def _host(self, **changes: Any) -> GradientAttack:
        known = {**protocol_presets(self.host), **HOSTS[self.host].presets}
        if self.host_preset not in known:
            raise UsageError(f"attack {self.host!r} has no preset {self.host_preset!r}; choose from {sorted(known)}")
        shared = {"alignment": asdict(self.alignment), "batch": self.batch}
        settings = {**known[self.host_preset], **shared, **changes}
        return build(HOSTS[self.host], settings, owner=f"attack {self.host!r}")

    def _many(self) -> GradientAttack:
        """Return the host with all candidates delivered."""
        count = self.selection.candidates
        return self._host(**{"final": count, "draws" if self.host == "ked-mi" else "restarts": count})


def protocol_presets(host: HostName) -> dict[str, dict[str, Any]]:
    """Return what protocols have for a host, under the names that ``host_preset`` has in published records.

    An attack cannot read protocols. These stand here a second time, and a test compares them.
    """
    small = {name: value for name, value in HOSTS[host].presets["small"].items() if name != "prior"}
    return {"orl64": small, "rendered64": small, "smoke": SMOKE_HOSTS[host]}
