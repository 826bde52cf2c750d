"""What ``mibench audit`` is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge
from pydantic import BaseModel, ValidationError, model_validator
from pydantic import ModelWrapValidatorHandler as Handler

from mibench.api.errors import UsageError
from mibench.api.params import STRICT
from mibench.api.plain import brief
from mibench.protocol.request import Folder, Name

SAME = "same"
"""The twin that has the network's own structure."""
Allowed = Literal["white-box", "scores", "labels"]


class AuditRequest(BaseModel):
    """A trained classifier, photographs, and how to attack it.

    Attributes:
        model: ``PACKAGE.MODULE:FUNCTION``, ``FILE.py:FUNCTION``, ``torchvision:NAME`` or ``timm:NAME``; or the path
            of a file that holds a whole network.
        weights: the trained weights, unless ``model`` is such a file.
        private: folder of the people that the network knows, one folder for each, which the attacker never sees.
        public: folder of other people, one folder for each, which the attacker has.
        heldout: folder of other photographs of the private people, on which the network was not trained; ``None`` sets
            some of ``private`` aside.
        classes: text file with the name of each output of the network, in order; ``None`` if outputs are in the order
            of the folders' names.
        mean: per-channel mean that is subtracted, [0, 1] units; empty if none is, or timm knows.
        std: per-channel standard deviation that is divided by; empty likewise.
        size: side in pixels of the images that the network was trained at; ``None`` if timm knows.
        channels: 3, or 1 for a network that takes grey images.
        channel_order: ``rgb``, or ``bgr``.
        outputs: what the network answers with.
        access: what the attacker sees of the network.
        attacks: names, optionally ``name/preset``; empty for those of the template that need no more than that.
        prior: the attacker's generator, ``name`` or ``name/preset``; ``None`` for the template's.
        twin: a model that is trained here on the same photographs without any defense, for comparison; ``same`` is the
            network's own structure with fresh weights.
        seed: of the attacks, and of the twin's training.
        any_accuracy: go on whatever the check of the accuracy finds.
        template: the protocol whose settings count; ``None`` if only one is made for audits.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        executor: registered executor.
        workers: worker processes of executors that have them.
        store: folder of artifacts; ``None`` for the user's cache.
        output: folder for the protocol, records and reports.

    Raises:
        UsageError: for an unknown field or a value that it cannot have; every wrong one is named.
    """

    model_config = STRICT

    model: Name
    weights: Path | None = None
    private: Folder
    public: Folder
    heldout: Folder | None = None
    classes: Path | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: Annotated[int, Ge(8)] | None = None
    channels: Literal[1, 3] = 3
    channel_order: Literal["rgb", "bgr"] = "rgb"
    outputs: Literal["logits", "probabilities"] = "logits"
    access: Allowed = "white-box"
    attacks: tuple[Name, ...] = ()
    prior: Name | None = None
    twin: Name | None = None
    seed: Annotated[int, Ge(0)] = 0
    any_accuracy: bool = False
    template: Name | None = None
    device: str = "auto"
    executor: Name = "inline"
    workers: Annotated[int, Ge(1)] = 2
    store: Folder | None = None
    output: Folder = Path("mibench-audit")

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, given: Any, handler: Handler[Self]) -> Self:
        """Turn what pydantic says into the error that callers are promised."""
        try:
            return handler(given)
        except ValidationError as error:
            told = [(".".join(map(str, e["loc"])), e["input"], e["msg"]) for e in error.errors()]
            wrong = "; ".join(f"--{place.replace('_', '-')} {brief(given)}: {msg}" for place, given, msg in told)
            raise UsageError(f"The audit is not valid: {wrong}") from None

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        for option in ("private", "public", "heldout"):
            folder = getattr(self, option)
            if folder is not None and not folder.is_dir():
                raise UsageError(f"--{option} {folder} is no folder; expected {folder}/<person>/<photograph>")
        resolved = {option: getattr(self, option).resolve() for option in ("private", "public")}
        if resolved["private"] == resolved["public"]:
            raise UsageError("--private and --public are the same folder; public photographs are of other people")
        return self
