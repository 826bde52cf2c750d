"""The part of a protocol that says what its images look like."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from annotated_types import Ge
from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from mibench.protocol.frozen import Frozen, without


class ImageShape(Frozen):
    """The canonical image of a protocol.

    Attributes:
        size: side in pixels.
        channels: 1 (grey) or 3 (RGB).
        deliver: larger side at which attacks deliver and judges are trained and look, for evaluators that want
            more pixels than the target (299 for Inception beside a target of 224); ``None`` is ``size``. What is
            delivered is rendered anew at this side and holds 8 bits; the target resizes it to ``size``.
    """

    size: Annotated[int, Ge(8)]
    channels: Literal[1, 3]
    deliver: Annotated[int, Ge(9)] | None = None

    @property
    def judged(self) -> ImageShape:
        """The image as judges see it."""
        return ImageShape(size=self.deliver or self.size, channels=self.channels)

    @property
    def seen(self) -> ImageShape:
        """The image as the target and the prior see it."""
        return ImageShape(size=self.size, channels=self.channels)

    @model_validator(mode="after")
    def _check_deliver(self) -> Self:
        if self.deliver is not None and self.deliver <= self.size:
            raise ValueError(
                f"deliver {self.deliver} must be larger than size {self.size}; leave it out for equal sides"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without(dump(self), *(["deliver"] if self.deliver is None else []))
