"""An identity loss under random views of crop, flip, rotation and colour, as PLG-MI has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from mibench_attacks.losses.objectives import LossName, Objective, identity_loss
from mibench_attacks.views.transforms import RandomView


@dataclass(frozen=True, kw_only=True)
class AugmentedIdentity:
    """The mean of an identity loss over random views of each image.

    Attributes:
        loss: identity loss; max_margin is the paper's, the released code also offers poincare.
        topk: number of other classes that the loss topk_margin compares with.
        views: random views averaged per step.
        crop_scale: smallest and largest area share of the views.
        flip: probability that a view is mirrored.
        rotate: largest rotation of a view in degrees.
        jitter: largest relative change of brightness and contrast of a view.

    Raises:
        UsageError: for impossible views.
    """

    loss: LossName = "max_margin"
    topk: Annotated[int, Ge(0)] = 20
    views: Annotated[int, Ge(1)] = 2
    crop_scale: tuple[float, float] = (0.8, 1.0)
    flip: Annotated[float, Ge(0), Le(1)] = 0.5
    rotate: Annotated[float, Ge(0)] = 5.0
    jitter: Annotated[float, Ge(0), Le(1)] = 0.2

    def __post_init__(self) -> None:
        self.objective()  # impossible views are refused here

    def objective(self) -> Objective:
        """Return the loss and the views that it is averaged over."""
        view = RandomView(
            scale=self.crop_scale, flip=self.flip, rotate=self.rotate, jitter=self.jitter, per_sample=True
        )
        return Objective(loss=identity_loss(self.loss, topk=self.topk), view=view, views=self.views)
