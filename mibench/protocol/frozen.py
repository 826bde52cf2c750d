"""The base of all parts of a protocol: unknown keys are errors, instances do not change."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mibench.api.params import STRICT


class Frozen(BaseModel):
    """Base of all parts: unknown keys are errors, instances do not change."""

    model_config = STRICT


def without(dumped: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a dump without some of its fields: those that are younger than the first protocols, while unset."""
    return {name: value for name, value in dumped.items() if name not in names}
