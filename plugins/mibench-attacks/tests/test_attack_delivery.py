"""What every attack delivers: exactly ``final`` images per class, the best ones; and nothing for a lost class."""

import copy
import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import mibench_attacks
import pytest
import torch
from mibench_attacks.methods.gmi import GenerativeInversion
from mibench_models.priors.dcgan.component import DcganPrior
from mibench_models.priors.diffusion.component import Diffusion
from mibench_models.priors.ked_gan.component import KedGanPrior
from mibench_models.priors.plg_cgan.component import PlgCgan
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from torch import Tensor
from torch.testing import assert_close

from mibench.api import (
    Attack,
    ClassFailed,
    ClassResult,
    ImageSet,
    MibenchError,
    Prior,
    TargetView,
    freeze,
    resize,
    seeded,
)
from mibench.api.params import build
from mibench.testing import TinyWorld

WORLD = TinyWorld()
SHAPE = {"channels": WORLD.channels, "size": WORLD.size}
LOST = 1  # a class


def built(model, *, loud=False, **more) -> Prior:
    """An untrained generator; a louder last layer makes its images differ."""
    with seeded("delivery"):
        prior = model.build(**SHAPE, **more)
    if loud:
        prior.generator.image[0].weight.data *= 20
    return freeze(prior)


def dcgan() -> Prior:
    return built(DcganPrior(z_dim=6, width=4), loud=True)


def ked_gan() -> Prior:
    return built(KedGanPrior(z_dim=6, width=4, kernels=3, kernel_size=2), loud=True, classes=WORLD.classes)


def plg_cgan() -> Prior:
    return built(PlgCgan(z_dim=8, width=2), classes=WORLD.classes)


def stylegan() -> Prior:
    return built(StyleGan2Prior(z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=16))


def denoiser() -> Prior:
    small = {"width": 4, "factors": (1, 2), "blocks": 1, "attention": 1, "patch": 2, "top": 4, "times": 100}
    prior = built(build(Diffusion, small), classes=WORLD.classes)
    prior.pseudo_KT.copy_(torch.arange(prior.pseudo_KT.numel()).view_as(prior.pseudo_KT) % 7)
    return prior


class Case(NamedTuple):
    """An attack that makes ``made`` candidates per class, of which ``final`` are delivered; 0: it makes ``final``."""

    settings: dict[str, object]
    made: int
    prior: Callable[[], Prior] = WORLD.prior


# One unchanged view in the final selection, so that the robust confidence is the confidence.
PLAIN = {"draws": 1, "select_scale": (1.0, 1.0), "select_ratio": (1.0, 1.0), "select_flip": 0.0, "loss": "ce"}
PPA = PLAIN | {"pool": 20, "candidates": 6, "steps": 2, "lr": 0.05, "batch": 4}
SCORES = PLAIN | {"pool": 20, "batch": 4}
CASES = {
    "ppa": Case(PPA, 6),
    "if-gmi": Case(PPA | {"lr": 0.005, "feature_steps": (1,), "choose": "last"}, 6, stylegan),
    "ppdg-mi": Case(
        PPA | {"pseudo": 2, "invert_steps": 2, "tune_steps": 1, "mean_of": 20, "perceptual": "random"}, 6, stylegan
    ),
    "ppdg-vanilla": Case({"candidates": 6, "keep": 3, "draws": 1, "host_preset": "smoke", "tune_steps": 1}, 5, dcgan),
    "gmi": Case({"restarts": 6, "steps": 2, "batch_ref": 5, "batch": 4}, 6, dcgan),
    "ked-mi": Case({"samples": 2, "draws": 6, "steps": 2, "batch": 4}, 6, ked_gan),
    "lomma": Case({"candidates": 6, "steps": 2, "batch_ref": 5, "augment": False, "public_images": 20}, 6, dcgan),
    "plg-mi": Case({"restarts": 6, "steps": 2, "batch": 4}, 6, plg_cgan),
    "vmi": Case({"steps": 2, "samples": 6, "flows": 2, "hidden": 8, "optimizer": "adam", "lr": 0.05}, 0),
    "mirror": Case({"pool": 20, "candidates": 6, "steps": 2, "space": "latent", "batch": 4}, 6),
    "deep-inversion": Case({"images": 6, "steps": 2, "coarse_steps": 0, "jitter": 2}, 6),
    "diff-mi": Case({"restarts": 6, "steps": 1, "views": 1, "top": 3, "topk": 1, "refine_steps": 2}, 6, denoiser),
    "map": Case(SCORES | {"candidates": 6, "steps": 2}, 6),
    "cma": Case(SCORES | {"restarts": 2, "generations": 2, "population": 4, "keep": 3}, 6),
    "brep-mi": Case({"pool": 200, "steps": 2, "points": 4, "batch": 4}, 0),
    "random-search": Case(SCORES | {"restarts": 2, "queries": 10, "keep": 6}, 6),
    "prior-topconf": Case({"pool": 6}, 6),
    "prior-random": Case({}, 0),
    "public-nearest": Case({"public_images": 20}, 20),
}
HOST = {"prior": "dcgan/smoke", "restarts": 5, "steps": 2, "batch_ref": 5}  # of PPDG-vanilla
FLOORS = {"prior-topconf", "prior-random", "public-nearest", "random-search"}
SPECS = {spec.name: spec for spec in mibench_attacks.mibench_attacks()}
every_attack = pytest.mark.parametrize("name", CASES)
every_search = pytest.mark.parametrize("name", [name for name in CASES if name not in FLOORS])


