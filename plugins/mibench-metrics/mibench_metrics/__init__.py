"""Leakage, utility and robustness metrics for mibench."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import MetricSpec, hookimpl
from mibench_metrics.columns import (
    ACCURACY,
    ATTACK_ACCURACY,
    DELTA_EVAL,
    DELTA_FACE,
    DEPENDENCY,
    FACE_SHAPE,
    FEATURE_CLUSTERS,
    FISHER_INFORMATION,
    GRADIENT_ALIGNMENT,
    HCR,
    IDENTITY_BITS,
    MEMORISATION,
    MI_ROC,
    RE_IDENTIFICATION,
    ROBUST_ACCURACY,
    ROBUSTNESS_FLAGS,
    SAMPLE_QUALITY,
    TARGET_CONFIDENCE,
    TRAINING_DISTANCE,
    TRAINING_LEAKAGE,
)

METRICS = (
    MetricSpec(
        name="accuracy",
        factory="mibench_metrics.accuracy:Accuracy",
        group="utility",
        summary="Top-1 and top-5 accuracy of the target on held-out private images",
        columns=ACCURACY,
    ),
    MetricSpec(
        name="robust-accuracy",
        factory="mibench_metrics.robust_accuracy.metric:RobustAccuracy",
        group="robustness",
        summary="Accuracy of the target under AutoAttack, L-infinity, over a sweep of eps, and its median radius",
        paper="autoattack.bib",
        columns=ROBUST_ACCURACY,
        flags=ROBUSTNESS_FLAGS,
    ),
    MetricSpec(
        name="attack-accuracy",
        factory="mibench_metrics.attack_accuracy:AttackAccuracy",
        group="leakage",
        summary="How often evaluators recognise the attacked class in a reconstruction, top-1 and top-5",
        paper="ppa.bib",
        columns=ATTACK_ACCURACY,
    ),
    MetricSpec(
        name="re-identification",
        factory="mibench_metrics.re_identification:ReIdentification",
        group="leakage",
        summary="How often an independent embedder matches a reconstruction to its own person's training images",
        columns=RE_IDENTIFICATION,
    ),
    MetricSpec(
        name="identity-bits",
        factory="mibench_metrics.identity_bits:IdentityBits",
        group="leakage",
        summary="How many bits of who the person is an independent embedder finds, among private people and strangers",
        columns=IDENTITY_BITS,
    ),
    MetricSpec(
        name="face-shape",
        factory="mibench_metrics.face_shape:FaceShape",
        group="leakage",
        summary="Millimetres between the face of a reconstruction, by its embedding, and the person's true face",
        columns=FACE_SHAPE,
    ),
    MetricSpec(
        name="delta-face",
        factory="mibench_metrics.delta:DeltaFace",
        group="leakage",
        summary="Distance of a reconstruction to its person's nearest training image, by the embedder",
        paper="ppa.bib",
        columns=DELTA_FACE,
    ),
    MetricSpec(
        name="delta-eval",
        factory="mibench_metrics.delta:DeltaEval",
        group="leakage",
        summary="Distance of a reconstruction to its class's nearest training image, by evaluators' features",
        paper="ppa.bib",
        columns=DELTA_EVAL,
    ),
    MetricSpec(
        name="mi-roc",
        factory="mibench_metrics.mi_roc:MiRoc",
        group="leakage",
        summary="How many reconstructions pass for their person where 1 % or 0.1 % of other people's photographs do",
        paper="lira.bib",
        columns=MI_ROC,
    ),
    MetricSpec(
        name="training-leakage",
        factory="mibench_metrics.training_leakage:TrainingLeakage",
        group="leakage",
        summary="Share of training images to which a reconstruction comes nearer than unseen photographs do",
        columns=TRAINING_LEAKAGE,
    ),
    MetricSpec(
        name="sample-quality",
        factory="mibench_metrics.sample_quality:SampleQuality",
        group="leakage",
        summary="FID, KID, precision, recall, density, coverage and LPIPS of reconstructions against training images",
        paper="prdc.bib",
        columns=SAMPLE_QUALITY,
    ),
    MetricSpec(
        name="target-confidence",
        factory="mibench_metrics.target_confidence:TargetConfidence",
        group="leakage",
        summary="The target's own confidence in what an attack delivered: tells private from hard to optimise",
        columns=TARGET_CONFIDENCE,
    ),
    MetricSpec(
        name="feature-clusters",
        factory="mibench_metrics.feature_clusters:FeatureClusters",
        group="dependency",
        summary="How tightly the target's features cluster by class: nearest neighbours, their ratios, silhouette",
        columns=FEATURE_CLUSTERS,
    ),
    MetricSpec(
        name="dependency",
        factory="mibench_metrics.dependency:Dependency",
        group="dependency",
        summary="What the target's stages tell about image and label: HSIC as published, corrected, and free of scale",
        columns=DEPENDENCY,
    ),
    MetricSpec(
        name="fisher-information",
        factory="mibench_metrics.fisher_information:FisherInformation",
        group="dependency",
        summary="Fisher information loss of noisy features, Cramér-Rao bound of a pixel, share of pixels never read",
        columns=FISHER_INFORMATION,
    ),
    MetricSpec(
        name="hcr",
        factory="mibench_metrics.hcr:HammersleyChapmanRobbins",
        group="dependency",
        summary="Hammersley-Chapman-Robbins bound on unbiased reconstructions from noisy features; small networks",
        columns=HCR,
    ),
    MetricSpec(
        name="gradient-alignment",
        factory="mibench_metrics.gradient_alignment:GradientAlignment",
        group="dependency",
        summary="How far the target's gradients point along images of people that it does not know",
        columns=GRADIENT_ALIGNMENT,
    ),
    MetricSpec(
        name="memorisation",
        factory="mibench_metrics.memorisation:Memorisation",
        group="utility",
        summary="Accuracy and confidence on training images without augmentation, and the gap to new images",
        columns=MEMORISATION,
    ),
    MetricSpec(
        name="training-distance",
        factory="mibench_metrics.training_distance:TrainingDistance",
        group="leakage",
        summary="Distance of reconstructions to the training images of their person, of their class, and of all",
        columns=TRAINING_DISTANCE,
    ),
)


@hookimpl
def mibench_metrics() -> Iterable[MetricSpec]:
    """Return the metrics of this distribution."""
    return METRICS
