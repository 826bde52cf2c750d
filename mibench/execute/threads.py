"""How torch's threads wait for each other."""

from __future__ import annotations

import os
import sys

VARIABLE, SPINS = "GOMP_SPINCOUNT", "1000"
"""How often a thread of GNU OpenMP looks for work before it sleeps. On a free machine as fast as the library's own
number, which is hundreds of times larger; beside another busy process several times faster, because threads that wait
by spinning take the core from those that they wait for. ``benchmarks/thread_waiting.py`` measures it."""
_OWN_POLICY = ("OMP_WAIT_POLICY", VARIABLE)


def wait_briefly() -> None:
    """Let threads that wait fall asleep soon; without effect once torch is loaded, or if the user has chosen.

    It changes no result, only who gets the processor. Worker processes inherit it.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _OWN_POLICY):
        os.environ[VARIABLE] = SPINS
