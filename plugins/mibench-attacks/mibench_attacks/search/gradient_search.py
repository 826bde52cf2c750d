"""Gradient search over latents, a loop that every white-box attack of this distribution shares.

Shapes: N candidates, B of them in a batch; variables are (N, ...), one row per candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from mibench.api import AccessError, ClassFailed, Ledger
from mibench_attacks.images.batching import AutoBatchSize, batches
from mibench_attacks.search.optimisers import MakeOptimizer, Schedule, adam, constant

Evaluate = Callable[[Sequence[Tensor], slice, int], Tensor]
"""``evaluate(variables_of_rows, rows, step)`` returns the loss of each of these rows (B,)."""
Project = Callable[[Sequence[Tensor]], None]
"""Moves variables back into the allowed set, in place; called without gradient after each step."""
Report = Callable[[int, int, str, dict[str, float]], None]


@dataclass
class Found:
    """Where a search ended.

    Attributes:
        variables: optimised copies of the starting variables, detached.
        trace: per step, averaged over finite candidates: ``loss`` before the step, ``gradient`` (L2 norm), and
            ``skipped``, the number of candidates that were not finite.
    """

    variables: list[Tensor]
    trace: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "gradient": [], "skipped": []})


@dataclass(frozen=True, kw_only=True)
class GradientSearch:
    """Descent on variables that belong to independent candidates.

    The losses of candidates are summed, so a candidate's path depends neither on the batch size nor on the others.

    A candidate whose loss or gradient is not finite gets a zero gradient in that step, which keeps it and the
    optimiser's state finite; it may recover. If no candidate is finite, the search fails.

    Attributes:
        steps: number of updates.
        optimizer: makes the optimiser of the variables.
        schedule: factor of the learning rate at each step.
        keep: where a candidate ends: at its ``"last"`` point, or at the ``"best"``, with its lowest loss.
        batch: candidates differentiated at once; halved for as long as they do not fit into the GPU's memory.
    """

    steps: int = 50
    optimizer: MakeOptimizer = field(default_factory=lambda: adam(0.005, (0.1, 0.1)))
    schedule: Schedule = constant
    keep: Literal["last", "best"] = "last"
    batch: int = 25

    def run(
        self,
        start: Sequence[Tensor],
        evaluate: Evaluate,
        *,
        where: str,
        project: Project | None = None,
        report: Report | None = None,
        ledger: Ledger | None = None,
    ) -> Found:
        """Minimise from ``start`` (which is not changed).

        Args:
            start: variables (N, ...).
            evaluate: the loss; draws of a step must depend on ``rows`` only through slicing.
            where: how errors name the search, e.g. ``"class 7"``.
            project: constraint.
            report: progress callback ``(done, total, unit, signals)``.
            ledger: in which ``evaluate`` enters what it spends; a step that is done again is counted once.

        Raises:
            ClassFailed: naming the step, if no candidate has a finite loss and gradient.
            AccessError: if the loss has no gradient, because the view grants none or the target blocks it.
        """
        variables = [start_N.detach().clone().requires_grad_(True) for start_N in start]
        optimizer = self.optimizer(variables)
        rates = [group["lr"] for group in optimizer.param_groups]
        best, fit = _Best(variables) if self.keep == "best" else None, AutoBatchSize(self.batch, ledger)
        found = Found([variable_N.detach() for variable_N in variables])
        for step in range(self.steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * self.schedule(step, self.steps)
            loss_N = fit(partial(_differentiate, variables, evaluate, step, where))
            _guard_and_record(found.trace, variables, loss_N, where=f"{where}, step {step}")
            if best is not None:
                best.note(variables, loss_N)
            optimizer.step()
            if project is not None:
                with torch.no_grad():
                    project(variables)
            if report is not None:
                report(step + 1, self.steps, "steps", {"loss": found.trace["loss"][-1]})
        return found if best is None else Found(best.variables, found.trace)


def _differentiate(variables: Sequence[Tensor], evaluate: Evaluate, step: int, where: str, batch: int) -> Tensor:
    """Leave the gradient of the summed loss in the variables, and return the loss of each candidate."""
    for variable_N in variables:
        variable_N.grad = None
    losses = []
    for rows in batches(len(variables[0]), batch):
        loss_B = evaluate([variable_N[rows] for variable_N in variables], rows, step)
        if not loss_B.requires_grad:
            need = "white-box access to a target that has gradients"
            raise AccessError(f"{where}: the loss has no gradient; a gradient search needs {need}")
        loss_B.sum().backward()
        losses.append(loss_B.detach())
    return torch.cat(losses)


class _Best:
    """The point of lowest finite loss of each candidate."""

    def __init__(self, variables: Sequence[Tensor]) -> None:
        self.variables = [variable_N.detach().clone() for variable_N in variables]
        self.loss_N: Tensor | None = None

    def note(self, variables: Sequence[Tensor], loss_N: Tensor) -> None:
        """Take over the candidates that are better than before; ``loss_N`` belongs to their present points."""
        if self.loss_N is None:
            self.loss_N = torch.full_like(loss_N, torch.inf)
        better_N = loss_N < self.loss_N
        self.loss_N[better_N] = loss_N[better_N]
        for kept, variable in zip(self.variables, variables, strict=True):
            kept[better_N] = variable.detach()[better_N]


def _guard_and_record(
    trace: dict[str, list[float]], variables: Sequence[Tensor], loss_N: Tensor, *, where: str
) -> None:
    """Zero the gradients of candidates that are not finite, and note loss, gradient norm and how many those are."""
    gradients = [variable_N.grad for variable_N in variables if variable_N.grad is not None]
    norm_N = torch.stack([gradient_N.flatten(1).norm(dim=1) for gradient_N in gradients]).norm(dim=0)
    finite_N = torch.isfinite(loss_N) & torch.isfinite(norm_N)
    if not bool(finite_N.any()):
        if trace["loss"]:
            why = "They were finite before: its steps may be too large, so lower the attack's learning rate."
        else:
            why = "The target returns NaN or infinite logits; check the defense's training, or try another attack loss."
        raise ClassFailed(f"{where}: none of {len(loss_N)} candidates has a finite loss and gradient. {why}")
    for gradient_N in gradients:
        gradient_N[~finite_N] = 0
    trace["loss"].append(loss_N[finite_N].mean().item())
    trace["gradient"].append(norm_N[finite_N].mean().item())
    trace["skipped"].append(float((~finite_N).sum().item()))
