"""Gradient search over latents, a loop that every white-box attack of this distribution shares.

Shapes: N candidates, B of them in a batch; variables are (N, ...), one row per candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mibench.api import AccessError, MibenchError
from mibench_attacks.batching import batches

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
    """Adam on variables that belong to independent candidates.

    The losses of candidates are summed, so a candidate's path depends neither on the batch size nor on the others.

    A candidate whose loss or gradient is not finite gets a zero gradient in that step, which keeps it and the
    optimiser's state finite; it may recover. If no candidate is finite, the search fails.

    Attributes:
        steps: number of updates.
        lr: learning rate.
        betas: Adam's averages; PPA's (0.1, 0.1) have almost no memory.
        milestones: steps after which the learning rate is multiplied by ``gamma``; empty keeps it constant.
        gamma: factor at each milestone.
        batch: candidates differentiated at once.
    """

    steps: int = 50
    lr: float = 0.005
    betas: tuple[float, float] = (0.1, 0.1)
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    batch: int = 25

    def run(
        self,
        start: Sequence[Tensor],
        evaluate: Evaluate,
        *,
        where: str,
        project: Project | None = None,
        report: Report | None = None,
    ) -> Found:
        """Minimise from ``start`` (which is not changed).

        Args:
            start: variables (N, ...).
            evaluate: the loss; draws of a step must depend on ``rows`` only through slicing.
            where: how errors name the search, e.g. ``"class 7"``.
            project: constraint.
            report: progress callback ``(done, total, unit, signals)``.

        Raises:
            MibenchError: naming the step, if no candidate has a finite loss and gradient; the core fails the class.
            AccessError: if the loss has no gradient, because the view grants none or the target blocks it.
        """
        variables = [start_N.detach().clone().requires_grad_(True) for start_N in start]
        optimizer = torch.optim.Adam(variables, lr=self.lr, betas=self.betas)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(self.milestones), self.gamma)
        found = Found([variable_N.detach() for variable_N in variables])
        for step in range(self.steps):
            optimizer.zero_grad()
            loss_N = self._differentiate(variables, evaluate, step, where)
            _guard_and_record(found.trace, variables, loss_N, where=f"{where}, step {step}")
            optimizer.step()
            schedule.step()
            if project is not None:
                with torch.no_grad():
                    project(variables)
            if report is not None:
                report(step + 1, self.steps, "steps", {"loss": found.trace["loss"][-1]})
        return found

    def _differentiate(self, variables: Sequence[Tensor], evaluate: Evaluate, step: int, where: str) -> Tensor:
        losses = []
        for rows in batches(len(variables[0]), self.batch):
            loss_B = evaluate([variable_N[rows] for variable_N in variables], rows, step)
            if not loss_B.requires_grad:
                need = "white-box access to a target that has gradients"
                raise AccessError(f"{where}: the loss has no gradient; a gradient search needs {need}")
            loss_B.sum().backward()
            losses.append(loss_B.detach())
        return torch.cat(losses)


def _guard_and_record(
    trace: dict[str, list[float]], variables: Sequence[Tensor], loss_N: Tensor, *, where: str
) -> None:
    """Zero the gradients of candidates that are not finite, and note loss, gradient norm and how many those are."""
    gradients = [variable_N.grad for variable_N in variables if variable_N.grad is not None]
    norm_N = torch.stack([gradient_N.flatten(1).norm(dim=1) for gradient_N in gradients]).norm(dim=0)
    finite_N = torch.isfinite(loss_N) & torch.isfinite(norm_N)
    if not bool(finite_N.any()):
        raise MibenchError(
            f"{where}: none of {len(loss_N)} candidates has a finite loss and gradient. The target returns NaN or"
            " infinite logits there; check the defense's training, or try another attack loss."
        )
    for gradient_N in gradients:
        gradient_N[~finite_N] = 0
    trace["loss"].append(loss_N[finite_N].mean().item())
    trace["gradient"].append(norm_N[finite_N].mean().item())
    trace["skipped"].append(float((~finite_N).sum().item()))
