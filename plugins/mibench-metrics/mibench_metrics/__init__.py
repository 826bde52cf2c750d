"""Leakage, utility and robustness metrics for mibench."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mibench.api import Column, MetricSpec, hookimpl

_ATTACKS = ("apgd-ce/", "apgd-t/", "fab-t/", "square/")
_ALONE = Column(name="robust_acc_alone", higher_is_better=True)
_RISE = Column(name="loss_rise", unit="nats", low=None, high=None)
_EACH_RADIUS: dict[str, Any] = {"each": "eps", "scale": 255}
_OF_CLASSES: dict[str, Any] = {"average": False, "images": "some"}
_STATISTICS = ("mean", "median", "min")
_DISTANCES: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("", "feature distance", 0.0, None),
    ("/max", "fraction", 0.0, 1.0),
    ("/zscore", "standard deviations", None, None),
)


@hookimpl
def mibench_metrics() -> Iterable[MetricSpec]:
    """List the metrics of this distribution."""
    yield MetricSpec(
        name="accuracy",
        factory="mibench_metrics.accuracy:Accuracy",
        group="utility",
        summary="Top-1 and top-5 accuracy of the target on held-out private images",
        columns=(
            *(Column(name=name, higher_is_better=True, images="heldout") for name in ("accuracy", "accuracy@5")),
            *(
                Column(name=f"accuracy@{top}/{part}", higher_is_better=True, images="some", optional=True)
                for part in ("train", "val")
                for top in (1, 5)
            ),
        ),
    )
    yield MetricSpec(
        name="robust-accuracy",
        factory="mibench_metrics.robust_accuracy.metric:RobustAccuracy",
        group="robustness",
        summary="Accuracy of the target under AutoAttack, L-infinity, over a sweep of eps, and its median radius",
        paper="autoattack.bib",
        columns=(
            Column(name="robust_acc@{each}", higher_is_better=True, images="some", each="eps", scale=255),
            Column(
                name="median_radius",
                unit="1/255",
                higher_is_better=True,
                high=255.0,
                average=False,
                images="some",
                optional=True,
            ),
            *(
                replace(column, name=f"{column.name}/{attack}{{each}}", images="some", optional=True, **_EACH_RADIUS)
                for column, attacks in ((_ALONE, _ATTACKS), (_RISE, ("", *_ATTACKS)))
                for attack in attacks
            ),
        ),
    )
    yield MetricSpec(
        name="attack-accuracy",
        factory="mibench_metrics.attack_accuracy:AttackAccuracy",
        group="leakage",
        summary="How often evaluators recognise the attacked class in a reconstruction, top-1 and top-5",
        paper="ppa.bib",
        columns=(
            *(Column(name=f"attack_acc@{top}{judge}") for top in (1, 5) for judge in ("", "/{evaluator}")),
            Column(name="attack_conf/{evaluator}", optional=True),
            Column(name="attack_conf_correct/{evaluator}", images="some", optional=True),
        ),
    )
    yield MetricSpec(
        name="re-identification",
        factory="mibench_metrics.re_identification:ReIdentification",
        group="leakage",
        summary="How often an independent embedder matches a reconstruction to its own person's training images",
        columns=(Column(name="reid@1"), Column(name="reid@5"), Column(name="reid_cosine", unit="cosine", low=-1.0)),
    )
    yield MetricSpec(
        name="target-confidence",
        factory="mibench_metrics.target_confidence:TargetConfidence",
        group="leakage",
        summary="The target's own confidence in what an attack delivered: tells private from hard to optimise",
        columns=(Column(name="target_conf"), Column(name="target_acc@1")),
    )
    yield MetricSpec(
        name="feature-clusters",
        factory="mibench_metrics.feature_clusters:FeatureClusters",
        group="dependency",
        summary="How tightly the target's features cluster by class: nearest neighbours, their ratios, silhouette",
        columns=(
            *(
                Column(name=f"{name}{suffix}", unit=unit, higher_is_better=better, low=low, high=high, **_OF_CLASSES)
                for name, better in (("nn_intra", False), ("nn_inter", True))
                for suffix, unit, low, high in _DISTANCES
            ),
            *(Column(name=f"nn_ratio/{name}", unit="ratio", high=None, **_OF_CLASSES) for name in _STATISTICS),
            Column(name="silhouette", unit="silhouette", higher_is_better=True, low=-1.0, images="some"),
        ),
    )
