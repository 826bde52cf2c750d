"""The authors' attacks, from whichever distribution of them is installed: ``autoattack`` or ``pyautoattack``."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from mibench.api import MibenchError

_QUIET = logging.getLogger("mibench_metrics.autoattack")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


@dataclass(frozen=True)
class AttackPackage:
    """The attack classes and where they come from.

    Attributes:
        name: distribution.
        version: its version, or ``"unknown"`` (the reference repository installed from source may have none).
        apgd: ``APGDAttack``.
        apgd_targeted: ``APGDAttack_targeted``.
        fab: ``FABAttack_PT``.
        square: ``SquareAttack``.
        quiet: a logger that swallows what the package logs.
    """

    name: str
    version: str
    apgd: Any
    apgd_targeted: Any
    fab: Any
    square: Any
    quiet: logging.Logger = _QUIET


@cache
def attack_package() -> AttackPackage:
    """Return the installed attacks; the reference distribution is preferred.

    Raises:
        MibenchError: if there is neither.
    """
    for name in ("autoattack", "pyautoattack"):
        try:
            base = importlib.import_module(f"{name}.autopgd_base")
            fab = importlib.import_module(f"{name}.fab_pt")
            square = importlib.import_module(f"{name}.square")
        except ImportError:
            continue
        return AttackPackage(
            name, _version(name), base.APGDAttack, base.APGDAttack_targeted, fab.FABAttack_PT, square.SquareAttack
        )
    raise MibenchError("robust-accuracy needs AutoAttack; install it with: pip install pyautoattack==0.2.0")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"
