"""What defenses share that answer around a trained network: a classifier around another, and what it changed.

Shapes: B images of a batch, C channels, H = W pixels, K classes, M images of a sample.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mibench.api import Classifier, ImageSet, Outputs, SelfCheck, TrainContext, evaluating

CHECKED = 128
"""Most training images on which a deployed network is compared with the plain one."""
ACTIVE_ABOVE = 1e-3
"""Mean total variation between plain and deployed answers from which a defense counts as active."""


class WrappedClassifier(Classifier):
    """A classifier around another one. Override ``outputs``; network, head, stages and sizes are the inner one's.

    Nothing is copied: both share the modules, so a head that is replaced here is replaced there.

    Args:
        inner: what answers underneath.
    """

    def __init__(self, inner: Classifier) -> None:
        super().__init__(**same_adapter(inner))
        self.mean_C11, self.std_C11 = inner.mean_C11, inner.std_C11  # on the inner one's device
        self.inner = inner

    def outputs(self, x_BCHW: Tensor, *, stages: bool = False) -> Outputs:
        """Run the inner classifier."""
        return self.inner.outputs(x_BCHW, stages=stages)


def same_adapter(classifier: Classifier) -> dict[str, Any]:
    """Return the arguments of a ``Classifier`` around the same body: nothing is copied."""
    return {
        "body": classifier.body,
        "head": classifier.head_path,
        "stage_names": classifier.stage_names,
        "mean": classifier.mean_C11.flatten().tolist(),
        "std": classifier.std_C11.flatten().tolist(),
        "input_size": classifier.input_size,
        "channels": classifier.channels,
        "aux_weight": classifier.aux_weight,
    }


def compare(plain: Classifier, deployed: Classifier, data: ImageSet, ctx: TrainContext) -> dict[str, float]:
    """Compare the answers of two classifiers on at most ``CHECKED`` images, spread evenly over the data.

    Returns:
        ``changed``: share of predictions that differ; ``shift``: mean total variation between the probabilities; and of
        both, with ``_before`` and ``_after``, what ``describe`` tells.
    """
    picked_M = torch.linspace(0, len(data) - 1, min(len(data), CHECKED)).long()
    with evaluating(plain, deployed), torch.no_grad():
        pairs = []
        for part_B in picked_M.split(max(1, ctx.batch)):
            x_BCHW = data.images(part_B).to(ctx.device)
            pairs.append((plain(x_BCHW).double().softmax(1), deployed(x_BCHW).double().softmax(1)))
    before_MK, after_MK = (torch.cat(side) for side in zip(*pairs, strict=True))
    return {
        "changed": float((before_MK.argmax(1) != after_MK.argmax(1)).double().mean()),
        "shift": float((before_MK - after_MK).abs().sum(1).mean() / 2),
        **{f"{name}_before": value for name, value in describe(before_MK).items()},
        **{f"{name}_after": value for name, value in describe(after_MK).items()},
    }


def describe(p_MK: Tensor) -> dict[str, float]:
    """Return mean top confidence, mean entropy in nats, and dispersion of probability vectors.

    The dispersion is the mean squared distance of a vector to the mean of those with the same predicted class.
    """
    predicted_MK = one_hot(p_MK.argmax(1), p_MK.shape[1]).to(p_MK)
    means_KK = predicted_MK.T @ p_MK / predicted_MK.sum(0).clamp(min=1)[:, None]
    return {
        "confidence": float(p_MK.max(1).values.mean()),
        "entropy": float(torch.special.entr(p_MK).sum(1).mean()),
        "dispersion": float((p_MK - predicted_MK @ means_KK).square().sum(1).mean()),
    }


def keep_signals(signals: dict[str, float], ctx: TrainContext) -> None:
    """Keep numbers that were measured in ``finish`` for ``self_check``."""
    for name, value in signals.items():
        ctx.extras[f"check.{name}"] = torch.tensor(value, dtype=torch.float64)


def verdict(ctx: TrainContext) -> SelfCheck:
    """Judge by the numbers kept: active iff the answers moved by ``ACTIVE_ABOVE`` or more."""
    kept = {name: float(value) for name, value in ctx.extras.items() if name.startswith("check.")}
    signals = {name.removeprefix("check."): value for name, value in kept.items()}
    shift, changed = signals.get("shift", 0.0), signals.get("changed", 0.0)
    reason = f"answers to training images move by {shift:.3g} (mean total variation; active from {ACTIVE_ABOVE:g})"
    return SelfCheck(shift >= ACTIVE_ABOVE, signals, f"{reason}; {changed:.1%} of the predictions change")


def draw_seed(ctx: TrainContext) -> Tensor:
    """Draw a seed from the context's generator as a tensor, which can be kept in ``ctx.extras``."""
    return torch.randint(2**62, (), generator=ctx.rng)
