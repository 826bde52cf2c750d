"""An identity loss under random crops, as PPA has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from mibench_attacks.losses.objectives import LossName, Objective, identity_loss
from mibench_attacks.views.transforms import RandomView


@dataclass(frozen=True, kw_only=True)
class CroppedIdentity:
    """The mean of an identity loss over random crops of each image.

    Attributes:
        loss: identity loss; poincare is PPA's, the others are adaptive variants.
        topk: rivals of the loss topk_margin.
        crop_scale: smallest and largest area share of the crops.
        crop_ratio: smallest and largest width / height of the crops.
        per_sample: draw another crop for each candidate; otherwise all share one per step, as torchvision does.
        views: crops averaged per step.
        clip: clamp images to [0, 1] while optimising too; they are always clamped when delivered.

    Raises:
        UsageError: for impossible crops.
    """

    loss: LossName = "poincare"
    topk: Annotated[int, Ge(0)] = 20
    crop_scale: tuple[float, float] = (0.9, 1.0)
    crop_ratio: tuple[float, float] = (1.0, 1.0)
    per_sample: bool = False
    views: Annotated[int, Ge(1)] = 1
    clip: bool = False

    def __post_init__(self) -> None:
        self.objective()  # impossible crops are refused here, not after hours of work

    def objective(self) -> Objective:
        """Return the loss and the crops that it is averaged over."""
        view = RandomView(scale=self.crop_scale, ratio=self.crop_ratio, per_sample=self.per_sample)
        return Objective(loss=identity_loss(self.loss, topk=self.topk), view=view, views=self.views)
