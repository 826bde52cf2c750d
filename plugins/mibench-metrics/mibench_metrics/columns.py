"""The columns and flags that each metric of this distribution announces, for boards. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from mibench.api import Column, MetricFlag

_ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
_EACH_RADIUS: dict[str, Any] = {"each": "eps", "scale": 255, "radius": True, "images": "some"}
SQUARE_GAIN = 0.002
"""Share of images that the Square attack may break beyond the others; AutoAttack's own threshold."""
_EVALUATOR = "{evaluator}"
_OF_CLASSES: dict[str, Any] = {"average": False, "images": "some"}
_STATISTICS = ("mean", "median", "min")
_DISTANCES: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("", "feature distance", 0.0, None),
    ("/max", "fraction", 0.0, 1.0),
    ("/zscore", "standard deviations", None, None),
)

_CORRECT: dict[str, Any] = {"role": "accuracy", "base": "accuracy", "higher_is_better": True}
ACCURACY: tuple[Column, ...] = (
    Column(**_CORRECT, name="accuracy", k=1, images="heldout"),
    Column(**_CORRECT, k=5, images="heldout"),
    *(
        Column(**_CORRECT, k=top, part=part, images="some", optional=True)
        for part in ("train", "val")
        for top in (1, 5)
    ),
)

_ROBUST: dict[str, Any] = {"role": "robust_accuracy", "higher_is_better": True, **_EACH_RADIUS}
_RISE: dict[str, Any] = {"base": "loss_rise", "unit": "nats", "low": None, "high": None, **_EACH_RADIUS}
ROBUST_ACCURACY: tuple[Column, ...] = (
    Column(**_ROBUST, base="robust_acc"),
    Column(
        base="median_radius",
        unit="1/255",
        higher_is_better=True,
        high=255.0,
        average=False,
        images="some",
        optional=True,
    ),
    *(
        Column(
            **_ROBUST, name=f"robust_acc_alone/{attack}/{{each}}", base="robust_acc_alone", attack=attack, optional=True
        )
        for attack in _ATTACKS
    ),
    Column(**_RISE, name="loss_rise/{each}", optional=True),
    *(Column(**_RISE, name=f"loss_rise/{attack}/{{each}}", attack=attack, optional=True) for attack in _ATTACKS),
)
ROBUSTNESS_FLAGS: tuple[MetricFlag, ...] = (
    MetricFlag(
        id="zero-gradients",
        detail="zero_gradient_fraction",
        text="{detail:.0%} of images have a zero gradient: robust accuracy may be overestimated",
    ),
    MetricFlag(
        id="randomised-forward",
        detail="randomised",
        text="the target's forward pass is random: attacks must average over it before the numbers mean anything",
    ),
    MetricFlag(id="outputs-look-like-probabilities", detail="probabilities"),
    MetricFlag(
        id="square-beats-white-box",
        detail="square_gain",
        above=SQUARE_GAIN,
        text="the black-box Square attack breaks {detail:.1%} of images that white-box attacks left: masked gradients",
    ),
)

