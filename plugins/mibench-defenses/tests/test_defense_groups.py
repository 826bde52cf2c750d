"""Parameters in groups: keys hold the flat names of before, and both names lead to the same defense."""

from __future__ import annotations

import pytest
from mibench_defenses.methods.bido import BiDO
from mibench_defenses.methods.purifier import Purifier
from mibench_defenses.methods.sca import SparseCoding
from mibench_defenses.methods.trap_mid import TrapMid
from mibench_defenses.methods.unseen_pixels import UnseenPixels

from mibench.api import UsageError, params

IN_KEYS = {
    BiDO: ["eps", "kernel", "lambda_x", "lambda_y", "measure", "precision", "sigma", "stages"],
    Purifier: [
        "batch", "beta", "cvae", "epochs", "hidden", "keep_label", "label_weight", "latent", "lr", "reference", "views",
    ],
    SparseCoding: [
        "channels", "dictionary", "eta", "iterations", "kernel", "lam", "reconstruct", "segment", "stride", "tau",
    ],
    TrapMid: ["alpha", "augment", "beta", "discriminator", "low", "step"],
    UnseenPixels: [
        "adaptive", "binarise", "gamma", "lam", "mask_init", "mask_method", "ridge", "stage", "switch", "tau",
        "tau_first",
    ],
}  # fmt: skip
"""Names in keys and records of the first versions; younger parameters are left out while they have their defaults."""

YOUNGER = {
    BiDO: {"image_scale": "unit", "per_class": 2},
    TrapMid: {"discriminator_reduction": "mean", "feature_hidden": 0, "lambda_x": 0.1, "lambda_y": 0.1},
}


@pytest.mark.parametrize("defense", IN_KEYS)
def test_keys_hold_flat_names_alone(defense):
    assert sorted(params.canonical(defense())) == IN_KEYS[defense]
    younger = YOUNGER.get(defense, {})
    assert params.canonical(params.build(defense, younger)).items() >= younger.items()


@pytest.mark.parametrize(
    ("defense", "flat", "dotted"),
    [
        (BiDO, {"sigma": 2.0, "image_scale": "unit"}, {"dependence.sigma": 2.0, "dependence": {"image_scale": "unit"}}),
        (SparseCoding, {"tau": 9.0, "stride": 1}, {"lca": {"tau": 9.0, "stride": 1}}),
        (Purifier, {"latent": 3, "views": 1}, {"autoencoder.latent": 3, "fit.views": 1}),
        (TrapMid, {"discriminator": "both", "low": 0.5}, {"discriminators.kind": "both", "triggers.low": 0.5}),
        (TrapMid, {"feature_hidden": 8}, {"discriminators.hidden": 8}),
        (UnseenPixels, {"lam": 1.0, "mask_init": 0.1}, {"penalty.lam": 1.0, "mask.init": 0.1}),
        (UnseenPixels, {"mask_method": "layer"}, {"mask": {"method": "layer"}}),
    ],
)
def test_both_names_are_one_parameter(defense, flat, dotted):
    made = params.build(defense, flat)
    assert made != defense()
    assert params.build(defense, dotted) == made
    assert params.build(defense, params.canonical(made)) == made


@pytest.mark.parametrize(
    ("defense", "settings", "message"),
    [
        (BiDO, {"dependence.sigma": 0}, "dependence.sigma = 0 is not valid"),
        (SparseCoding, {"kernel": 4}, "kernel = 4: the filters have a centre"),
        (SparseCoding, {"stride": 4}, "stride = 4: use at most half the kernel, up to 3"),
        (SparseCoding, {"reconstruct": False}, "use stride 1"),
        (TrapMid, {"feature_loss": True}, "feature_loss needs discriminator=feature or both"),
        (UnseenPixels, {"mask.init": 0}, "mask.init = 0 is not valid"),
    ],
)
def test_impossible_settings_of_groups_are_refused(defense, settings, message):
    with pytest.raises(UsageError, match=message):
        params.build(defense, settings)


def test_the_training_before_the_final_network_has_the_same_mask_and_penalty():
    final = params.build(UnseenPixels, {"lam": 3.0, "adaptive": True, "gamma": 2.0, "binarise": True, "tau": 0.1})
    learn = final.starts_from().defense
    assert learn == params.build(
        UnseenPixels, {"stage": "learn", "lam": 3.0, "adaptive": True, "gamma": 2.0, "tau": 0.1}
    )
    first = learn.starts_from().defense
    assert first == params.build(UnseenPixels, {"stage": "learn", "lam": 3.0, "tau": 0.1})
    assert first.starts_from() is None
