"""BiDO's image scale and batches against the authors' code: numbers frozen from it, and its rules counted out.

The frozen numbers are from ``hsic_objective`` and ``coco_objective`` of the authors' repository (commit 2a3f25f), its
matrices in float64.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.bido import BiDO
from mibench_defenses.parts.identity_batches import identity_batches
from torch import Tensor

from mibench.api import Defense, Dependence, UsageError, generator, params
from mibench.testing import DefenseContract, TinyWorld, train_steps

RELEASED = {
    ("hsic", "unit"): (11.907686784728714, 2.5021922711425613),
    ("hsic", "symmetric"): (12.369107059051743, 2.5021922711425613),
    ("coco", "unit"): (0.0014176742635175407, 0.028898805892761066),
    ("coco", "symmetric"): (0.002827251015393549, 0.028898805892761066),
}
"""d(X, Z) and d(Z, Y) of the batch below, by measure and range of X."""


def made(**settings) -> BiDO:
    """Return the defense with these settings, by their names in keys."""
    return params.build(BiDO, settings)


class TestContractOfThePaper(DefenseContract):
    component = BiDO
    settings: ClassVar[dict] = BiDO.presets["paper"]


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Sixteen images in [0, 1], activations that depend on them, and one-hot labels of four people."""
    rng = np.random.RandomState(3)
    x = torch.from_numpy(rng.rand(16, 3, 8, 8))
    z = torch.tanh((2 * x - 1).flatten(1) @ torch.from_numpy(rng.randn(192, 10) * 0.2))
    return x, z, torch.eye(4, dtype=torch.float64)[torch.arange(16) // 4]


@pytest.mark.parametrize("case", RELEASED, ids=str)
def test_dependences_of_the_released_code_in_both_ranges(case: tuple[str, str]):
    measure, scale = case
    x, z, y = batch()
    on_image, on_label = Dependence(measure=measure, image_scale=scale).of_stages(x, {"z": z}, y)
    # The released inverse is worse conditioned than a solve with the matrix centred on both sides.
    assert (float(on_image), float(on_label)) == pytest.approx(RELEASED[case], rel=1e-6)


@pytest.mark.parametrize("scale", ["unit", "symmetric"])
def test_the_range_is_that_of_the_gaussian_kernel_by_hand(scale: str):
    x, z, _ = batch()
    seen = x if scale == "unit" else 2 * x - 1

    def smoother(view: np.ndarray) -> np.ndarray:
        squared = ((view[:, None] - view[None]) ** 2).sum(-1)
        kernel = np.exp(-squared / (2 * 25 * view.shape[1])) @ (np.eye(16) - 1 / 16)
        return kernel @ np.linalg.inv(kernel + 16e-5 * np.eye(16))

    by_hand = np.trace(smoother(seen.flatten(1).numpy()) @ smoother(z.numpy()))
    on_image, _ = Dependence(image_scale=scale).of_stages(x, {"z": z}, torch.eye(16))
    assert float(on_image) == pytest.approx(by_hand, rel=1e-6)


def test_the_papers_preset_is_the_released_code_and_atats_is_atats():
    paper, atat = (params.build(BiDO, BiDO.presets[name]) for name in ("paper", "atat-paper"))
    assert (paper.dependence.image_scale, paper.per_class) == ("unit", 4)
    assert (atat.dependence.image_scale, atat.per_class) == ("symmetric", 0)
    assert not {"image_scale", "per_class"} & set(params.canonical(atat))


def test_a_batch_has_sixteen_people_with_four_images_each():
    labels = torch.arange(40).repeat_interleave(10)[torch.randperm(400, generator=generator("mixed"))]
    drawn = params.build(BiDO, BiDO.presets["paper"]).labelled_batches(labels, 64, generator("epoch", 0))
    for indices in drawn:
        assert sorted(Counter(labels[indices].tolist()).values()) == [4] * 16
    used = torch.cat(list(drawn))
    assert len(used.unique()) == len(used)  # nobody has fewer than four images: no image twice
    # Forty people with two groups each are eighty groups: at least the first three batches have enough people.
    assert 3 <= len(drawn) <= 80 // 16
    again = identity_batches(labels, 64, 4, generator("epoch", 0))
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert not torch.equal(drawn[0], identity_batches(labels, 64, 4, generator("epoch", 1))[0])


def test_a_rest_is_left_out_and_a_poor_class_is_repeated():
    labels = torch.tensor([0] * 7 + [1] * 2 + [2] * 3)
    drawn = identity_batches(labels, 9, 3, generator("rest"))
    assert len(drawn) == 1  # class 0 has a second group, but no company for it
    counts = Counter(labels[drawn[0]].tolist())
    assert counts == {0: 3, 1: 3, 2: 3}
    assert set(drawn[0].tolist()) >= {9, 10, 11}


def test_every_class_and_image_has_its_turn():
    labels = torch.arange(6).repeat_interleave(6)
    seen = torch.cat([index for epoch in range(30) for index in identity_batches(labels, 8, 4, generator(epoch))])
    assert len(seen.unique()) == 36
    shares = torch.bincount(labels[seen]) / len(seen)
    assert float(shares.min()) > 1 / 6 - 0.03


def test_impossible_batches_are_refused():
    labels = torch.arange(5).repeat_interleave(4)
    with pytest.raises(UsageError, match="multiple of 4"):
        made(per_class=4).labelled_batches(labels, 18, generator())
    with pytest.raises(UsageError, match="4 x 5 classes; the recipe's batch is 64"):
        made(per_class=4).labelled_batches(labels, 64, generator())


def test_random_batches_stay_those_of_plain_training():
    labels = torch.arange(4).repeat_interleave(5)
    ours = made().labelled_batches(labels, 8, generator("order"))
    plain = Defense().batches(20, 8, generator("order"))
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_a_training_steps_through_such_batches():
    seen = []

    class Watch(BiDO):
        def training_step(self, model, x_BCHW, y_B, ctx):
            seen.append(sorted(Counter(y_B.tolist()).values()))
            return super().training_step(model, x_BCHW, y_B, ctx)

    train_steps(Watch(per_class=2, dependence=Dependence(image_scale="unit")), TinyWorld(), epochs=2, batch=8)
    assert seen and all(counts == [2, 2, 2, 2] for counts in seen)
