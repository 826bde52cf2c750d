"""No defense: plain training."""

from __future__ import annotations

from dataclasses import dataclass

from mibench.api import Defense


@dataclass(frozen=True, kw_only=True)
class NoDefense(Defense):
    """Plain training with cross-entropy: what every defense inherits, unchanged."""
