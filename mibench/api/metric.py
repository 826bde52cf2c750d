"""The metric contract: measure a target, or what an attack made of it, from evidence alone.

Shapes: N images, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from mibench.api.classifier import Classifier, Embedder
from mibench.api.column_names import read_name
from mibench.api.data import GroundTruth, ImageSet
from mibench.api.deprecated import module_getattr
from mibench.api.errors import UsageError
from mibench.api.quantity import Quantity, column_name

Subject = Literal["target", "reconstructions"]
Need = Literal["target", "evaluators", "embedder", "identities"]


@dataclass(frozen=True)
class IdentityGallery:
    """The people among whom a judge has to find the one that a reconstruction is of.

    Attributes:
        private: pictures of the K private people; labels are the classes 0 .. K-1, at least one picture of each.
        distractors: pictures of M people who are neither private nor public, labelled 0 .. M-1, at least one picture
            of each; ``None`` if the protocol names none.
        truth: of the private people, row k of class k; ``None`` if nothing is known but pictures.
        distractor_truth: of the distractors, row m of label m; ``None`` likewise.

    Raises:
        UsageError: if someone has no picture, or the truth is of another number of people.
    """

    private: ImageSet
    distractors: ImageSet | None = None
    truth: GroundTruth | None = None
    distractor_truth: GroundTruth | None = None

    def __post_init__(self) -> None:
        _check_people(self.private, self.truth, "class")
        if self.distractors is not None:
            _check_people(self.distractors, self.distractor_truth, "distractor")

    @property
    def people(self) -> int:
        """How many people there are to choose from: K + M."""
        return self.private.num_classes + (self.distractors.num_classes if self.distractors else 0)


def _check_people(images: ImageSet, truth: GroundTruth | None, what: str) -> None:
    present = set(images.labels_N.tolist())
    for label in range(images.num_classes):
        if label not in present:
            raise UsageError(f"the gallery has no picture of {what} {label}; every person must be in it to be found")
    if truth is not None and len(truth.values_KD) != images.num_classes:
        raise UsageError(
            f"the gallery has {images.num_classes} people ({what}), and the truth is of {len(truth.values_KD)}"
        )


class _Images:
    """A field that is given images, or through ``judge`` a set of them, and read as images."""

    def __get__(self, owner: MetricInputs | None, kind: type | None = None) -> Tensor:
        if owner is None:
            raise AttributeError("images_NCHW is of instances; the class has no default")
        given = owner.reconstructions
        return given if isinstance(given, Tensor) else given.all_images()

    def __set__(self, owner: MetricInputs, given: Tensor) -> None:
        vars(owner)["reconstructions"] = given


@dataclass
class MetricInputs:
    """All that a metric may read. What it did not ask for in ``needs`` is absent.

    Attributes:
        num_classes: K.
        heldout: private images that no training saw (test split; validation split when tuning).
        gallery: the private training images.
        images_NCHW: reconstructions, float32 in [0, 1] after the 8-bit round trip; empty for target metrics. All of
            them are made when they are read: a metric that looks at a batch at a time reads ``reconstructions``.
        labels_N: the class each reconstruction was made for. A class without any that is not in ``failed`` was not
            attacked and counts for nothing.
        target: the deployed classifier, frozen.
        evaluators: classifiers trained on the private data, by name.
        embedder: the independent judge of identity.
        failed: classes for which the attack delivered nothing; each counts as a class without a single success.
        validation: the private validation images, by which parameters, and perhaps a checkpoint, were chosen.
        identities: the people among whom the right one has to be found, at the side that judges see; given to
            metrics that need ``"identities"``. Under a protocol without a gallery, the private training images alone.
    """

    num_classes: int
    heldout: ImageSet
    gallery: ImageSet
    images_NCHW: Tensor
    labels_N: Tensor
    target: Classifier | None = None
    evaluators: Mapping[str, Classifier] = field(default_factory=dict)
    embedder: Embedder | None = None
    failed: Sequence[int] = ()
    validation: ImageSet | None = None
    identities: IdentityGallery | None = None

    @property
    def reconstructions(self) -> ImageSet | Tensor:
        """The reconstructions as they were given: a set that is read batch by batch, or the images themselves."""
        found: ImageSet | Tensor = vars(self)["reconstructions"]
        return found

    def judge(self, images: ImageSet) -> None:
        """Take a set of images with their classes as the reconstructions, without making all of them."""
        vars(self)["reconstructions"], self.labels_N = images, images.labels_N


# A field in all but how it is kept; given in the class, it would be its default.
MetricInputs.images_NCHW = _Images()  # type: ignore[assignment]


@dataclass
class MetricContext:
    """How to measure.

    Attributes:
        seed: derive randomness from it.
        device: where to compute.
        progress: ``progress(done, total, unit, signals)``; may be ignored.
    """

    seed: int
    device: torch.device
    progress: Callable[[int, int, str, Mapping[str, float]], None] = lambda *_: None


@dataclass(frozen=True, kw_only=True)
class Measurement(Quantity):
    """One number with what is needed to judge it.

    What it is stands in the fields of :class:`~mibench.api.quantity.Quantity`: ``role``, ``base``, ``k``,
    ``evaluator``, ``attack``, ``part`` and ``radius``. A measurement that states none of them is read by its name
    (``base@k/evaluator``).

    Attributes:
        name: column name; made of these fields if it is left out.
        value: the estimate.
        unit: ``"fraction"``, ``"cosine"``, ``"1/255"`` ... With ``"bits"``, ``details["among"]`` says how many people
            are told apart, so that tables and reports can say in words how far that narrows them down. Boards compare
            such a number with ``details["own_ranks"]``, if it is there: the place of the right person for each image,
            class after class, 1 for the first; where people are tied the middle one, and ``details["own_tied"]`` says
            how many others share each.
        higher_is_better: from the defender's point of view.
        n: number of images behind it.
        per_class: one value per class (``None`` for a class without images); the confidence interval resamples these.
        details: anything else worth keeping, plain JSON.
    """

    name: str = ""
    value: float
    unit: str
    higher_is_better: bool
    n: int
    per_class: Sequence[float | None]
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", column_name(self))

    @property
    def quantity(self) -> Quantity:
        """What the number is: the fields that it states, or what its name says if it states none."""
        stated = self.stated()
        return Quantity(**stated).named() if stated else read_name(self.name)


class Metric(ABC):
    """A metric component: a frozen dataclass of parameters.

    Attributes:
        subject: ``"target"`` metrics are measured once per target, ``"reconstructions"`` once per attack on it.
        needs: the parts of the evidence it reads beside images and labels.
        presets: named parameter sets; one called like a protocol is that protocol's default.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset()
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @abstractmethod
    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the measurements; at least one, names stable."""


def class_means(values_N: Tensor, labels_N: Tensor, num_classes: int) -> list[float | None]:
    """Average a per-image value over each class; ``None`` for classes without images.

    >>> class_means(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 2]), num_classes=3)
    [0.5, None, 1.0]
    """
    means: list[float | None] = []
    for label in range(num_classes):
        own = values_N[labels_N == label]
        means.append(own.double().mean().item() if len(own) else None)
    return means


if not TYPE_CHECKING:
    __getattr__ = module_getattr(__name__, globals())
