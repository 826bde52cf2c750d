"""How much each attack of the ensemble may spend: named profiles, and overrides of single numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Profile = Literal["smoke", "fast", "standard", "paper-compat"]


@dataclass(frozen=True, kw_only=True)
class AttackBudget:
    """Iterations of each attack; 0 leaves the attack out.

    Attributes:
        apgd_ce_iterations: steps of APGD on the cross-entropy, one restart.
        apgd_t_targets: classes that APGD on the targeted DLR loss tries, the most likely wrong ones first.
        apgd_t_iterations: its steps per class.
        fab_targets: classes that FAB-T tries, the most likely wrong ones first.
        fab_iterations: its steps per class; spent once for the whole sweep of eps.
        square_queries: queries of the Square attack.
    """

    apgd_ce_iterations: int = 0
    apgd_t_targets: int = 0
    apgd_t_iterations: int = 0
    fab_targets: int = 0
    fab_iterations: int = 0
    square_queries: int = 0

    def overridden(self, settings: Mapping[str, int]) -> AttackBudget:
        """Return the budget with these numbers replaced."""
        return replace(self, **settings)

    def fitted(self, num_classes: int) -> AttackBudget:
        """Return the budget that this number of classes allows.

        There are at most C - 1 wrong classes, and the targeted DLR loss reads the fourth largest logit.
        """
        others = num_classes - 1
        return replace(
            self,
            apgd_t_targets=min(self.apgd_t_targets, others) if num_classes >= 4 else 0,
            fab_targets=min(self.fab_targets, others),
        )

    @property
    def uses_apgd_t(self) -> bool:
        """Whether APGD on the targeted DLR loss runs."""
        return self.apgd_t_targets > 0 and self.apgd_t_iterations > 0

    @property
    def uses_fab(self) -> bool:
        """Whether FAB-T runs, so that radii are known."""
        return self.fab_targets > 0 and self.fab_iterations > 0


PROFILES: dict[Profile, AttackBudget] = {
    "smoke": AttackBudget(apgd_ce_iterations=10),
    "fast": AttackBudget(
        apgd_ce_iterations=10, apgd_t_targets=3, apgd_t_iterations=10, fab_targets=3, fab_iterations=10
    ),
    "standard": AttackBudget(
        apgd_ce_iterations=100,
        apgd_t_targets=9,
        apgd_t_iterations=100,
        fab_targets=9,
        fab_iterations=100,
        square_queries=5000,
    ),
    "paper-compat": AttackBudget(apgd_ce_iterations=100),
}
"""``standard`` is AutoAttack's own. ``paper-compat`` is what the AT-AT paper's code runs by default: APGD-CE alone.
``fast`` takes a twenty-fourth of the gradients of ``standard``; on two small CNNs and 60 faces it left at most one
image more standing, at any eps, than five times its steps."""
