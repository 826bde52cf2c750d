"""Every metric keeps the contract of metrics, what it announces included."""

from __future__ import annotations

from typing import ClassVar

import mibench_metrics
from mibench_metrics.accuracy import Accuracy
from mibench_metrics.attack_accuracy import AttackAccuracy
from mibench_metrics.delta import DeltaEval, DeltaFace
from mibench_metrics.dependency import Dependency
from mibench_metrics.face_shape import FaceShape
from mibench_metrics.feature_clusters import FeatureClusters
from mibench_metrics.fisher_information import FisherInformation
from mibench_metrics.gradient_alignment import GradientAlignment
from mibench_metrics.hcr import HammersleyChapmanRobbins
from mibench_metrics.identity_bits import IdentityBits
from mibench_metrics.memorisation import Memorisation
from mibench_metrics.mi_roc import MiRoc
from mibench_metrics.re_identification import ReIdentification
from mibench_metrics.robust_accuracy.metric import RobustAccuracy
from mibench_metrics.sample_quality import SampleQuality
from mibench_metrics.target_confidence import TargetConfidence
from mibench_metrics.training_distance import TrainingDistance
from mibench_metrics.training_leakage import TrainingLeakage

from mibench.testing import MetricContract

COLUMNS = {spec.name: spec.columns for spec in mibench_metrics.mibench_metrics()}


class TestAccuracy(MetricContract):
    component = Accuracy
    columns = COLUMNS["accuracy"]
    settings: ClassVar = {"parts": ["train"]}


class TestAttackAccuracy(MetricContract):
    component = AttackAccuracy
    columns = COLUMNS["attack-accuracy"]
    settings: ClassVar = {"confidences": True}


class TestReIdentification(MetricContract):
    component = ReIdentification
    columns = COLUMNS["re-identification"]


class TestIdentityBits(MetricContract):
    component = IdentityBits
    columns = COLUMNS["identity-bits"]


class TestFaceShape(MetricContract):
    component = FaceShape
    columns = COLUMNS["face-shape"]


class TestDeltaFace(MetricContract):
    component = DeltaFace
    columns = COLUMNS["delta-face"]


class TestDeltaEval(MetricContract):
    component = DeltaEval
    columns = COLUMNS["delta-eval"]


class TestMiRoc(MetricContract):
    component = MiRoc
    columns = COLUMNS["mi-roc"]


class TestTrainingLeakage(MetricContract):
    component = TrainingLeakage
    columns = COLUMNS["training-leakage"]


class TestSampleQuality(MetricContract):
    component = SampleQuality
    columns = COLUMNS["sample-quality"]
    settings: ClassVar = {"neighbours": 1}


class TestTargetConfidence(MetricContract):
    component = TargetConfidence
    columns = COLUMNS["target-confidence"]


class TestFeatureClusters(MetricContract):
    component = FeatureClusters
    columns = COLUMNS["feature-clusters"]


class TestRobustAccuracy(MetricContract):
    component = RobustAccuracy
    columns = COLUMNS["robust-accuracy"]
    settings: ClassVar = {"profile": "smoke", "eps": [0.01, 0.02], "stand_alone": True}


class TestDependency(MetricContract):
    component = Dependency
    columns = COLUMNS["dependency"]
    settings: ClassVar = {"batch": 8, "shuffles": 2}


class TestFisherInformation(MetricContract):
    component = FisherInformation
    columns = COLUMNS["fisher-information"]


class TestHammersleyChapmanRobbins(MetricContract):
    component = HammersleyChapmanRobbins
    columns = COLUMNS["hcr"]
    settings: ClassVar = {"max_images": 3, "iterations": 20}


class TestGradientAlignment(MetricContract):
    component = GradientAlignment
    columns = COLUMNS["gradient-alignment"]


class TestMemorisation(MetricContract):
    component = Memorisation
    columns = COLUMNS["memorisation"]


class TestTrainingDistance(MetricContract):
    component = TrainingDistance
    columns = COLUMNS["training-distance"]
