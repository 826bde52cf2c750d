"""The columns that each metric of this distribution reports, for boards. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mibench.api import Column

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

ACCURACY: tuple[Column, ...] = (
    *(Column(name=name, higher_is_better=True, images="heldout") for name in ("accuracy", "accuracy@5")),
    *(
        Column(name=f"accuracy@{top}/{part}", higher_is_better=True, images="some", optional=True)
        for part in ("train", "val")
        for top in (1, 5)
    ),
)
ROBUST_ACCURACY: tuple[Column, ...] = (
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
)
ATTACK_ACCURACY: tuple[Column, ...] = (
    *(Column(name=f"attack_acc@{top}{judge}") for top in (1, 5) for judge in ("", "/{evaluator}")),
    Column(name="attack_conf/{evaluator}", optional=True),
    Column(name="attack_conf_correct/{evaluator}", images="some", optional=True),
)
RE_IDENTIFICATION: tuple[Column, ...] = (
    Column(name="reid@1"),
    Column(name="reid@5"),
    Column(name="reid_cosine", unit="cosine", low=-1.0),
)
TARGET_CONFIDENCE: tuple[Column, ...] = (Column(name="target_conf"), Column(name="target_acc@1"))
FEATURE_CLUSTERS: tuple[Column, ...] = (
    *(
        Column(name=f"{name}{suffix}", unit=unit, higher_is_better=better, low=low, high=high, **_OF_CLASSES)
        for name, better in (("nn_intra", False), ("nn_inter", True))
        for suffix, unit, low, high in _DISTANCES
    ),
    *(Column(name=f"nn_ratio/{name}", unit="ratio", high=None, **_OF_CLASSES) for name in _STATISTICS),
    Column(name="silhouette", unit="silhouette", higher_is_better=True, low=-1.0, images="some"),
)
