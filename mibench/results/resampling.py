"""Frozen random streams: which people and seeds each resample takes. Equal sizes have equal resamples, everywhere.

Shapes: D draws, S seeds, P people.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mibench.results.people import Scores

_SEED = int.from_bytes(b"mibench bootstrap over classes 1"[-8:], "big")
_TARGETS = int.from_bytes(b"mibench bootstrap over target seeds 1"[-8:], "big")


@lru_cache(maxsize=16)  # a board asks for the same few sizes thousands of times
def picks(draws: int, number: int, stratum: int = 0) -> NDArray[np.int64]:
    """Return which of a number of people each resample takes, ``(draws, number)``; other strata, other resamples."""
    return np.random.Generator(np.random.PCG64(_SEED + stratum)).integers(0, number, size=(draws, number))


@lru_cache(maxsize=8)
def _people_counts(draws: int, number: int, strata: tuple[tuple[int, ...], ...]) -> NDArray[np.float64]:
    counts_DP = np.zeros((draws, number))
    for place, people in enumerate(strata):
        counts_DP[:, people] = _counts(picks(draws, len(people), place), len(people))
    return counts_DP


def _seed_picks(draws: int, number: int, stratum: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64(_TARGETS + stratum)).integers(0, number, size=(draws, number))


def _counts(taken_DN: NDArray[np.int64], number: int) -> NDArray[np.float64]:
    draws = len(taken_DN)
    flat = taken_DN + number * np.arange(draws)[:, None]
    return np.bincount(flat.ravel(), minlength=draws * number).reshape(draws, number).astype(np.float64)


def people_counts(scores: Scores, draws: int) -> NDArray[np.float64]:
    """Return how often each resample takes each person, ``(draws, people)``; folds are resampled apart."""
    return _people_counts(draws, len(scores.people), tuple(stratum.people for stratum in scores.strata))


def seed_counts(scores: Scores, draws: int) -> NDArray[np.float64]:
    """Return how often each resample takes each seed, ``(draws, seeds)``; folds are resampled apart."""
    counts_DS = np.zeros((draws, len(scores.seeds)))
    for number, stratum in enumerate(scores.strata):
        size = len(stratum.seeds)
        counts_DS[:, stratum.seeds] = _counts(_seed_picks(draws, size, number), size)
    return counts_DS
