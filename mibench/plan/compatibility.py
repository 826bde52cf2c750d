"""Whether an attack can use a prior, found out before anything is trained."""

from __future__ import annotations

import contextlib

from mibench.api.errors import UsageError
from mibench.plan.facts import Facts
from mibench.plan.resolve import Resolved
from mibench.protocol.schema import ImageShape


def check_compatibility(facts: Facts, attack: Resolved, prior: Resolved, image: ImageShape, classes: int) -> None:
    """Ask an attack about the structure of the prior that it would be given.

    A prior that cannot be sketched (its files are not there, say) is left to the stages.

    Raises:
        UsageError: if they do not fit.
    """
    if not attack.traits.checks_prior:
        return
    where = {"image": image.model_dump(mode="json"), "classes": classes}
    question = {"ask": "fit", "attack": attack.entry().json(), "prior": prior.entry().json(), **where}
    told = facts.memo.ask(question, lambda: _look(facts, attack, prior, image, classes))
    if told:
        raise UsageError(told)


def _look(facts: Facts, attack: Resolved, prior: Resolved, image: ImageShape, classes: int) -> str | None:
    """Return the attack's objection, empty if it has none; ``None`` if the prior cannot be sketched."""
    import torch

    from mibench.api.prior import build_prior

    sketched = None
    with contextlib.suppress(Exception):
        component = facts.components.build("prior", prior.entry())
        with torch.device("meta"):
            sketched = build_prior(component, channels=image.channels, size=image.size, classes=classes)
    if sketched is None:
        return None
    try:
        facts.components.build("attack", attack.entry()).check_prior(sketched, classes)
    except UsageError as error:
        return str(error)
    return ""
