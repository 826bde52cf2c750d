"""Stages ``target``, ``evaluator`` and ``pretrain``: classifiers that are trained.

A target and an evaluator learn the private classes. Before them, a plain training on public identities may come, or,
for a defense in several steps, the training of another target.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from mibench.nodes.files import ReportedFiles
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import DataRef, DefenseEntry, MadeBy, ModelEntry, Ref
from mibench.protocol.schema import ImageShape, Recipe
from mibench.protocol.split import HoldOut, PrivateSplit

RUN = "mibench.stages.classifier:run"


@dataclass(frozen=True, kw_only=True)
class ClassifierInputs(Inputs):
    """What is common to all three.

    Attributes:
        model: architecture.
        recipe: how it is trained.
        seed: of the training.
        image: side and channels of what it sees.
        precision: arithmetic.
    """

    run: ClassVar = RUN
    runs: ClassVar = "model"

    model: ModelEntry
    recipe: Recipe
    seed: int
    image: ImageShape
    precision: Literal["fp32"]

    @property
    def num_classes(self) -> int:
        """Number of classes that it tells apart."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class PretrainInputs(ClassifierInputs):
    """A plain training on the public identities, one for all seeds and defenses.

    Attributes:
        public: the images.
        classes: number of public identities.
        validation: which of the images are set aside, if the recipe chooses a checkpoint by them.
    """

    stage: ClassVar = "pretrain"
    timed_as: ClassVar = "target"
    timed_for: ClassVar = ("model",)

    public: DataRef
    classes: int
    validation: HoldOut | None = None

    @property
    def num_classes(self) -> int:
        """Number of public identities."""
        return self.classes


@dataclass(frozen=True, kw_only=True)
class PrivateClassifierInputs(ClassifierInputs):
    """What a target and an evaluator have in common.

    Attributes:
        private: the images.
        split: which of them train, validate and test.
        start: the training that comes before, if the defense or the recipe wants one.
        pretrain: the public one, where that is the start of the start and the recipe wants it too.
    """

    private: DataRef
    split: PrivateSplit
    start: Annotated[Ref, MadeBy("pretrain", "target", told=True)] | None = None
    pretrain: Annotated[Ref, MadeBy("pretrain")] | None = None

    @property
    def num_classes(self) -> int:
        """Number of private identities."""
        return len(self.split.identities)


@dataclass(frozen=True, kw_only=True)
class TargetInputs(PrivateClassifierInputs):
    """The classifier that is attacked.

    Attributes:
        defense: how it is trained and deployed; several are used together.
    """

    stage: ClassVar = "target"
    runs: ClassVar = "defense"
    timed_for: ClassVar = ("model",)

    defense: DefenseEntry


@dataclass(frozen=True, kw_only=True)
class EvaluatorInputs(PrivateClassifierInputs):
    """A judge; attacks never see it.

    Attributes:
        least_accuracy: accuracy on the private test images below which it may not judge.
    """

    stage: ClassVar = "evaluator"

    least_accuracy: float | None = None


class ClassifierFiles(ReportedFiles):
    """The files of a trained classifier: weights, extras of its defense, and a report."""

    @property
    def extras(self) -> Path:
        """State that the defense keeps beside the network, by name."""
        return self.folder / "extras.safetensors"

    def self_check(self) -> dict[str, Any]:
        """Return the defense's own verdict."""
        found: dict[str, Any] = self.report()["self_check"]
        return found
