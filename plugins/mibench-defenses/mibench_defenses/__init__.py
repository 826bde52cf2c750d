"""Privacy defenses of image classifiers for mibench: one file per defense.

Imported to list plugins, so nothing heavy here.
"""

from __future__ import annotations

from collections.abc import Iterator

from mibench.api import DefenseSpec, hookimpl


@hookimpl
def mibench_defenses() -> Iterator[DefenseSpec]:
    """Offer the defenses of this distribution."""
    yield DefenseSpec(
        name="none",
        factory="mibench_defenses.none:NoDefense",
        summary="Plain training: the undefended control beside every leakage number",
    )
    yield DefenseSpec(
        name="negls",
        factory="mibench_defenses.negls:NegativeLabelSmoothing",
        summary="Negative label smoothing: push wrong-class probabilities to zero",
        paper="negls.bib",
    )
