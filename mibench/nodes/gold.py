"""Stage ``gold``: held-out private images, or second portraits, to be measured like reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from mibench.nodes.files import EvidenceFiles
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import DataRef, Named
from mibench.protocol.split import PrivateSplit

SplitName = Annotated[Literal["test", "val"], Named("part")]
"""Which of the held-out images are measured."""


@dataclass(frozen=True, kw_only=True)
class GoldInputs(Inputs):
    """What the stage is given.

    Attributes:
        private: the images; portraits are held out as they are.
        split: which of them train, validate and test.
        split_name: which of these are held out.
        attacked: the classes, where they are not all.
    """

    stage: ClassVar = "gold"
    run: ClassVar = "mibench.stages.reconstruct:run_gold"
    light_seconds: ClassVar = 1.0

    private: DataRef
    split: PrivateSplit
    split_name: SplitName
    attacked: list[int] | None = None


class GoldFiles(EvidenceFiles):
    """The file of held-out images."""
