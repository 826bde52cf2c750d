"""Anti-Adversarial Training (AT-AT), the reference defense of mibench.

Imported to list plugins, so nothing heavy here: the algorithm is in ``mibench_atat.defense``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mibench.api import DefenseSpec, hookimpl


@hookimpl
def mibench_defenses() -> Iterator[DefenseSpec]:
    """Offer the defense ``atat``."""
    yield DefenseSpec(
        name="atat",
        factory="mibench_atat.defense:AntiAdversarialTraining",
        version="1",
        summary="Anti-Adversarial Training: learn imperceptible, non-robust features on purpose",
        paper="atat.bib",
    )
