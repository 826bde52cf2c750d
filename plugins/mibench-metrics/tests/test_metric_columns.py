"""What the metrics announce of their columns and flags is what they measure, and what published names say."""

from dataclasses import replace

import mibench_metrics
import pytest
import torch
from mibench_metrics.attack_accuracy import AttackAccuracy
from mibench_metrics.columns import ROBUSTNESS_FLAGS
from mibench_metrics.robust_accuracy.gradient_checks import Checks

from mibench.api import Quantity
from mibench.api.column_names import beyond_name

SPECS = {spec.name: spec for spec in mibench_metrics.mibench_metrics()}
EPS = (0.25 / 255, 1e-5, 0.031)
ATTACKS, RADII = ("apgd-ce", "apgd-t", "fab-t", "square"), ("0.25", "0.00255", "7.905")
ALONE = [
    *(f"robust_acc_alone/{attack}/{radius}" for attack in ATTACKS for radius in RADII),
    *(f"loss_rise/{attack}{radius}" for attack in ("", *(f"{name}/" for name in ATTACKS)) for radius in RADII),
]
NAMES = {
    "accuracy": "accuracy accuracy@5 accuracy@1/train accuracy@5/train accuracy@1/val accuracy@5/val",
    "robust-accuracy": " ".join(["robust_acc@0.25 robust_acc@0.00255 robust_acc@7.905 median_radius", *ALONE]),
    "attack-accuracy": "attack_acc@1 attack_acc@1/a attack_acc@1/b attack_acc@5 attack_acc@5/a attack_acc@5/b"
    " attack_conf/a attack_conf/b attack_conf_correct/a attack_conf_correct/b",
    "re-identification": "reid@1 reid@5 reid_cosine",
    "identity-bits": "id_bits id_mrr id_auc id_reid@1 id_reid@5 id_cosine",
    "face-shape": "shape_mm",
    "delta-face": "delta_face",
    "delta-eval": "delta_eval/a delta_eval/b",
    "mi-roc": "mi_auc mi_tpr_1pct mi_tpr_0.1pct",
    "training-leakage": "train_leaked train_leaked_even",
    "sample-quality": "prdc_precision prdc_recall prdc_density prdc_coverage inception_precision inception_recall"
    " inception_density inception_coverage fid kid lpips",
    "target-confidence": "target_conf target_acc@1",
    "feature-clusters": "nn_intra nn_intra/max nn_intra/zscore nn_inter nn_inter/max nn_inter/zscore"
    " nn_ratio/mean nn_ratio/median nn_ratio/min silhouette",
    "dependency": "hsic_xz hsic_xz_corrected cka_xz hsic_median_xz hsic_zy hsic_zy_corrected cka_zy hsic_median_zy",
    "fisher-information": "fil unread_pixels crb_pixel",
    "hcr": "hcr hcr_low",
    "gradient-alignment": "tangent_cosine",
    "memorisation": "train_acc train_test_gap train_conf",
    "training-distance": "train_l2_any train_l2_true train_l2_assigned",
}
"""Names that published records and boards know; they never change."""
BEYOND = {f"id_reid@{k}": Quantity(role="re_identification", base="id_reid", k=k) for k in (1, 5)} | {
    f"delta_eval/{judge}": Quantity(base="delta_eval", evaluator=judge) for judge in ("a", "b")
}
"""Columns that are more than their names say."""


def expanded(name, params):
    return {one.column.name: one for column in SPECS[name].columns for one in column.expand(params, ["a", "b"])}


@pytest.mark.parametrize("name", SPECS)
def test_names_stay_and_say_all_that_the_fields_say(name):
    found = expanded(name, {"eps": EPS})
    assert set(found) == set(NAMES[name].split())
    assert {column: beyond_name(column, one.quantity) for column, one in found.items()} == {
        column: BEYOND.get(column) for column in found
    }


@pytest.mark.parametrize(
    ("flag", "checks", "gain"),
    [
        ("zero-gradients", Checks(False, False, 0.125), 0.0),
        ("randomised-forward", Checks(True, False, 0.0), 0.0),
        ("outputs-look-like-probabilities", Checks(False, True, 0.0), 0.0),
        ("square-beats-white-box", Checks(False, False, 0.0), 0.01),
    ],
)
def test_flags_follow_from_the_details_that_they_are_announced_with(flag, checks, gain):
    details = checks.details(gain)
    assert details["flags"] == [flag]
    assert [one.id for one in ROBUSTNESS_FLAGS if details[one.detail] > one.above] == [flag]
    calm = Checks(False, False, 0.0).details(0.002)
    assert [one.id for one in ROBUSTNESS_FLAGS if calm[one.detail] > one.above] == calm["flags"] == []


def test_sentences_of_flags():
    texts = {flag.id: flag.text.format(detail=0.125) for flag in ROBUSTNESS_FLAGS}
    assert texts["zero-gradients"].startswith("12% of images have a zero gradient")
    assert "breaks 12.5% of images" in texts["square-beats-white-box"]
    assert texts["outputs-look-like-probabilities"] == ""


def test_a_mean_over_evaluators_has_none_of_its_own(world):
    evidence = replace(world.evidence, images_NCHW=world.evidence.images_NCHW[:4], labels_N=torch.arange(4))
    found = {one.name: one for one in AttackAccuracy().measure(evidence, world.ctx)}
    assert [found[name].evaluator for name in ("attack_acc@1", "attack_acc@1/a", "attack_acc@5/b")] == ["", "a", "b"]
    assert set(found["attack_acc@1"].details["evaluators"]) == {"a", "b"}
