"""Stage ``measure``: one metric on a target, or on images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from mibench.nodes.files import Files
from mibench.nodes.gold import SplitName
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import DataRef, EvaluatorRefs, MadeBy, MetricEntry, ModelEntry, Ref, TargetRef
from mibench.protocol.schema import ImageShape
from mibench.protocol.split import PrivateSplit


@dataclass(frozen=True, kw_only=True)
class MeasureInputs(Inputs):
    """What the stage is given.

    Attributes:
        private: the private images.
        target: the classifier, if the metric reads it.
        evidence: the images that are judged: reconstructions, or held-out ones in their place.
        evaluators: judges by name, if the metric asks them.
        metric: the metric.
        embedder: judge that never saw the private data, if the metric asks it.
        split: which private images train, validate and test.
        split_name: which of these are held out.
        image: what the target sees, where judges see a larger side.
        gallery: pictures of the private people, if the metric looks for identities: their portraits, or all their
            images, of which it is given those that train.
        distractors: pictures of people who are neither private nor public, where the protocol has some.
    """

    stage: ClassVar = "measure"
    run: ClassVar = "mibench.stages.measure:run"
    runs: ClassVar = "metric"
    light_seconds: ClassVar = 3.0
    timed_by_component: ClassVar = True

    private: DataRef
    target: TargetRef | None = None
    evidence: Annotated[Ref, MadeBy("gold", "reconstruct")] | None = None
    evaluators: EvaluatorRefs = field(default_factory=dict)
    metric: MetricEntry
    embedder: ModelEntry | None = None
    split: PrivateSplit
    split_name: SplitName
    image: ImageShape | None = None
    gallery: DataRef | None = None
    distractors: DataRef | None = None


class MeasureFiles(Files):
    """The file of measurements."""

    def measured(self) -> dict[str, Any]:
        """Return the column family as ``group``, and the rows as ``measurements``."""
        found: dict[str, Any] = self.read_json("measurements.json")
        return found

    def write(self, group: str, rows: list[dict[str, Any]]) -> None:
        """Write them."""
        self.write_json("measurements.json", {"group": group, "measurements": rows}, indent=1)
