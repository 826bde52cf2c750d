"""The only thing an attack sees of its victim: a view that grants declared access and counts every query.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from mibench.api.classifier import Classifier
from mibench.api.errors import AccessError, BudgetError


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
        self.forward += other.forward
        self.backward += other.backward
        self.render += other.render

    def restore(self, earlier: Ledger) -> None:
        """Go back to an earlier state, when what was spent since is done again."""
        self.forward, self.backward, self.render = earlier.forward, earlier.backward, earlier.render

    def copy(self) -> Ledger:
        """Return the present state."""
        return Ledger(**asdict(self))


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
        self.ledger = Ledger()
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

        Passes made through it directly are not counted; take outputs through the view.
        """
        self._need_white_box("the network itself")
        return self._classifier

    @contextmanager
    def spending(self) -> Iterator[Ledger]:
        """Yield a ledger that holds, after the block, what the block spent."""
        before, spent = self.ledger.copy(), Ledger()
        yield spent
        now = self.ledger.minus(before)
        spent.forward, spent.backward, spent.render = now.forward, now.backward, now.render

    def _need_white_box(self, what: str) -> None:
        if self.access is not Access.WHITE_BOX:
            raise AccessError(f"this attack declared {self.access} access; {what} needs white-box access")

    def _run(self, call: Callable[[Tensor], Tensor], x_BCHW: Tensor) -> Tensor:
        self.ledger.forward += len(x_BCHW)
        self._check(self.ledger.forward, self._budget.forward, "forward passes")
        if self.access is not Access.WHITE_BOX:
            with torch.no_grad():
                return call(x_BCHW.detach())
        out = call(x_BCHW)
        if out.requires_grad:
            out.register_hook(self._count_backward)
        return out

    def _count_backward(self, gradient: Tensor) -> None:
        self.ledger.backward += len(gradient)
        self._check(self.ledger.backward, self._budget.backward, "gradients")

    def _check(self, spent: int, limit: int | None, what: str) -> None:
        if limit is not None and spent > limit * self._classes:
            raise BudgetError(
                f"the attack spent {spent} {what}; its budget is {limit} per class x {self._classes} classes"
            )
