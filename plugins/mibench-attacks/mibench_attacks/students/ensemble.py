"""LOMMA's identity loss: the target and students of it, under a logit loss with a feature regulariser.

Shapes: B images of a batch, C channels, S = protocol's side, K classes, D features of the target.
Source: Nguyen et al., "Re-thinking Model Inversion Attacks Against Deep Neural Networks" (LOMMA, CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from mibench.api import TargetView
from mibench_attacks.losses.objectives import ce, logit
from mibench_attacks.search.gan_inversion import PerImageLoss


@dataclass(frozen=True, kw_only=True)
class EnsembleObjective:
    """``mean over models of -l_y + lam mean_j (f_j - mu_j)^2``, beside the discriminator's loss.

    Attributes:
        logit: use the logit loss with feature regulariser; otherwise it is the cross-entropy.
        augment: average over students too.
        lam: weight of the feature regulariser.
        id_weight: weight of the identity loss beside the discriminator's term.
    """

    logit: bool = True
    augment: bool = True
    lam: Annotated[float, Ge(0)] = 1.0
    id_weight: Annotated[float, Ge(0)] = 100.0

    def of_class(
        self, label: int, target: TargetView, students: Sequence[nn.Module], mean_D: Tensor | None
    ) -> PerImageLoss:
        """Return the identity loss of framed images as one class, without its weight.

        Args:
            label: the class.
            target: asked for logits and features of each image.
            students: asked for logits.
            mean_D: mu; ``None`` for no regulariser.
        """
        of_logits = logit if self.logit else ce

        def identity(x_BCSS: Tensor) -> Tensor:
            y_B = torch.full((len(x_BCSS),), label, device=x_BCSS.device)
            logits_BK, features_BD = target.logits_and_features(x_BCSS)
            models = [logits_BK, *(student(x_BCSS) for student in students)]
            loss_B = torch.stack([of_logits(model_BK, y_B) for model_BK in models]).mean(0)
            if not self.logit or mean_D is None:
                return loss_B
            return loss_B + self.lam * (features_BD.float() - mean_D).square().mean(1)

        return identity
