"""The attack contract: reconstruct what a target learned about each private class.

Shapes: N images delivered per class, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from mibench.api.classifier import Classifier
from mibench.api.data import ImageSet
from mibench.api.deprecated import with_old_names
from mibench.api.errors import UsageError
from mibench.api.prior import Prior
from mibench.api.prior_view import metered
from mibench.api.rng import SeedPart, generator
from mibench.api.target import Access, Ledger, TargetView


@dataclass
class ClassResult:
    """What an attack delivers for one class.

    Attributes:
        label: the attacked class.
        images_NCHW: float32 in [0, 1], best first, at the side ``ctx.size`` or at ``ctx.deliver`` if that is set; the
            core resizes the former to the latter, and quantises them to 8 bits.
        scores_N: the attack's own score of each image, higher is better; only from the target, never an evaluator.
        spent: queries and renders for this class alone.
        trace: named per-step series for flags and plots, e.g. ``{"loss": [...]}``.
    """

    label: int
    images_NCHW: Tensor
    scores_N: Tensor
    spent: Ledger
    trace: Mapping[str, Sequence[float]] = field(default_factory=dict)


Tensors = Mapping[str, Tensor]


def _make(name: str, make: Callable[[], Tensors]) -> Tensors:
    return make()


def _no_trainer(prior: Prior, images: ImageSet, steps: int, purpose: str) -> Prior:
    raise UsageError("nothing here can train a prior; run the attack through the stage `reconstruct`")


@with_old_names
@dataclass
class AttackContext:
    """What an attack may use beside the target and the prior.

    Attributes:
        seed: attack seed.
        size: side in pixels of the images that the target sees.
        channels: channels of the images to deliver.
        device: where to compute.
        public: the public images, for attacks that need auxiliary data; never private ones.
        progress: ``progress(done, total, unit, signals)`` inside a class; may be ignored.
        cached: ``cached(name, make)`` returns the tensors that ``make()`` returns and keeps them, so that a resumed
            attack does not make them again (students that were distilled, say); what making them spent stays counted.
        train_prior: ``train_prior(prior, images, steps, purpose)`` continues a prior's own training on other images and
            returns the outcome as a new, frozen prior; the purpose names its draws. What it asks the target is counted.
        evaluator: an evaluator, given only to attacks that say ``uses_evaluator``.
        deliver: larger side at which judges look at what is delivered; ``None`` where that is ``size``.
    """

    seed: int
    size: int
    channels: int
    device: torch.device
    public: ImageSet | None = None
    progress: Callable[[int, int, str, Mapping[str, float]], None] = lambda *_: None
    cached: Callable[[str, Callable[[], Tensors]], Tensors] = _make
    train_prior: Callable[[Prior, ImageSet, int, str], Prior] = _no_trainer
    evaluator: Classifier | None = None
    deliver: int | None = None

    def rng(self, *purpose: SeedPart) -> torch.Generator:
        """Return a CPU generator for a purpose, e.g. ``ctx.rng("class", 7, "crop", step)``."""
        return generator(self.seed, *purpose)


@with_old_names
class Attack(ABC):
    """An attack component: a frozen dataclass of parameters.

    Attributes:
        access: what of the target it uses; the view enforces it.
        needs_public: whether ``ctx.public`` is read; else the public images are not even loaded.
        presets: named parameter sets; one called like a protocol is that protocol's default.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    needs_public: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    def prior_choice(self) -> str | None:
        """Return ``name`` or ``name/preset`` of a prior that this attack brings; ``None`` takes the protocol's."""
        return None

    def check_prior(self, prior: Prior, num_classes: int) -> None:  # noqa: B027 - every prior may do
        """Refuse a prior that cannot serve this attack, by its structure.

        Asked when a run is planned, of an untrained prior without memory (torch's meta device), so that nothing is
        trained for an attack that cannot be. Call it in ``prepare`` as well.

        Args:
            prior: of the prior component that the attack would be given.
            num_classes: of the target.

        Raises:
            UsageError: with the setting that helps.
        """

    def uses_evaluator(self) -> bool:
        """Whether it chooses images by an evaluator, as some released code does. Such a record is never ranked."""
        return False

    @abstractmethod
    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Any:
        """Do the work that all classes share (a scored pool of candidates, say) and return it.

        Deterministic given the seed: a resumed attack calls it again.
        """

    @abstractmethod
    def reconstruct(self, label: int, shared: Any, target: TargetView, prior: Prior, ctx: AttackContext) -> ClassResult:
        """Attack one class. The result depends on the class and the seed, not on other classes or their order.

        Raises:
            ClassFailed: if there is nothing to deliver for this class; the others go on.
        """

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Return forward, backward and render counts by formula for an attack on ``num_classes`` classes.

        Exact, in images, without what the training of a prior spends. The contract suite compares it with the ledger.
        """
        raise NotImplementedError(f"{type(self).__name__} states no cost formula")


def run_attack(
    attack: Attack, classes: Sequence[int], target: TargetView, prior: Prior, ctx: AttackContext
) -> Iterator[ClassResult]:
    """Attack classes one after the other and yield their results; renders are counted in the target's ledger."""
    prior = metered(prior, target.ledger)
    shared = attack.prepare(target, prior, ctx)
    for label in classes:
        yield attack.reconstruct(label, shared, target, prior, ctx)
