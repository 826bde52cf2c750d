"""Presets of priors against the papers and the code released with them, in numbers written down here.

Section numbers are those of the survey of papers and code that presets were taken from; it is not in this repository.
Batches are drawn with replacement here, so that published passes through a set of images become a number of updates.
"""

from typing import Any

import pytest
from mibench_models.priors.dcgan.component import DcganPrior
from mibench_models.priors.diffusion.component import Diffusion
from mibench_models.priors.ked_gan.component import KedGanPrior
from mibench_models.priors.parts import target_guidance
from mibench_models.priors.plg_cgan import training as plg_training
from mibench_models.priors.plg_cgan.component import PlgCgan
from mibench_models.priors.stylegan2_file.component import StyleGan2File

from mibench.api.params import build, canonical

# section 1.4: DCGAN with 100 noises; five critic updates in batches of 64 by Adam before each of the generator
GAN = {"z_dim": 100, "width": 64, "n_critic": 5, "batch": 64, "lr": 2e-4, "betas": [0.5, 0.999]}
WGAN = {**GAN, "penalty": 10.0}

PUBLISHED: dict[Any, dict[str, Any]] = {
    (DcganPrior, "paper"): WGAN,
    (DcganPrior, "ked-mi"): WGAN,
    (DcganPrior, "mnist"): WGAN,
    # section 7
    (KedGanPrior, "paper"): {
        **GAN, "kernels": 64, "kernel_size": 50, "real_weight": 0.5, "entropy_weight": 1e-4,
    },
    # section 9
    (PlgCgan, "paper"): {
        "z_dim": 128, "width": 64, "top": 30, "steps": 30_000, "critic_steps": 5, "batch": 64, "lr": 2e-4,
        "critic_lr": 2e-4, "betas": [0.0, 0.9], "alpha": 0.2,
    },
    # section 14; the tuning takes at most 100 passes through 1000 classes in batches of 4
    (Diffusion, "paper"): {
        "times": 1000, "top": 30, "steps": 50_000, "batch": 150, "tune_lr": 2e-4, "tune_batch": 4,
        "tune_steps": 100 * 1000 // 4, "tune_until": 0.99, "topk": 20, "guidance": 3.0, "sample_steps": 10,
    },
    # section 1.3: the middle 800 of 1024 pixels
    (StyleGan2File, "ffhq"): {"crop": 800 / 1024},
}  # fmt: skip


@pytest.mark.parametrize(("model", "preset"), PUBLISHED)
def test_a_preset_holds_the_published_numbers(model, preset):
    made, published = canonical(build(model, model.presets[preset])), PUBLISHED[model, preset]
    assert {name: made[name] for name in published} == published


@pytest.mark.parametrize(
    ("model", "preset", "images", "passes"),
    [
        (DcganPrior, "paper", 30_000, 280),
        (DcganPrior, "ked-mi", 30_000, 120),
        (DcganPrior, "mnist", 30_596, 100),  # MNIST's 60,000 images without the digits 5 to 9
        (KedGanPrior, "paper", 30_000, 120),
    ],
)
def test_gans_see_as_many_images_as_in_the_published_passes(model, preset, images, passes) -> None:
    """Section 1.4: passes of the critic, over about 30,000 public faces (2.2) or the other digits (2.3)."""
    made = build(model, model.presets[preset]).training
    assert made.steps * made.n_critic * made.batch / images == pytest.approx(passes, rel=1e-3)


def test_guided_generators_are_shown_to_the_target_as_published() -> None:
    """Section 1.3, views of PLG-MI: crops of 0.8 to 1, 5 degrees, brightness and contrast by 0.2."""
    assert (target_guidance.AREA, target_guidance.DEGREES, target_guidance.JITTER) == ((0.8, 1.0), 5.0, 0.2)


def test_real_images_are_dequantised_as_published() -> None:
    """Section 9: uniform noise of one step of 8 bits."""
    assert plg_training.DEQUANTISE == 1 / 256
