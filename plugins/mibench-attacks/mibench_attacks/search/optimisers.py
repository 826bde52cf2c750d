"""How a search moves: optimisers and learning-rate schedules by name of what they do.

A schedule maps (step, steps) to the factor by which the learning rate of that step is multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor
from torch.optim import SGD, Adam, Adamax, Optimizer

MakeOptimizer = Callable[[Sequence[Tensor]], Optimizer]
Schedule = Callable[[int, int], float]


def adam(lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> MakeOptimizer:
    """Adam (Kingma and Ba, 2015). PPA's betas (0.1, 0.1) have almost no memory."""
    return partial(Adam, lr=lr, betas=betas)


def adamax(lr: float) -> MakeOptimizer:
    """Adamax (Kingma and Ba, 2015), as Diff-MI uses on pixels."""
    return partial(Adamax, lr=lr)


def nesterov(lr: float, momentum: float = 0.9) -> MakeOptimizer:
    """Gradient descent with Nesterov's momentum, as GMI: ``v' = m v - lr g; z += -m v + (1 + m) v'``."""
    return partial(SGD, lr=lr, momentum=momentum, nesterov=True)


def constant(step: int, steps: int) -> float:
    """No schedule."""
    return 1.0


def at_milestones(milestones: Sequence[int], gamma: float) -> Schedule:
    """Multiply the rate by ``gamma`` after each of these numbers of steps."""
    return lambda step, steps: gamma ** sum(step >= milestone for milestone in milestones)


def ramped(*, up: float = 0.05, down: float = 0.25) -> Schedule:
    """Rise linearly over the first share ``up`` of the steps, fall with a cosine over the last share ``down``.

    Source: the latent projector of StyleGAN2 (Karras et al., CVPR 2020, appendix D).
    """

    def factor(step: int, steps: int) -> float:
        done = step / steps
        falling = min(1.0, (1.0 - done) / down)
        return (0.5 - 0.5 * math.cos(falling * math.pi)) * min(1.0, done / up)

    return factor


def cosine(step: int, steps: int) -> float:
    """Fall from 1 towards 0 along half a cosine."""
    return 0.5 + 0.5 * math.cos(math.pi * step / steps)
