"""What an attack sees of its prior: the generator itself, with every image that it renders entered in a ledger.

Counted are images that ``Prior.render`` renders, from whichever block on, and what methods marked with :func:`renders`
say. Not counted are ``step_block`` (a part of a rendering: the ``render`` that follows it counts the image), the
discriminator, and passes through the generator's own networks, which the contract does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from mibench.api.counting import Observe, counting_view, owner_of, without_counting
from mibench.api.prior import Prior
from mibench.api.target import Ledger, LiveLedger

P = TypeVar("P", bound=Prior)
F = TypeVar("F", bound=Callable[..., Any])
Images = Callable[..., int]
"""Maps the arguments of a method, without ``self``, to the number of images that it renders."""

_MARK = "_mibench_renders"


def renders(images: Images) -> Callable[[F], F]:
    """Mark a method of a prior, beside ``render``, as one that renders images.

    Args:
        images: maps its arguments to how many, e.g. ``lambda x_BCHW, *, steps, **_: len(x_BCHW) * steps``.
    """

    def mark(method: F) -> F:
        setattr(method, _MARK, images)
        return method

    return mark


def metered(prior: P, ledger: Ledger) -> P:
    """Return a view of a prior that enters in a ledger what it renders.

    It is of the prior's class and shares its weights; clones of it count as well. The prior itself does not count. A
    view of a view counts in both ledgers, and twice the same view is one.

    Args:
        prior: the generator.
        ledger: that of the view of the target, as a rule.
    """
    if owner_of(prior) is ledger:
        return prior
    if isinstance(ledger, LiveLedger):
        ledger.metered = True
    kind = type(prior)
    marked = {name: getattr(getattr(kind, name, None), _MARK, None) for name in dir(kind)}
    counted = {"render": _batch} | {name: images for name, images in marked.items() if images is not None}
    return counting_view(prior, {name: _entering(images, ledger) for name, images in counted.items()}, owner=ledger)


def unmetered(prior: P) -> P:
    """Return the prior behind a view: same weights, nothing is counted; what is no view is returned as it is."""
    return without_counting(prior)


def _entering(images: Images, ledger: Ledger) -> Observe:
    return lambda *arguments, **named: ledger.enter_renders(images(*arguments, **named))


def _batch(latent_BLW: Tensor, **_: Any) -> int:
    return len(latent_BLW)
