"""The group lasso of a mask, plain and adaptive: a pixel's channels vanish together or not at all.

Shapes: C channels, H = W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GroupLasso:
    """What a mask pays for the pixels that it lets through.

    Attributes:
        lam: weight of the mean group norm against the mean cross-entropy.
        ridge: weight of the mean squared group norm.
        adaptive: learn the mask twice, the second time with weights from the first.
        gamma: exponent of the adaptive weights.
    """

    lam: Annotated[float, Ge(0)] = 9.8
    ridge: Annotated[float, Ge(0)] = 0.0
    adaptive: bool = False
    gamma: Annotated[float, Gt(0)] = 1.0

    def of(self, mask_CHW: Tensor, before_HW: Tensor) -> Tensor:
        """Return the penalty of a mask; scalar.

        Args:
            mask_CHW: the mask that is learnt.
            before_HW: group norms of a first run; used by the adaptive lasso.
        """
        norms_HW, weights_HW = group_norms(mask_CHW), before_HW**self.gamma + 1e-8 if self.adaptive else 1
        return self.lam * (norms_HW / weights_HW).mean() + self.ridge * norms_HW.square().mean()


def group_norms(mask_CHW: Tensor) -> Tensor:
    """Return the Euclidean norm (H, W) of each pixel's channels; its gradient at 0 is 0."""
    norms_HW: Tensor = torch.linalg.vector_norm(mask_CHW, dim=0)
    return norms_HW
