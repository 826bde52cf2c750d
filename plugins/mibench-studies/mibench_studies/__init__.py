"""Studies for mibench: claims about defenses against model inversion, put to the test. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import StudySpec, hookimpl

_PAPER = "atat.bib"
STUDIES = (
    StudySpec(
        name="mechanism",
        factory="mibench_studies.studies.mechanism:Mechanism",
        summary="Which part of AT-AT protects, its adversarial direction or its wrong labels, and against whom",
        paper=_PAPER,
    ),
    StudySpec(
        name="trade-off",
        factory="mibench_studies.studies.trade_off:TradeOff",
        summary="Do robust accuracies predict leakage, and does clean accuracy add anything? OLS and Beta regression",
        paper=_PAPER,
    ),
    StudySpec(
        name="cost-of-privacy",
        factory="mibench_studies.studies.cost_of_privacy:CostOfPrivacy",
        summary="Points of robust accuracy per point of leakage at each radius, with intervals",
        paper=_PAPER,
    ),
    StudySpec(
        name="dependency",
        factory="mibench_studies.studies.dependency:DependencyStudy",
        summary="Does the dependence between image and activations predict leakage?",
        paper=_PAPER,
    ),
    StudySpec(
        name="randomised-trial",
        factory="mibench_studies.studies.randomised_trial:RandomisedTrial",
        summary="Does training with AT-AT cause lower leakage? Targets are assigned at random before training",
        paper=_PAPER,
        version="1.1",
    ),
    StudySpec(
        name="utility-matched",
        factory="mibench_studies.studies.utility_matched:UtilityMatched",
        summary="Which defense leaks less than plain training at equal accuracy? Sweeps on validation people",
        version="1.1",
    ),
    StudySpec(
        name="memorisation",
        factory="mibench_studies.studies.memorisation:MemorisationStudy",
        summary="Do models that memorise most leak most? True labels against permuted ones",
        paper=_PAPER,
    ),
    StudySpec(
        name="unseen-pixels",
        factory="mibench_studies.studies.unseen_pixels:UnseenPixelsStudy",
        summary="Does a network that never reads most pixels leak little? Leakage against the share that is read",
        paper=_PAPER,
        version="1.1",
    ),
)


@hookimpl
def mibench_studies() -> Iterable[StudySpec]:
    """Return the studies of this distribution."""
    return STUDIES
