"""The only thing an attack sees of its victim: a view that grants declared access and counts every query.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from mibench.api.classifier import Classifier, Outputs
from mibench.api.counting import counting_view
from mibench.api.deprecated import GONE_IN
from mibench.api.errors import AccessError, BudgetError

ANSWERS = ("forward", "outputs", "features", "stages")
"""Methods of a classifier that run it."""


class Access(StrEnum):
    """How much of the target an attack uses."""

    WHITE_BOX = "white-box"
    SCORES = "scores"
    LABELS = "labels"


@dataclass
class Ledger:
    """What an attack has spent, in images.

    Attributes:
        forward: images passed through the target.
        backward: images whose gradient was taken through the target.
        render: images rendered by the prior.
    """

    forward: int = 0
    backward: int = 0
    render: int = 0

    def minus(self, other: Ledger) -> Ledger:
        """Return what was spent since ``other`` was recorded."""
        return Ledger(self.forward - other.forward, self.backward - other.backward, self.render - other.render)

    def add(self, other: Ledger) -> None:
        """Enter what was spent elsewhere, before a restart say."""
        self.restore(Ledger(self.forward + other.forward, self.backward + other.backward, self.render + other.render))

    def restore(self, earlier: Ledger) -> None:
        """Go back to an earlier state, when what was spent since is done again."""
        vars(self).update(asdict(earlier))

    def enter_renders(self, images: int) -> None:
        """Count images that the prior rendered; views of priors do."""
        self.add(Ledger(render=images))

    def copy(self) -> Ledger:
        """Return the present state."""
        return Ledger(**asdict(self))


class LiveLedger(Ledger):
    """The ledger that a view of the target keeps.

    Attributes:
        metered: whether a view of the prior enters renders (``mibench.api.prior_view``). From then on nobody else does:
            an attack that assigns to ``render`` is told that it need not, and is not counted twice.
    """

    __slots__ = ("metered",)  # no field: what is spent are the three numbers alone

    def __init__(self) -> None:
        self.metered = False
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "render" and self.metered:
            warnings.warn(
                "renders are counted by the view of the prior that an attack is given; what it adds to ledger.render"
                f" itself is ignored, and will be an error in mibench {GONE_IN}. Delete the line.",
                DeprecationWarning,
                stacklevel=2,
            )
            return
        super().__setattr__(name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ledger) and asdict(self) == asdict(other)


@dataclass(frozen=True)
class Budget:
    """The most that an attack may spend on the target per class; ``None`` is unlimited.

    Attributes:
        forward: images passed through the target per attacked class.
        backward: gradients per attacked class.
    """

    forward: int | None = None
    backward: int | None = None


class TargetView:
    """A metered view of a frozen classifier.

    Args:
        classifier: the deployed target; it is put into evaluation mode and frozen.
        access: what the attack declared.
        classes: how many classes are attacked (the budget is per class).
        budget: limits.

    Raises:
        AccessError: when the attack asks for more than ``access`` grants.
        BudgetError: when the budget is spent.
    """

    def __init__(
        self, classifier: Classifier, access: Access, *, classes: int = 1, budget: Budget | None = None
    ) -> None:
        self._classifier = classifier.eval().requires_grad_(False)
        self.access = access
        self.num_classes = classifier.num_classes
        self.ledger = LiveLedger()
        self._budget = budget or Budget()
        self._classes = classes

    def logits(self, x_BCHW: Tensor) -> Tensor:
        """Return logits (B, K); differentiable under white-box access, else without gradient. Needs scores."""
        if self.access is Access.LABELS:
            raise AccessError("this attack declared label-only access; it may call labels(), not logits()")
        return self._run(self._classifier, x_BCHW)

    def labels(self, x_BCHW: Tensor) -> Tensor:
        """Return predicted classes (B,)."""
        with torch.no_grad():
            return self._run(self._classifier, x_BCHW).argmax(1)

    def features(self, x_BCHW: Tensor) -> Tensor:
        """Return penultimate features (B, D). White-box only."""
        self._need_white_box("features")
        return self._run(self._classifier.features, x_BCHW)

    def logits_and_features(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, K) and penultimate features (B, D) of one and the same pass. White-box only."""
        self._need_white_box("features")
        seen: list[Tensor] = []

        def call(x: Tensor) -> Tensor:
            outputs = self._classifier.outputs(x)
            seen.append(outputs.features)
            return outputs.logits

        return self._run(call, x_BCHW), seen[0]

    def module(self) -> nn.Module:
        """Return the network itself, frozen, for attacks that read weights or statistics. White-box only.

        What it is asked as a whole (a call, ``outputs``, ``features``, ``stages``) is counted as by the view, and so
        is what a copy of it is asked. Passes through a part of it (``body``, a layer) are not: a part may run several
        times for one answer, in a smoothed classifier say. Take outputs through the view.
        """
        self._need_white_box("the network itself")
        return counting_view(self._classifier, dict.fromkeys(ANSWERS, self._asked), owner=self.ledger)

    @contextmanager
    def spending(self) -> Iterator[Ledger]:
        """Yield a ledger that holds, after the block, what the block spent."""
        before, spent = self.ledger.copy(), Ledger()
        yield spent
        spent.restore(self.ledger.minus(before))

    def _need_white_box(self, what: str) -> None:
        if self.access is not Access.WHITE_BOX:
            raise AccessError(f"this attack declared {self.access} access; {what} needs white-box access")

    def _run(self, call: Callable[[Tensor], Tensor], x_BCHW: Tensor) -> Tensor:
        done = self._asked(x_BCHW)
        if self.access is not Access.WHITE_BOX:
            with torch.no_grad():
                return call(x_BCHW.detach())
        out = call(x_BCHW)
        done(out)
        return out

    def _asked(self, x_BCHW: Tensor, **_: object) -> Callable[[object], None]:
        """Count a pass of these images; return what counts their gradient, to be called with the answer."""
        images = len(x_BCHW)
        self.ledger.forward += images
        self._check(self.ledger.forward, self._budget.forward, "forward passes")

        def count(gradient: Tensor) -> None:
            self.ledger.backward += images
            self._check(self.ledger.backward, self._budget.backward, "gradients")

        def answered(answer: object) -> None:
            tensor = _first(answer)
            if tensor is not None and tensor.requires_grad:
                tensor.register_hook(count)

        return answered

    def _check(self, spent: int, limit: int | None, what: str) -> None:
        if limit is not None and spent > limit * self._classes:
            raise BudgetError(
                f"the attack spent {spent} {what}; its budget is {limit} per class x {self._classes} classes"
            )


def _first(answer: object) -> Tensor | None:
    """Return the tensor of an answer that all gradients of it pass: the first stage, or features, or logits."""
    if isinstance(answer, Outputs):
        return next(iter(answer.stages.values()), answer.features)
    if isinstance(answer, Mapping):
        return next(iter(answer.values()), None)
    return answer if isinstance(answer, Tensor) else None
