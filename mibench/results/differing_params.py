"""Telling apart runs of one component with different parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mibench.base.canonical import canonical_json


def variant_note(params: Mapping[str, Any], all_params: Sequence[Mapping[str, Any]]) -> str:
    """Return those parameters in which a component differs from its other runs, e.g. ``"lam=0.2"``; often nothing.

    Args:
        params: parameters of the run to describe.
        all_params: parameters of all runs of that component, this one among them.
    """
    keys = sorted({key for one in all_params for key in one})
    varying = [key for key in keys if len({canonical_json(one.get(key)) for one in all_params}) > 1]
    return ", ".join(f"{key}={params.get(key)}" for key in varying)
