"""The stages of IF-GMI in which features between a generator's blocks are searched, as parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mibench.api import UsageError


@dataclass(frozen=True, kw_only=True)
class FeatureSearch:
    """The stages after the search of w alone; stage i searches the features that enter block i too.

    Attributes:
        steps: updates of each candidate in stages 1, 2, ...; stage i enters block i.
        radii: radius of the L1 balls of w and of the features in stages 0, 1, ...; empty for no balls.
        choose: stage that is delivered, for each class: 'target' the one whose images the target likes best under
            random views, 'last', or 'parity' the most accurate by an evaluator (the released code chooses so, once for
            all classes; such a record is not ranked).

    Raises:
        UsageError: for negative numbers, or if there are radii but not for every stage.
    """

    steps: tuple[int, ...] = (10, 10, 10)
    radii: tuple[float, ...] = (1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0, 8000.0, 8000.0)
    choose: Literal["target", "last", "parity"] = "target"

    def __post_init__(self) -> None:
        if min((0, *self.steps, *self.radii)) < 0:
            got = f"feature_steps {self.steps}, radii {self.radii}"
            raise UsageError(f"attack 'if-gmi': expected no negative steps and radii, got {got}")
        if self.radii and len(self.radii) < self.count:
            raise UsageError(
                f"attack 'if-gmi': expected radii for {self.count} stages (or none), got {len(self.radii)}"
            )

    @property
    def count(self) -> int:
        """Number of stages, that of w alone included."""
        return 1 + len(self.steps)
