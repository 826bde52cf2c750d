"""Places and what they are worth, against loops over all orders of tied people, closed formulas and scipy."""

from itertools import permutations
from math import comb, factorial, log2

import numpy as np
import pytest
import torch
from mibench_metrics.places import (
    areas_of_places,
    bits_of_places,
    hits_of_places,
    places,
    reciprocals_of_places,
)

WORTHS = {
    "bits": (bits_of_places, lambda place, people: log2(people) - log2(place)),
    "reciprocal": (reciprocals_of_places, lambda place, people: 1 / place),
    "area": (areas_of_places, lambda place, people: (people - place) / (people - 1)),
    "first two": (lambda people: hits_of_places(people, 2), lambda place, people: float(place <= 2)),
}


def mean_over_orders(row, own, worth):
    """Break ties by every order of the people, and rank by sorting."""
    people = len(row)
    found = []
    for order in permutations(range(people)):
        ranked = sorted(range(people), key=lambda person: (-row[person], order[person]))
        found.append(worth(ranked.index(own) + 1, people))
    return np.mean(found)


@pytest.mark.parametrize("name", WORTHS)
@pytest.mark.parametrize(
    "row", [[0.5, 0.1, 0.5, 0.9, 0.5], [0.0] * 5, [0.9, 0.8, 0.7, 0.6, 0.5], [-0.1, -0.1, 0.3, 0.3, -1.0]]
)
def test_worth_is_the_mean_over_all_orders_of_tied_people(name, row):
    table, worth = WORTHS[name]
    similarity = torch.tensor([row] * 5, dtype=torch.float64)
    found = places(similarity, torch.arange(5)).expected(table(5))
    assert found.tolist() == pytest.approx([mean_over_orders(row, own, worth) for own in range(5)])


def test_ranks_are_those_of_scipy_where_people_are_tied_and_where_not():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    rows = np.round(rng.normal(size=(30, 12)), 1)  # many ties
    own = rng.integers(0, 12, 30)
    wanted = [stats.rankdata(-row)[person] for row, person in zip(rows, own, strict=True)]
    found = places(torch.tensor(rows), torch.tensor(own))
    assert found.ranks().tolist() == wanted
    assert found.tied_N.any()


def test_rounding_does_not_part_people_and_a_real_difference_does():
    similarity = torch.tensor([[0.3, 0.1 + 0.2, 0.3 + 1e-9]], dtype=torch.float64)
    assert 0.3 != 0.1 + 0.2
    found = places(similarity, torch.tensor([0]))
    assert (found.before_N.tolist(), found.tied_N.tolist()) == ([1], [1])


def test_what_is_no_number_stands_last():
    similarity = torch.tensor([[torch.nan, torch.nan, torch.nan], [0.2, torch.nan, 0.1]]).double()
    assert places(similarity, torch.tensor([2, 0])).ranks().tolist() == [3, 3]


@pytest.mark.parametrize("people", [2, 7, 600])
def test_a_blind_guess_has_the_chance_of_closed_formulas(people):
    """Mean log2 r is log2(P!) / P, the mean of 1/r the harmonic number over P, and the area a half."""
    logs = sum(log2(place) for place in range(1, people + 1))
    if people < 100:
        assert logs == pytest.approx(log2(factorial(people)))
    assert bits_of_places(people).mean().item() == pytest.approx(log2(people) - logs / people)
    assert areas_of_places(people).mean().item() == pytest.approx(0.5)
    harmonic = sum((-1) ** (k + 1) * comb(7, k) / k for k in range(1, 8))  # Euler: H_7 as an alternating sum
    assert reciprocals_of_places(7).mean().item() == pytest.approx(harmonic / 7)


def test_chance_is_1_44_bits_among_many_and_all_bits_are_had_by_the_first():
    assert bits_of_places(100_000).mean().item() == pytest.approx(1 / np.log(2), abs=1e-4)  # log2 e
    bits = bits_of_places(1024).tolist()
    assert (bits[0], bits[31], bits[-1]) == (10, 5, 0)
