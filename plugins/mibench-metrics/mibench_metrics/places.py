"""Where the own person stands among all people of a gallery, and what that is worth.

Shapes: N reconstructions, P people.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TIE = 1e-12
"""Cosines that are no further apart are equal: rounding of sums of products in float64."""


@dataclass(frozen=True)
class Places:
    """The place of the own person, the most similar person first.

    Attributes:
        before_N: how many people are more similar than the own one, int64.
        tied_N: how many others are exactly as similar, int64.
    """

    before_N: Tensor
    tied_N: Tensor

    def expected(self, worth_P: Tensor) -> Tensor:
        """Return what the places are worth (N,), float64; ties are broken at random, and the mean of that is taken.

        Args:
            worth_P: what the first place is worth, the second, and so on.
        """
        sums_P = torch.cat([torch.zeros(1, dtype=torch.float64), worth_P.double().cumsum(0)])
        last_N = self.before_N + self.tied_N
        tied = (sums_P[last_N + 1] - sums_P[self.before_N]) / (self.tied_N + 1)
        return torch.where(self.tied_N > 0, tied, worth_P.double()[self.before_N])

    def ranks(self) -> Tensor:
        """Return the place, 1 for the first (N,), float64; the middle one where people are tied."""
        return self.before_N + 1 + self.tied_N / 2


def places(similarity_NP: Tensor, own_N: Tensor) -> Places:
    """Find the own person of each reconstruction.

    Where a similarity is not a number, the own person stands last.

    Args:
        similarity_NP: of each reconstruction to each person, float64.
        own_N: index of the own person.
    """
    own_N1 = similarity_NP.gather(1, own_N.view(-1, 1))
    near_NP = (similarity_NP - own_N1).abs() <= TIE
    before_N = ((similarity_NP > own_N1) & ~near_NP).sum(1)
    broken_N = similarity_NP.isnan().any(1)
    last = similarity_NP.shape[1] - 1
    return Places(torch.where(broken_N, last, before_N), torch.where(broken_N, 0, near_NP.sum(1) - 1))


def bits_of_places(people: int) -> Tensor:
    """Return log2 P - log2 r for the places r = 1 .. P: bits by which a search for the person is shorter (P,)."""
    return torch.tensor(people, dtype=torch.float64).log2() - torch.arange(1, people + 1, dtype=torch.float64).log2()


def areas_of_places(people: int) -> Tensor:
    """Return 1 - (r - 1) / (P - 1): the share of others who are less similar than the own person (P,), P >= 2."""
    return 1 - torch.arange(people, dtype=torch.float64) / (people - 1)


def hits_of_places(people: int, top: int) -> Tensor:
    """Return 1 for the first places and 0 for the others (P,)."""
    return (torch.arange(people) < top).double()


def reciprocals_of_places(people: int) -> Tensor:
    """Return 1 / r (P,)."""
    return 1 / torch.arange(1, people + 1, dtype=torch.float64)
