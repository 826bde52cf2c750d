"""Choosing what is delivered by the target's confidence, the end of most gradient attacks.

Shapes: N images, M of them delivered, C channels, D side of delivered images,
S = protocol's side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from annotated_types import Ge
from torch import Tensor

from mibench.api import TargetView, UsageError
from mibench_attacks.selection.robust_rank import by_confidence


class Chosen(NamedTuple):
    """What is delivered, best first.

    Attributes:
        images_MCDD: float32 in [0, 1].
        scores_M: the target's confidence in each.
    """

    images_MCDD: Tensor
    scores_M: Tensor


@dataclass(frozen=True, kw_only=True)
class MostConfident:
    """Keep the images of which the target is most confident, as they are delivered.

    Attributes:
        final: images delivered per class, those of the highest target confidence.
    """

    final: Annotated[int, Ge(1)] = 5

    def check(self, found: int, *, attack: str, name: str) -> None:
        """Refuse to deliver more images than are found.

        Args:
            found: how many.
            attack: name of the attack, for the error.
            name: what the number is called there.

        Raises:
            UsageError: unless final <= found.
        """
        if self.final > found:
            raise UsageError(f"attack {attack!r}: expected final <= {name}, got {self.final} > {found}")

    def choose(self, images_NCDD: Tensor, seen_NCSS: Tensor, label: int, target: TargetView, *, batch: int) -> Chosen:
        """Return the chosen of the images; one forward pass each.

        Args:
            images_NCDD: images as they would be delivered.
            seen_NCSS: the same as the target sees them.
            label: the class.
            target: asked for its confidence.
            batch: images at once.

        Raises:
            ClassFailed: if fewer than ``final`` images have a finite confidence.
        """
        where = f"class {label}, final selection"
        ranking = by_confidence(seen_NCSS, label, target, keep=self.final, batch=batch, where=where)
        return Chosen(images_NCDD[ranking.index_M], ranking.scores_M)
