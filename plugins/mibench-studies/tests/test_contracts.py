"""Every study keeps the contract of studies."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import synthetic as made
from mibench_studies.studies.cost_of_privacy import CostOfPrivacy
from mibench_studies.studies.dependency import DependencyStudy
from mibench_studies.studies.mechanism import Mechanism
from mibench_studies.studies.memorisation import MemorisationStudy
from mibench_studies.studies.randomised_trial import RandomisedTrial
from mibench_studies.studies.trade_off import TradeOff
from mibench_studies.studies.unseen_pixels import UnseenPixelsStudy
from mibench_studies.studies.utility_matched import UtilityMatched

from mibench.testing import StudyContract

INSTALLED = {"atat": "at-at", "bido": "dependency", "negls": "smoothing", "rolss": "skips", "random-labels": ""}


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, mibench_studies; assert len(list(mibench_studies.mibench_studies())) == 8;"
        "bad = {'torch', 'numpy', 'pandas', 'matplotlib', 'statsmodels'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class TestMechanism(StudyContract):
    component = Mechanism
    defenses = INSTALLED
    evidence = made.mechanism(direction=1.0)


class TestTradeOff(StudyContract):
    component = TradeOff
    defenses = INSTALLED
    evidence = made.trade_off()


class TestCostOfPrivacy(StudyContract):
    component = CostOfPrivacy
    defenses = INSTALLED
    settings: ClassVar = {"draws": 100}
    evidence = made.trade_off()


class TestDependency(StudyContract):
    component = DependencyStudy
    defenses = INSTALLED
    evidence = made.dependency()


class TestRandomisedTrial(StudyContract):
    component = RandomisedTrial
    defenses = INSTALLED
    settings: ClassVar = {"placebo": True, "label_smoothing": True, "random_direction": True, "targets": 30}
    evidence = made.trial(random_direction=0.1)


class TestMemorisation(StudyContract):
    component = MemorisationStudy
    defenses = INSTALLED
    evidence = made.memorisation()


class TestUnseenPixels(StudyContract):
    component = UnseenPixelsStudy
    defenses = INSTALLED
    evidence = made.unseen()


class TestUtilityMatched(StudyContract):
    component = UtilityMatched
    defenses = INSTALLED
    evidence = made.matched()
