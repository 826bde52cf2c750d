"""The metric: accuracy under AutoAttack at each eps, and the median radius.

Shapes: N images, B of a batch, K classes, E values of eps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import (
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    Need,
    OmitIfDefault,
    Quantity,
    Subject,
    derive_seed,
    full_precision,
    seeded,
    without_weight_gradients,
)
from mibench_metrics.measurements import average, required
from mibench_metrics.robust_accuracy.alone import run_alone, together
from mibench_metrics.robust_accuracy.budget import PROFILES, AttackBudget, Profile
from mibench_metrics.robust_accuracy.ensemble import Ensemble
from mibench_metrics.robust_accuracy.gradient_checks import Checks, check_model
from mibench_metrics.robust_accuracy.metered import MeteredModel
from mibench_metrics.robust_accuracy.package import attack_package
from mibench_metrics.robust_accuracy.radius import median_radius
from mibench_metrics.robust_accuracy.subset import stratified
from mibench_metrics.robust_accuracy.sweep import Sweep, SweepResult
from mibench_metrics.robust_accuracy.victims import EvalImages


@dataclass(frozen=True, kw_only=True)
class RobustAccuracy(Metric):
    """Accuracy under AutoAttack's L-infinity ensemble at several eps, with work shared between them.

    ``robust_acc@<eps x 255>`` for each eps, and ``median_radius`` in units of 1/255 if the budget holds FAB-T.
    Misclassified images count as broken at every eps. Strict float32. Source: Croce & Hein, ICML 2020.

    Attributes:
        eps: ascending L-infinity radii, [0, 1] units.
        profile: named budget of the attacks; results of different profiles are not comparable.
        split: which private images to attack; the AT-AT paper attacks the training split.
        max_images: attack a stratified part of at most this many images; ``None`` attacks all.
        batch: images per batch, speed and memory only; ``None`` is 32 on a CPU (caches) and 250 elsewhere.
        assume_monotone: attack at the largest eps first and trust that what survives there survives below.
        apgd_ce_iterations: replaces the profile's number.
        apgd_t_targets: replaces the profile's number.
        apgd_t_iterations: replaces the profile's number.
        fab_targets: replaces the profile's number.
        fab_iterations: replaces the profile's number.
        square_queries: replaces the profile's number.
        stand_alone: also run every attack alone, at every eps: ``robust_acc_alone/<attack>/<eps x 255>``, and the mean
            rise of the cross-entropy in nats, ``loss_rise/<attack>/<eps x 255>`` and, each image as delivered by the
            first attack that breaks it, ``loss_rise/<eps x 255>``. It costs as much as the sweep would without sharing.
    """

    eps: tuple[float, ...] = (0.25 / 255, 0.5 / 255, 1 / 255, 2 / 255)
    profile: Profile = "fast"
    split: Literal["heldout", "train"] = "heldout"
    max_images: Annotated[int, Ge(1)] | None = 1000
    batch: Annotated[int, Ge(1)] | None = None
    assume_monotone: bool = False
    apgd_ce_iterations: Annotated[int, Ge(0)] | None = None
    apgd_t_targets: Annotated[int, Ge(0)] | None = None
    apgd_t_iterations: Annotated[int, Ge(0)] | None = None
    fab_targets: Annotated[int, Ge(0)] | None = None
    fab_iterations: Annotated[int, Ge(0)] | None = None
    square_queries: Annotated[int, Ge(0)] | None = None
    stand_alone: Annotated[bool, OmitIfDefault()] = False

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # Its code attacks what the training loader yields (augmented, shuffled, without the last partial batch), each
        # eps on its own. Here it is the clean gallery, and what breaks at a smaller eps counts as broken.
        "atat-paper": {
            "profile": "paper-compat",
            "eps": (1e-5, 5e-4, 2.5e-3, 3.1e-2),
            "split": "train",
            "max_images": None,
        },
    }

    def __post_init__(self) -> None:
        if not self.eps or list(self.eps) != sorted(set(self.eps)) or not 0 < self.eps[0] <= self.eps[-1] <= 1:
            raise ValueError(f"eps must be ascending radii in (0, 1], e.g. 0.001,0.002; got {self.eps}")

    def budget(self, num_classes: int) -> AttackBudget:
        """Return what the attacks may spend on a classifier of so many classes."""
        return PROFILES[self.profile].overridden(self._overrides()).fitted(num_classes)

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return one measurement per eps, ascending, then the median radius, then what attacks do alone if asked for.

        Raises:
            MibenchError: if there is no target, no image, or no AutoAttack installed.
        """
        target = required(evidence.target, "the target", "robust-accuracy").to(ctx.device).eval()
        images = required(
            evidence.heldout if self.split == "heldout" else evidence.gallery, "images", "robust-accuracy"
        )
        chosen_N = stratified(images.labels_N, self.max_images)
        batch = self.batch or (32 if ctx.device.type == "cpu" else 250)
        victims = EvalImages(images.subset(chosen_N), batch, ctx.device)
        seed = derive_seed(ctx.seed, "robust-accuracy")
        with seeded(seed), full_precision(), without_weight_gradients(target):
            model = MeteredModel(target)
            correct_N = _correct(model, victims)
            checks = check_model(model, victims, correct_N)
            ensemble = Ensemble(model, attack_package(), self.budget(model.num_classes), seed, ctx.device)
            result = self._attack(ensemble, victims, correct_N, ctx)
            report = self._report(result, checks, ensemble, victims, correct_N)
            return report + (self._alone(ensemble, victims, correct_N, ctx) if self.stand_alone else [])

    def _overrides(self) -> dict[str, int]:
        chosen = {name: getattr(self, name) for name in AttackBudget.__dataclass_fields__}
        return {name: value for name, value in chosen.items() if value is not None}

    def _attack(self, ensemble: Ensemble, victims: EvalImages, correct_N: Tensor, ctx: MetricContext) -> SweepResult:
        done = 0

        def tick(signals: Any) -> None:
            nonlocal done
            done += 1
            ctx.progress(done, sweep.stages(), "attacks", signals)

        sweep = Sweep(ensemble, self.eps, self.assume_monotone, tick)
        return sweep.run(victims, correct_N)

    def _report(
        self, result: SweepResult, checks: Checks, ensemble: Ensemble, victims: EvalImages, correct_N: Tensor
    ) -> list[Measurement]:
        labels_N, classes = victims.images.labels_N, victims.images.num_classes
        common = self._details(ensemble, correct_N)
        radius: list[Measurement] = []
        if result.radii_N is not None:
            radius = [median_radius(result.radii_N, labels_N, classes, {**common, **checks.details(0.0)})]
            common["median_radius"] = radius[0].value
        made = []
        for eps, robust_N, broken in zip(self.eps, result.robust_EN, result.broken, strict=True):
            gain = broken.get("square", 0) / len(correct_N) if len(broken) > 1 else 0.0
            details = {"eps": eps, "broken": broken, **common, **checks.details(gain)}
            quantity = Quantity(role="robust_accuracy", base="robust_acc", radius=eps)
            made.append(average(quantity, robust_N, labels_N, classes, higher_is_better=True, details=details))
        return made + radius

    def _alone(
        self, ensemble: Ensemble, victims: EvalImages, correct_N: Tensor, ctx: MetricContext
    ) -> list[Measurement]:
        passed, total = 0, -(-int(correct_N.sum()) // victims.batch)

        def tick() -> None:
            nonlocal passed
            passed += 1
            ctx.progress(passed, total, "batches, each attack alone", {})

        found = run_alone(ensemble, self.eps, victims, correct_N, tick)
        labels_N, classes, made = victims.images.labels_N, victims.images.num_classes, []
        for eps, alone in zip(self.eps, found, strict=True):
            rises = {name: one.rise_N for name, one in alone.items()}
            rises |= {"": together(alone)} if alone else {}
            for attack, one in alone.items():
                robust = Quantity(role="robust_accuracy", base="robust_acc_alone", attack=attack, radius=eps)
                name = _name(robust)
                made.append(average(robust, one.robust_N, labels_N, classes, higher_is_better=True, name=name))
            for attack, rise_N in rises.items():
                rise = Quantity(base="loss_rise", attack=attack, radius=eps)
                told: dict[str, Any] = {"unit": "nats", "name": _name(rise)}
                made.append(average(rise, rise_N, labels_N, classes, higher_is_better=False, **told))
        return made

    def _details(self, ensemble: Ensemble, correct_N: Tensor) -> dict[str, Any]:
        return {
            "profile": self.profile,
            "overridden": sorted(self._overrides()),
            "budget": asdict(ensemble.budget),
            "package": f"{ensemble.package.name} {ensemble.package.version}",
            "norm": "Linf",
            "precision": "float32, TF32 off",
            "split": self.split,
            "n": len(correct_N),
            "clean_accuracy": correct_N.double().mean().item(),
            "assume_monotone": self.assume_monotone,
            "passes": {"forward": ensemble.model.forward, "backward": ensemble.model.backward},
        }


def _name(quantity: Quantity) -> str:
    """Return the name of a column of one attack alone, in which the radius comes last."""
    radius = f"{(quantity.radius or 0.0) * 255:.4g}"
    return "/".join(filter(None, (quantity.base, quantity.attack, radius)))


def _correct(model: MeteredModel, victims: EvalImages) -> Tensor:
    correct_N = torch.zeros(len(victims.images), dtype=torch.bool)
    with torch.no_grad():
        for index_B, x_BCHW, y_B in victims.batches(victims.all_mask()):
            correct_N[index_B] = (model(x_BCHW).argmax(1) == y_B).cpu()
    return correct_N
