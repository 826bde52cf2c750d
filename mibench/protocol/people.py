"""The parts of a protocol that say who is private, who is public, and who is attacked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from annotated_types import Ge
from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from mibench.protocol.frozen import Frozen, without


class Split(Frozen):
    """Who is private and which images train. Identities and images are permuted by ``seed``.

    Attributes:
        seed: seed of the permutations.
        private: number of private identities, the classes of the target.
        public: number of public identities, disjoint from the private ones; the prior learns from them. 0 where priors
            come from files and nothing else is trained on public images.
        train: images per private identity that train the target and form the gallery.
        val: images per identity for choosing parameters.
        test: images per identity that are reported on.
        private_from: which end of the permuted identities is private. The validation variant takes the back, so that
            parameters are chosen on people on whom nothing is reported.
        assigned: whether the dataset says which image trains, validates and tests (``Dataset.parts``), as published
            splits do. Then all of its images take part, and ``train``, ``val`` and ``test`` are the fewest of an
            identity.
    """

    seed: int = 0
    private: Annotated[int, Ge(2)]
    public: Annotated[int, Ge(0)]
    train: Annotated[int, Ge(1)]
    val: Annotated[int, Ge(0)]
    test: Annotated[int, Ge(1)]
    private_from: Literal["front", "back"] = "front"
    assigned: bool = False

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first protocols while it is unset, so that their digests stay."""
        return without(dump(self), *([] if self.assigned else ["assigned"]))


class Gallery(Frozen):
    """Among whom a judge has to find the person of a reconstruction.

    Attributes:
        images: pictures of each person: the private ``train`` images (of a distractor all images), or one of the
            dataset's ``portraits`` each. With portraits, gold is a second portrait of each private person.
        distractors: how many people to add who are neither private nor public.
    """

    images: Literal["train", "portraits"] = "train"
    distractors: Annotated[int, Ge(0)] = 0


class ClassChoice(Frozen):
    """Which classes are attacked, where an attack on all of them would take too long.

    Exactly one of ``labels`` and ``number`` is set. Targets and judges know all classes, whichever are attacked.

    Attributes:
        labels: classes by number, from 0.
        number: how many classes to draw at random.
        seed: of the draw.
        balance: draw as many classes from each group of this attribute of the identities, which the dataset reports
            (``Dataset.groups``); if that does not divide, the first groups by name have one more.
    """

    labels: tuple[Annotated[int, Ge(0)], ...] = ()
    number: Annotated[int, Ge(1)] | None = None
    seed: int = 0
    balance: str | None = None

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        if bool(self.labels) == (self.number is not None):
            raise ValueError("expected either labels, a list of classes, or number, how many to draw")
        if self.labels and self.balance is not None:
            raise ValueError("balance belongs to number; listed labels are taken as they are")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("expected each of labels once")
        return self
