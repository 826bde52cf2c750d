"""Does a network do what it is said to do? Its accuracy on held-out photographs, and under other readings of it.

Shapes: N images, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mibench.api.errors import MibenchError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mibench.api.classifier import Model

GOOD, SURE = 0.5, 0.9
"""Accuracy below which nothing is attacked, and from which no other reading is tried."""
BETTER = 0.15
"""How much better another reading has to be to be the right one."""
REORDERED = 0.8
"""Accuracy from which an order of classes that was found from the same images is believed."""
MOST = 600


@dataclass(frozen=True)
class Sanity:
    """What a check found.

    Attributes:
        accuracy: share of held-out photographs that the network knows, as it was described.
        images: how many it was asked about.
        better: the reading under which it is better, and how good it is then; ``None`` if there is none.
    """

    accuracy: float
    images: int
    better: tuple[str, float] | None = None

    def require(self, *, anyway: bool = False) -> None:
        """Refuse a network that does not do what it is said to do.

        Args:
            anyway: go on whatever was found.

        Raises:
            UsageError: naming what fits better, if anything does.
        """
        if anyway or (self.accuracy >= GOOD and self.better is None):
            return
        told = f"the network knows {self.accuracy:.0%} of {self.images} held-out photographs of the private people"
        if self.better is not None:
            words, accuracy = self.better
            raise UsageError(f"{told}, and {accuracy:.0%} if it is read otherwise: {words}.")
        raise UsageError(
            f"{told}, and no other usual reading helps (channel order, [0, 255], other mean and deviation, classes in"
            " another order). Are these the right weights, and are faces cut out here as in training? --any-accuracy"
            " goes on nevertheless."
        )


def check_network(
    model: Model, images_NCHW: Tensor, labels_N: Tensor, names: Sequence[str], device: torch.device
) -> Sanity:
    """Measure a network's accuracy; if it is low, also under the other usual ways to read it.

    Args:
        model: it, as it was described.
        images_NCHW: held-out photographs in [0, 1].
        labels_N: whose they are.
        names: of the classes.
        device: where to compute.

    Raises:
        UsageError: if it cannot be built so, or answers with probabilities where logits were announced.
        DataError: if a file is missing or damaged.
    """
    predicted_N = _predictions(model, images_NCHW, len(names), device, announced=True)
    stated = _share(predicted_N, labels_N)
    if stated >= SURE:
        return Sanity(stated, len(labels_N))
    found: dict[str, float] = {}
    for words, other in [("", model), *model.other_readings().items()]:
        try:
            answers_N = predicted_N if not words else _predictions(other, images_NCHW, len(names), device)
        except MibenchError:  # a reading that the network does not take at all
            continue
        found[words] = _share(answers_N, labels_N)
        order = _reorder(answers_N, labels_N, len(names))
        share = _share(order[labels_N], answers_N)
        if share >= REORDERED and share > found[words] + BETTER:
            told = ", ".join(f"output {int(order[k])} is {names[k]!r}" for k in range(min(3, len(names))))
            how = f"its outputs are in another order than the folders ({told} ...): state theirs with --classes FILE"
            found[f"{words}, and {how}" if words else how] = share
    return Sanity(stated, len(labels_N), _best(found, stated))


def _best(found: Mapping[str, float], stated: float) -> tuple[str, float] | None:
    """Return the best other reading, of equals the simplest, if it is good and clearly better than what was stated."""
    others = [(-share, len(words), words) for words, share in found.items() if words]
    if not others:
        return None
    share, _, words = min(others)
    return (words, -share) if -share >= max(GOOD, stated + BETTER) else None


def _predictions(
    model: Model, images_NCHW: Tensor, classes: int, device: torch.device, *, announced: bool = False
) -> Tensor:
    import torch

    from mibench.api.classifier import freeze
    from mibench.api.rng import seeded

    channels, side = images_NCHW.shape[1], images_NCHW.shape[-1]
    with seeded("audit", "check"), torch.no_grad():
        built = freeze(model.build(num_classes=classes, channels=channels, size=side).to(device))
        logits_NK = torch.cat([built(batch.to(device)).float().cpu() for batch in images_NCHW.split(64)])
    if announced:
        _check_answers(logits_NK, getattr(model, "outputs", ""))
    return logits_NK.argmax(1)


def _check_answers(logits_NK: Tensor, announced: str) -> None:
    if not bool(logits_NK.isfinite().all()):
        raise UsageError("the network answers with numbers that are not finite on photographs of the private people")
    sums_N = logits_NK.sum(1)
    if announced == "logits" and bool((logits_NK >= 0).all()) and bool(((sums_N - 1).abs() < 1e-3).all()):
        raise UsageError("the network answers with probabilities, not logits: say --outputs probabilities")


def _share(predicted_N: Tensor, labels_N: Tensor) -> float:
    return float((predicted_N == labels_N).float().mean())


def _reorder(predicted_N: Tensor, labels_N: Tensor, classes: int) -> Any:
    """Return for each class the output that answers for it most often, no output for two; greedy, largest first."""
    import torch

    counts_KK = torch.zeros(classes, classes, dtype=torch.long)
    counts_KK.index_put_((labels_N, predicted_N), torch.ones_like(labels_N), accumulate=True)
    order_K = torch.full((classes,), -1)
    left = set(range(classes))
    for place in counts_KK.flatten().argsort(descending=True, stable=True).tolist():
        label, output = divmod(place, classes)
        if int(order_K[label]) < 0 and output in left:
            order_K[label] = output
            left.discard(output)
    return order_K
