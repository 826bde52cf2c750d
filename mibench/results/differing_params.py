"""Telling apart runs of one component with different parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mibench.base.canonical import canonical_json


def variant_note(params: Mapping[str, Any], all_params: Sequence[Mapping[str, Any]]) -> str:
    """Return those parameters in which a component differs from its other runs, e.g. ``"lam=0.2"``; often nothing.

    A parameter that a run does not state has its default, whatever that is.

    >>> variant_note({"lam": 1}, [{"lam": 1}, {"lam": 1, "direction": "none"}])
    'direction=default'

    Args:
        params: parameters of the run to describe.
        all_params: parameters of all runs of that component, this one among them.
    """
    keys = sorted({key for one in all_params for key in one})
    varying = [key for key in keys if len({_stated(one, key) for one in all_params}) > 1]
    return ", ".join(f"{key}={params.get(key, 'default')}" for key in varying)


def _stated(params: Mapping[str, Any], key: str) -> str:
    return canonical_json(params[key]) if key in params else ""
