"""Anti-Adversarial Training (AT-AT), the reference defense of mibench.

Imported to list plugins, so nothing heavy here: the algorithm is in ``mibench_atat.defense``.
"""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import DefenseSpec, hookimpl

DEFENSES = (
    DefenseSpec(
        name="atat",
        factory="mibench_atat.defense:AntiAdversarialTraining",
        summary="Anti-Adversarial Training: learn imperceptible, non-robust features on purpose",
        paper="atat.bib",
        family="adversarial",
        limits=(
            "It gives up robustness on purpose: imperceptible perturbations change the prediction.",
            "The radius must grow as images shrink; the paper's does nothing at low resolution.",
            "The authors' weights per data set and architecture are not public.",
        ),
    ),
)


@hookimpl
def mibench_defenses() -> Iterable[DefenseSpec]:
    """Return the defense of this distribution."""
    return DEFENSES
