"""The target as it looks at images that judges see at a larger side than it does.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from mibench.api.classifier import Classifier, Outputs
from mibench.api.images import resize


def at_size(classifier: Classifier, size: int) -> Classifier:
    """Return a view of a classifier that resizes what it is given to the side of the protocol's images first."""
    return cast(Classifier, _AtSize(classifier, size))


class _AtSize(nn.Module):
    """Everything else is the classifier's own."""

    def __init__(self, classifier: Classifier, size: int) -> None:
        super().__init__()
        self.classifier, self.size = classifier, size
        self.train(classifier.training)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.classifier(resize(x_BCHW, self.size))
        return logits_BK

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.classifier.features(resize(x_BCHW, self.size))

    def stages(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        return self.classifier.stages(resize(x_BCHW, self.size))

    def outputs(self, x_BCHW: Tensor, *, stages: bool = False) -> Outputs:
        return self.classifier.outputs(resize(x_BCHW, self.size), stages=stages)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("classifier"), name)