_RECOGNISED: dict[str, Any] = {"role": "attack_accuracy", "base": "attack_acc"}
ATTACK_ACCURACY: tuple[Column, ...] = (
    *(Column(**_RECOGNISED, k=top, evaluator=judge) for top in (1, 5) for judge in ("", _EVALUATOR)),
    Column(base="attack_conf", evaluator=_EVALUATOR, optional=True),
    Column(base="attack_conf_correct", evaluator=_EVALUATOR, images="some", optional=True),
)
RE_IDENTIFICATION: tuple[Column, ...] = (
    *(Column(role="re_identification", base="reid", k=top) for top in (1, 5)),
    Column(base="reid_cosine", unit="cosine", low=-1.0),
)
IDENTITY_BITS: tuple[Column, ...] = (
    Column(base="id_bits", unit="bits", high=None),
    Column(base="id_mrr"),
    Column(base="id_auc"),
    *(Column(role="re_identification", base="id_reid", k=top) for top in (1, 5)),
    Column(base="id_cosine", unit="cosine", low=-1.0),
)
_DELTA: dict[str, Any] = {"unit": "squared distance", "higher_is_better": True}
DELTA_FACE: tuple[Column, ...] = (Column(**_DELTA, base="delta_face", high=4.0),)
DELTA_EVAL: tuple[Column, ...] = (Column(**_DELTA, base="delta_eval", evaluator=_EVALUATOR, high=None),)
MI_ROC: tuple[Column, ...] = (
    Column(base="mi_auc"),
    *(Column(base=base, optional=True) for base in ("mi_tpr_1pct", "mi_tpr_0.1pct")),
)
TRAINING_LEAKAGE: tuple[Column, ...] = tuple(
    Column(base=base, images="some") for base in ("train_leaked", "train_leaked_even")
)
_SHARES = (
    ("precision", "fraction", 1.0),
    ("recall", "fraction", 1.0),
    ("density", "ratio", None),
    ("coverage", "fraction", 1.0),
)
_ALIKE: dict[str, Any] = {"higher_is_better": True, "optional": True, "high": None}
SAMPLE_QUALITY: tuple[Column, ...] = (
    *(
        Column(base=f"{space}_{name}", unit=unit, high=high, average=False, optional=True)
        for space in ("prdc", "inception")
        for name, unit, high in _SHARES
    ),
    Column(**_ALIKE, base="fid", unit="squared distance", average=False),
    Column(**_ALIKE, base="kid", unit="squared distance", low=None, average=False),
    Column(**_ALIKE, base="lpips", unit="lpips"),
)
FACE_SHAPE: tuple[Column, ...] = (Column(base="shape_mm", unit="mm", higher_is_better=True, high=None),)
TARGET_CONFIDENCE: tuple[Column, ...] = (Column(base="target_conf"), Column(base="target_acc", k=1))
FEATURE_CLUSTERS: tuple[Column, ...] = (
    *(
        Column(name=f"{name}{suffix}", unit=unit, higher_is_better=better, low=low, high=high, **_OF_CLASSES)
        for name, better in (("nn_intra", False), ("nn_inter", True))
        for suffix, unit, low, high in _DISTANCES
    ),
    *(Column(name=f"nn_ratio/{name}", unit="ratio", high=None, **_OF_CLASSES) for name in _STATISTICS),
    Column(name="silhouette", unit="silhouette", higher_is_better=True, low=-1.0, images="some"),
)

_WHOLE: dict[str, Any] = {"average": False, "images": "some"}
DEPENDENCY: tuple[Column, ...] = tuple(
    Column(base=f"{base}_{pair}{suffix}", unit=unit, low=low, high=high, **_WHOLE)
    for pair in ("xz", "zy")
    for base, suffix, unit, low, high in (
        ("hsic", "", "normalised HSIC", 0.0, None),
        ("hsic", "_corrected", "normalised HSIC", None, None),
        ("cka", "", "fraction", 0.0, 1.0),
        ("hsic_median", "", "fraction", 0.0, 1.0),
    )
)
FISHER_INFORMATION: tuple[Column, ...] = (
    Column(base="fil", unit="1/pixel", high=None, images="some"),
    Column(base="unread_pixels", higher_is_better=True, images="some"),
    Column(base="crb_pixel", unit="pixel", higher_is_better=True, high=None, images="some", optional=True),
)
HCR: tuple[Column, ...] = tuple(
    Column(base=base, unit="pixel", higher_is_better=True, high=None, images="some") for base in ("hcr", "hcr_low")
)
GRADIENT_ALIGNMENT: tuple[Column, ...] = (Column(base="tangent_cosine", images="some"),)
MEMORISATION: tuple[Column, ...] = (
    Column(base="train_acc", images="some"),
    Column(base="train_test_gap", unit="difference of fractions", low=-1.0, **_WHOLE),
    Column(base="train_conf", images="some"),
)
TRAINING_DISTANCE: tuple[Column, ...] = tuple(
    Column(
        base=f"train_l2_{part}",
        unit="squared distance",
        higher_is_better=True,
        high=4.0,
        images="some" if part == "assigned" else "delivered",
        optional=part == "assigned",
    )
    for part in ("any", "true", "assigned")
)
