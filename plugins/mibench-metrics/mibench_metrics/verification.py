"""Verification of a claimed identity: how often a claim passes where photographs of other people seldom would.

Shapes: N claims, R reference photographs, K people.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Impostors:
    """What photographs of other people score when they claim to be each person.

    Attributes:
        scores: for each person the scores of everybody else's photographs, ascending, float64.
    """

    scores: list[Tensor]

    @classmethod
    def of(cls, scores_RK: Tensor, owners_R: Tensor) -> Impostors:
        """Sort scores by the person whom they are compared with.

        Args:
            scores_RK: of each photograph for each person; higher is more alike.
            owners_R: person on each photograph; -1 for one who is none of the K.
        """
        people = range(scores_RK.shape[1])
        return cls([scores_RK[owners_R != person, person].double().sort().values for person in people])

    def fewest(self, people: Tensor) -> int:
        """Return the smallest number of impostors of any of these people."""
        return min(len(self.scores[person]) for person in people.unique().tolist())

    def resolves(self, rate: float, people: Tensor) -> bool:
        """Tell whether every one of these people has enough impostors for one of them to pass at a rate."""
        return self.fewest(people) * rate > 1 - 1e-9

    def thresholds(self, rate: float) -> Tensor:
        """Return for each person the lowest score that must be exceeded so that at most ``rate`` of impostors do (K,).

        With n impostors that is the score of the one of rank floor(n * rate) + 1; minus infinity without any.
        """
        found = []
        for own in self.scores:
            passing = int(len(own) * rate + 1e-9)
            found.append(own[len(own) - 1 - passing].item() if passing < len(own) else -torch.inf)
        return torch.tensor(found, dtype=torch.float64)

    def accepted(self, scores_N: Tensor, people_N: Tensor, rate: float) -> Tensor:
        """Tell which claims pass (N,), bool.

        Args:
            scores_N: score of each claim with the person that it claims to be.
            people_N: that person.
            rate: share of impostors that may pass, person by person.
        """
        return scores_N.double() > self.thresholds(rate)[people_N]

    def areas(self, scores_N: Tensor, people_N: Tensor) -> Tensor:
        """Return the share of the person's impostors that score less than each claim, ties half (N,)."""
        found = torch.full((len(scores_N),), 0.5, dtype=torch.float64)
        for index, (score, person) in enumerate(zip(scores_N.double(), people_N.tolist(), strict=True)):
            own = self.scores[person]
            if len(own):
                below, upto = torch.searchsorted(own, score), torch.searchsorted(own, score, right=True)
                found[index] = (below + upto).double() / (2 * len(own))
        return found
