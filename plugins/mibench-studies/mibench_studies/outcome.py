"""The fraction that regressions explain, and the rows that they are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mibench.api import StudyEvidence
from mibench_studies.frames import attack_notes, need_columns, robust_columns, targets_frame, useful
from mibench_studies.strengths import NOT_A_DEFENSE

Floats = NDArray[np.float64]
Outcome = Literal["normalised", "attack_accuracy"]
PER_COEFFICIENT = 5
"""Rows for each coefficient, below which nothing is fitted."""
LEAST_CLUSTERS = 5


@dataclass(frozen=True)
class Regression:
    """Rows for a regression.

    Attributes:
        frame: one row for each target.
        y: the outcome, (N,).
        columns: robust accuracies that vary, smallest radius first.
        clusters: the defense of each row.
        notes: what was cut or left out.
    """

    frame: pd.DataFrame
    y: Floats
    columns: tuple[str, ...]
    clusters: tuple[str, ...]
    notes: tuple[str, ...]

    def x(self, *more: str) -> Floats:
        """Return the robust accuracies, and more columns after them."""
        made: Floats = self.frame[[*self.columns, *more]].to_numpy(float)
        return made


def make_regression(evidence: StudyEvidence, outcome: Outcome) -> Regression:
    """Return rows with an outcome, an accuracy and robust accuracies.

    Raises:
        TooFewRecords: with fewer than five rows for each coefficient of the largest model, or five defenses.
    """
    everything, notes_on_useless = useful(targets_frame(evidence))
    frame = everything[~everything["defense"].isin(NOT_A_DEFENSE)] if len(everything) else everything
    need_columns(evidence, frame, (outcome, "accuracy"))
    robust = robust_columns(frame)
    evidence.require(len(robust), 1, "columns of robust accuracy in the records")
    kept = frame.dropna(subset=[outcome, "accuracy", *robust]).reset_index(drop=True)
    varying = tuple(name for name in robust if kept[name].std() > 1e-6)
    evidence.require(len(varying), 1, "robust accuracies that differ between targets")
    evidence.require(len(kept), PER_COEFFICIENT * (len(varying) + 2), "trained targets with all numbers")
    clusters = tuple(kept["defense"])
    evidence.require(len(set(clusters)), LEAST_CLUSTERS, "defenses among them")
    notes = [*attack_notes(evidence), *notes_on_useless]
    if apart := len(everything) - len(frame):
        notes.append(f"{apart} targets of {', '.join(sorted(NOT_A_DEFENSE))} are experiments and left out.")
    if dropped := len(frame) - len(kept):
        notes.append(f"{dropped} targets lack a number and are left out.")
    if constant := [name for name in robust if name not in varying]:
        notes.append(f"{', '.join(constant)}: the same for all targets, and left out.")
    outside = int(((kept[outcome] < 0) | (kept[outcome] > 1)).sum())
    if outside:
        notes.append(f"{outside} of {len(kept)} values of {outcome} lie outside [0, 1] and are cut.")
    if len(set(clusters)) < 10:
        notes.append(f"{len(set(clusters))} defenses are few for cluster-robust errors, which are then too small.")
    return Regression(kept, kept[outcome].clip(0, 1).to_numpy(float), varying, clusters, tuple(notes))
