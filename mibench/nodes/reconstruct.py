"""Stage ``reconstruct``: what an attack makes of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mibench.nodes.files import EvidenceFiles
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import AttackEntry, DataRef, EvaluatorRefs, PriorRef, TargetRef, fields_of
from mibench.protocol.schema import ImageShape, QueryBudget


@dataclass(frozen=True, kw_only=True)
class ReconstructInputs(Inputs):
    """What the stage is given.

    Attributes:
        target: what is attacked.
        prior: the attacker's generator.
        public: images that the attack reads, if it does.
        evaluators: judges by name, if the attack chooses by one.
        attack: the attack.
        seed: of the attack.
        image: side and channels, and the side at which it delivers.
        budget: the most it may spend on each class.
        deploy: parameters of the prior that only act when it attacks.
        attacked: the classes, where they are not all.
    """

    stage: ClassVar = "reconstruct"
    run: ClassVar = "mibench.stages.reconstruct:run"
    runs: ClassVar = "attack"
    timed_by_component: ClassVar = True

    target: TargetRef
    prior: PriorRef
    public: DataRef | None = None
    evaluators: EvaluatorRefs = field(default_factory=dict)
    attack: AttackEntry
    seed: int
    image: ImageShape
    budget: QueryBudget
    deploy: Mapping[str, Any] | None = None
    attacked: list[int] | None = None

    @property
    def judge(self) -> str | None:
        """Name of the evaluator that the attack chooses by."""
        return min(self.evaluators, default=None)


class ReconstructFiles(EvidenceFiles):
    """The files of reconstructions: images, what they cost, and how the attack went."""

    def ledger(self) -> dict[str, Any]:
        """Return what was spent."""
        found: dict[str, Any] = self.read_json("ledger.json")
        return found

    def trace(self) -> dict[str, dict[str, list[float | None]]]:
        """Return series by class and name; ``None`` is a step that was not finite."""
        found: dict[str, dict[str, list[float | None]]] = self.read_json("trace.json")
        return found

    def failed(self) -> list[int]:
        """Return the classes without images, because the attack failed on them."""
        return sorted(int(label) for label in self.ledger().get("failed", {}))

    def write_ledger(self, ledger: Mapping[str, Any]) -> None:
        """Write what was spent."""
        self.write_json("ledger.json", ledger)

    def write_trace(self, trace: Mapping[str, Any]) -> None:
        """Write the series."""
        self.write_json("trace.json", trace)


@dataclass(frozen=True)
class ReconstructWork:
    """The checkpoints of an attack.

    Attributes:
        folder: where they lie.
    """

    folder: Path

    @property
    def shared(self) -> Path:
        """What the work for all classes spent."""
        return self.folder / "shared.json"

    def images(self, label: int) -> Path:
        """Images and scores of a class that is done."""
        return self.folder / f"class_{label:05d}.safetensors"

    def info(self, label: int) -> Path:
        """What else is known of that class; it seals the images."""
        return self.images(label).with_suffix(".json")


def evaluator_role(name: str) -> str:
    """Return the role of an evaluator, as ledgers and records state it.

    >>> evaluator_role("judge")
    'evaluator:judge'
    """
    (field,) = (one for one in fields_of(ReconstructInputs) if one.several)
    return field.role(name)
