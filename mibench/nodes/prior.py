"""Stage ``prior``: the attacker's generator, trained on public images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mibench.nodes.files import ReportedFiles
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import DataRef, PriorEntry, TargetRef
from mibench.protocol.schema import ImageShape


@dataclass(frozen=True, kw_only=True)
class PriorInputs(Inputs):
    """What the stage is given.

    Attributes:
        public: the images to learn from.
        target: what the training may ask, of a prior that is guided by one.
        prior: the generator, without the parameters that only act when it attacks.
        seed: of the training.
        image: side and channels.
        classes: number of classes of that target.
    """

    stage: ClassVar = "prior"
    run: ClassVar = "mibench.stages.prior:run"
    runs: ClassVar = "prior"
    timed_by_component: ClassVar = True

    public: DataRef
    target: TargetRef | None = None
    prior: PriorEntry
    seed: int
    image: ImageShape
    classes: int | None = None


class PriorFiles(ReportedFiles):
    """The files of a prior artifact: weights and a report."""

    def spent(self) -> dict[str, int] | None:
        """Return the queries to the target that the training cost; ``None`` if it asked nothing."""
        found: dict[str, int] | None = self.report().get("spent")
        return found
