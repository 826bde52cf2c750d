"""Whether an attack can use a prior, found out before anything is trained."""

from __future__ import annotations

import contextlib

from mibench.plan.resolve import Resolved
from mibench.protocol.schema import ImageShape


def check_fit(attack: Resolved, prior: Resolved, image: ImageShape, classes: int) -> None:
    """Ask an attack about the structure of the prior that it would be given.

    A prior that cannot be sketched (its files are not there, say) is left to the stages.

    Raises:
        UsageError: if they do not fit.
    """
    import torch

    from mibench.api.attack import Attack
    from mibench.api.prior import build_prior

    if attack.component.check_prior is Attack.check_prior:
        return
    sketched = None
    with contextlib.suppress(Exception), torch.device("meta"):
        sketched = build_prior(prior.build(), channels=image.channels, size=image.size, classes=classes)
    if sketched is not None:
        attack.build().check_prior(sketched, classes)
