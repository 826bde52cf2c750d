"""A second opinion without any distribution: exchange two rows person by person.

Shapes: A attacks, P people, N flips.
"""

from __future__ import annotations

import numpy as np

from mibench.results.paired import common
from mibench.results.people import Floats, Scores

FLIPS = 100_000
EXACT_UP_TO = 16
"""People up to which all exchanges are gone through; there are 65 536."""
_SEED = int.from_bytes(b"mibench exchanges of people 1"[-8:], "big")
_CHUNK = 4096


def sign_flip(one: Scores, other: Scores) -> float | None:
    """Return the two-sided p of the test that exchanges two rows' values of a person, under all attacks at once.

    It is exact if nothing but the person's own chance sets the two rows apart. What whole trainings have in common, the
    chance of a seed, is not in it: for few seeds that matter it is too small, unlike that of ``paired.compare``.

    Returns:
        ``None`` if the rows have nothing in common.
    """
    both = common(one, other)
    if both is None:
        return None
    mine_AP, theirs_AP = (scores.people_AP for scores in both)
    people = mine_AP.shape[1]
    exact = people <= EXACT_UP_TO
    total = 2**people if exact else FLIPS
    observed = abs(float(mine_AP.mean(axis=1).max() - theirs_AP.mean(axis=1).max()))
    generator = np.random.Generator(np.random.PCG64(_SEED))
    hits = 0
    for start in range(0, total, _CHUNK):
        numbers_N = np.arange(start, min(start + _CHUNK, total))
        bits_NP = (numbers_N[:, None] >> np.arange(people)) & 1 if exact else None
        flips_NP = bits_NP if bits_NP is not None else generator.integers(0, 2, size=(len(numbers_N), people))
        hits += int((np.abs(_differences(flips_NP.astype(np.float64), mine_AP, theirs_AP)) >= observed - 1e-12).sum())
    return hits / total if exact else (hits + 1) / (total + 1)


def _differences(flips_NP: Floats, mine_AP: Floats, theirs_AP: Floats) -> Floats:
    """Return the difference of maxima after each exchange."""
    change_NA = flips_NP @ (theirs_AP - mine_AP).T / mine_AP.shape[1]
    mine_NA, theirs_NA = mine_AP.mean(axis=1) + change_NA, theirs_AP.mean(axis=1) - change_NA
    differences_N: Floats = mine_NA.max(axis=1) - theirs_NA.max(axis=1)
    return differences_N
