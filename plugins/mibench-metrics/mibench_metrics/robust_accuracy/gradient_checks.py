"""Signs that a robust accuracy should not be trusted, as values instead of log lines.

Shapes: N images, B of a batch, C channels, H = W pixels, K classes.

Source: the automatic checks of AutoAttack (``flags_doc.md`` of its repository), with its thresholds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from mibench_metrics.columns import SQUARE_GAIN
from mibench_metrics.robust_accuracy.metered import MeteredModel
from mibench_metrics.robust_accuracy.victims import EvalImages

RANDOMISED = 1e-4
PROBABILITIES = 1e-5
SAMPLE = 32


@dataclass(frozen=True)
class Checks:
    """What was found on the clean images.

    Attributes:
        randomised: whether repeated forward passes differ; the attacks then chase noise.
        probabilities: whether the outputs look like probabilities instead of logits.
        zero_gradient_fraction: share of correctly classified images whose cross-entropy has an exactly zero gradient.
    """

    randomised: bool
    probabilities: bool
    zero_gradient_fraction: float

    def details(self, square_gain: float) -> dict[str, Any]:
        """Return the values and the names of the flags they raise; ``square_gain`` is a fraction of all images."""
        raised = {
            "randomised-forward": self.randomised,
            "outputs-look-like-probabilities": self.probabilities,
            "zero-gradients": self.zero_gradient_fraction > 0,
            "square-beats-white-box": square_gain > SQUARE_GAIN,
        }
        flags = [name for name, up in raised.items() if up]
        return {**asdict(self), "square_gain": square_gain, "flags": flags}


def check_model(model: MeteredModel, victims: EvalImages, correct_N: Tensor) -> Checks:
    """Run the checks: six forward passes on a few images, and one gradient of every correctly classified image."""
    few = torch.arange(min(len(victims.images), SAMPLE))
    x_BCHW = victims.images.images(few).to(victims.device)
    return Checks(
        randomised=_is_randomised(model, x_BCHW),
        probabilities=_are_probabilities(model, x_BCHW),
        zero_gradient_fraction=_zero_gradients(model, victims, correct_N),
    )


def _is_randomised(model: MeteredModel, x_BCHW: Tensor, repeats: int = 5) -> bool:
    with torch.no_grad():
        outputs = [model(x_BCHW) for _ in range(repeats)]
    units = torch.stack([normalize(logits, eps=1e-10) for logits in outputs])
    labels = torch.stack([logits.argmax(1) for logits in outputs])
    spread = (units - units[:1]).norm(dim=2).max().item()
    return spread > RANDOMISED or bool((labels != labels[:1]).any())


def _are_probabilities(model: MeteredModel, x_BCHW: Tensor) -> bool:
    with torch.no_grad():
        out_BK = model(x_BCHW)
    in_range = out_BK.max().item() < 1 + PROBABILITIES and out_BK.min().item() > -PROBABILITIES
    return in_range and bool(((out_BK.sum(1) - 1).abs() < PROBABILITIES).all())


def _zero_gradients(model: MeteredModel, victims: EvalImages, correct_N: Tensor) -> float:
    zero = 0
    for _, x_BCHW, y_B in victims.batches(correct_N):
        x_BCHW.requires_grad_(True)
        loss = cross_entropy(model(x_BCHW), y_B, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_BCHW)
        zero += int((gradient.flatten(1).abs().amax(1) == 0).sum())
    return zero / max(int(correct_N.sum()), 1)
