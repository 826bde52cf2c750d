"""The model as the attacks see it: counted, float32, always differentiable.

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mibench.api import Classifier


class MeteredModel:
    """Maps images in [0, 1] to logits and counts the images that pass.

    Attributes:
        forward: images passed through the model so far.
        backward: images whose gradient was taken so far.
        num_classes: K, as wide as the output is; 0 before the first pass.
    """

    def __init__(self, model: Classifier) -> None:
        self._model = model
        self.num_classes = 0
        self.forward = 0
        self.backward = 0

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return logits (B, K) as a fresh float32 tensor (Square overwrites what it gets)."""
        self.forward += len(x_BCHW)
        logits_BK: Tensor = self._model(x_BCHW).float().clone()
        self.num_classes = logits_BK.shape[1]
        if x_BCHW.requires_grad and torch.is_grad_enabled():
            if not logits_BK.requires_grad:
                # A model that cuts the graph has a zero gradient; the attacks would stop with an error instead.
                logits_BK = logits_BK + 0 * x_BCHW.flatten(1).sum(1, keepdim=True)
            logits_BK.register_hook(self._count)
        return logits_BK

    def _count(self, gradient_BK: Tensor) -> None:
        self.backward += len(gradient_BK)
