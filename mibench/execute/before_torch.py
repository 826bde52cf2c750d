"""What torch is told before it is loaded: how its threads wait for each other, and in which pages its tensors lie."""

from __future__ import annotations

import os
import sys

SPINS = ("GOMP_SPINCOUNT", "1000")
"""How often a thread of GNU OpenMP looks for work before it sleeps. On a free machine as fast as the library's own
number, which is hundreds of times larger; beside another busy process several times faster, because threads that wait
by spinning take the core from those that they wait for. ``benchmarks/thread_waiting.py`` measures it."""
LARGE_PAGES = ("THP_MEM_ALLOC_ENABLE", "1")
"""Whether tensors of 2 MiB and more lie in Linux's large pages, where the system grants them. The C library hands
blocks of more than 32 MiB back as soon as they are free, so that their pages are cleared anew for the next tensor; with
pages of 4 KiB that takes a network that many images pass without gradient longer than its arithmetic.
``benchmarks/large_pages.py`` measures it."""
_OWN_POLICY = ("OMP_WAIT_POLICY", SPINS[0])


def prepare_torch() -> None:
    """Set both, each unless the user has chosen; without effect once torch is loaded.

    They change no result, only how long it takes. Worker processes inherit them.
    """
    if "torch" in sys.modules:
        return
    if not any(name in os.environ for name in _OWN_POLICY):
        os.environ[SPINS[0]] = SPINS[1]
    os.environ.setdefault(*LARGE_PAGES)
