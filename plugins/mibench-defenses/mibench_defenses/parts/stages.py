"""The stages of a network that defenses constrain."""

from __future__ import annotations

from collections.abc import Sequence

from mibench.api import Classifier, UsageError, unknown


def check_stages(classifier: Classifier, stages: Sequence[str], owner: str) -> None:
    """Refuse stages that a network does not have.

    Raises:
        UsageError: if a stage is unknown, or the network names none.
    """
    if not classifier.stage_names:
        raise UsageError(f"{owner} constrains the stages of a network, and this one names none. Use another model.")
    for name in stages:
        if name not in classifier.stage_names:
            raise unknown("stage", name, classifier.stage_names)
