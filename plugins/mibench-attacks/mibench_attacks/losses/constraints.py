"""Constraints of a search: where its variables may go.

Shapes: N candidates, D entries of a variable of one candidate.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mibench_attacks.search.gradient_search import Project


def l1_ball(v_ND: Tensor, radius: float) -> Tensor:
    """Return the point of the L1 ball around 0 that is closest to each row, exactly.

    Entries shrink towards 0 by one threshold per row, found by sorting (Duchi et al., ICML 2008, figure 1); rows inside
    the ball come back unchanged.

    >>> l1_ball(torch.tensor([[3.0, -1.0, 0.5]]), 2.0)
    tensor([[2., -0., 0.]])
    """
    size_ND = v_ND.abs()
    falling_ND = size_ND.sort(dim=1, descending=True).values
    excess_ND = falling_ND.cumsum(1) - radius
    rank_D = torch.arange(1, v_ND.shape[1] + 1, device=v_ND.device)
    kept_N1 = (falling_ND * rank_D > excess_ND).sum(1, keepdim=True).clamp_min(1)
    threshold_N1 = (excess_ND.gather(1, kept_N1 - 1) / kept_N1).clamp_min(0)
    return v_ND.sign() * (size_ND - threshold_N1).clamp_min(0)


def within_l1_balls(centres: Sequence[Tensor], radius: float) -> Project:
    """Keep each variable (N, ...) of each candidate within an L1 ball around where it is now.

    Args:
        centres: the variables at the start; they are copied.
        radius: of every ball, in the units of the variables.
    """
    fixed = [centre_N.detach().clone() for centre_N in centres]

    def project(variables: Sequence[Tensor]) -> None:
        for variable_N, centre_N in zip(variables, fixed, strict=True):
            moved_ND = (variable_N - centre_N).flatten(1)
            outside_N = moved_ND.abs().sum(1) > radius
            shrunk_ND = l1_ball(moved_ND[outside_N], radius)
            variable_N[outside_N] = centre_N[outside_N] + shrunk_ND.reshape(centre_N[outside_N].shape)

    return project