def attack_of(name: str, final: int, **more: object) -> Attack:
    module, _, component = SPECS[name].factory.partition(":")
    number = {} if name == "ppdg-vanilla" else {"final": final}  # that of PPDG-vanilla is its host's
    return build(getattr(importlib.import_module(module), component), CASES[name].settings | number | more)


def trained_on(prior: Prior, images: ImageSet, steps: int, purpose: str) -> Prior:
    """Stand for the training between the rounds of PPDG-vanilla; the outcome depends on the images."""
    new = prior.clone()
    new.generator.image[0].weight.data *= 0.5 + images.all_images()[-12:].mean()
    return freeze(new)


def run(
    name: str, final: int, classes=(2,), target: TargetView | None = None, *, deliver: int | None = None, **more: object
):
    """Attack class by class, as the core does; the result of a class that failed is its error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GenerativeInversion.presets, "smoke", HOST | {"final": final})
        attack, prior, results = attack_of(name, final, **more), CASES[name].prior(), {}
        target = target or WORLD.target(attack.access)
        ctx = replace(WORLD.attack_context(), train_prior=trained_on, deliver=deliver)
        shared = attack.prepare(target, prior, ctx)
        for label in classes:
            try:
                results[label] = attack.reconstruct(label, shared, target, prior, ctx)
            except ClassFailed as failed:
                results[label] = failed
    return results


@cache
def delivered(name: str, final: int) -> ClassResult:
    return run(name, final)[2]


def truth_of(name: str, images_NCHW: Tensor) -> Tensor:
    """The score that images of class 2 deserve, in float64."""
    target = copy.deepcopy(WORLD.trained()).double()
    if name == "prior-random":  # the target is never asked
        return torch.zeros(len(images_NCHW)).double()
    with torch.no_grad():
        score, mirrored = (target(x_NCHW.double()).softmax(1)[:, 2] for x_NCHW in (images_NCHW, images_NCHW.flip(-1)))
    return (score + mirrored) / 2 if name == "prior-topconf" else score


def test_no_attack_is_forgotten_here():
    assert CASES.keys() == SPECS.keys()


@every_attack
def test_exactly_the_final_images_are_delivered_best_first(name):
    result = delivered(name, 3)
    assert len(result.images_NCHW) == len(result.scores_N) == 3
    assert result.scores_N.diff().max() <= 0


@pytest.mark.parametrize("name", [name for name in CASES if name != "brep-mi"])  # which sees labels alone
def test_each_score_is_the_confidence_in_its_own_image(name):
    result = delivered(name, 3)
    truth = truth_of(name, result.images_NCHW)
    assert name == "prior-random" or truth.std() > 5e-4 * truth.mean()  # images that are not alike
    assert_close(result.scores_N.double(), truth, atol=0, rtol=1e-4)


NO_LARGER = {"deep-inversion", "diff-mi", "public-nearest"}  # what they make has the protocol's side


@every_attack
def test_a_larger_side_of_delivery_enlarges_what_is_delivered_and_nothing_that_the_target_sees(name, monkeypatch):
    seen, run_target = set(), TargetView._run

    def watched(view, call, x_BCHW):
        seen.add(x_BCHW.shape[-1])
        return run_target(view, call, x_BCHW)

    usual = delivered(name, CASES[name].made or 3)
    monkeypatch.setattr(TargetView, "_run", watched)
    large = run(name, CASES[name].made or 3, deliver=24)[2]
    assert seen <= {WORLD.size}
    assert large.images_NCHW.shape[-1] == (WORLD.size if name in NO_LARGER else 24)
    assert large.trace == usual.trace
    assert large.spent == usual.spent
    if name != "ppdg-mi":  # which tunes its generator towards the images of a ranking
        # The generators of this world have the protocol's side, so that a larger image is the usual one, enlarged.
        apart_NN = torch.cdist(
            resize(usual.images_NCHW, large.images_NCHW.shape[-1]).flatten(1), large.images_NCHW.flatten(1)
        )
        assert max(apart_NN.amin(0).max(), apart_NN.amin(1).max()) < 1e-3


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.made])
def test_the_delivered_are_the_best_of_all_candidates(name):
    whole = delivered(name, CASES[name].made).images_NCHW
    best = truth_of(name, whole).argsort(descending=True)[:3]
    assert_close(delivered(name, 3).images_NCHW, whole[best], atol=1e-5, rtol=0)


def test_the_batch_of_ppdg_vanilla_changes_no_image():
    results = [run("ppdg-vanilla", 3, batch=batch)[2] for batch in (100, 2, 1)]
    for other in results[1:]:
        assert_close(other.images_NCHW, results[0].images_NCHW, atol=1e-5, rtol=0)


@pytest.mark.parametrize("host", ["gmi", "ked-mi", "plg-mi"])
def test_the_batch_of_ppdg_vanilla_reaches_its_host(host):
    made = attack_of("ppdg-vanilla", 2, host=host, batch=3)
    assert made._host().batch == made._many().batch == 3  # type: ignore[attr-defined]


def without(label: int) -> TargetView:
    """A target with an infinite logit for one class, and finite ones for the others."""
    classifier = copy.deepcopy(WORLD.trained())
    classifier.head.bias.data[label] = -torch.inf
    return TargetView(classifier, WORLD.target().access, classes=3)


@every_search
def test_a_class_without_finite_logits_fails_alone(name):
    results = run(name, 2, (0, LOST, 2), without(LOST))
    assert type(results[LOST]) is ClassFailed
    assert "class 1" in str(results[LOST])
    for label in (0, 2):
        assert len(results[label].images_NCHW) == 2
        assert torch.isfinite(results[label].scores_N).all()


@pytest.mark.parametrize("name", ["gmi", "ked-mi", "plg-mi", "vmi"])
def test_a_class_without_finite_confidence_fails_alone_in_the_selection(name):
    results = run(name, 2, (0, LOST, 2), without(LOST), steps=0)
    assert type(results[LOST]) is ClassFailed
    assert "finite target confidence" in str(results[LOST])
    assert [len(results[label].images_NCHW) for label in (0, 2)] == [2, 2]


def test_a_target_that_breaks_down_for_one_class_leaves_the_others_as_they_are():
    sound, prior, ctx = WORLD.trained(), dcgan(), WORLD.attack_context()
    bias, attack = sound.head.bias.data.clone(), attack_of("gmi", 2)
    target = TargetView(sound, attack.access)
    shared = attack.prepare(target, prior, ctx)
    for label in range(3):
        sound.head.bias.data = bias.clone().fill_(torch.nan) if label == LOST else bias
        if label == LOST:
            with pytest.raises(MibenchError) as caught:
                attack.reconstruct(label, shared, target, prior, ctx)
            assert type(caught.value) is ClassFailed
        else:
            found = attack.reconstruct(label, shared, target, prior, ctx)
            alone = run("gmi", 2, (label,))[label]
            assert torch.equal(found.images_NCHW, alone.images_NCHW)
