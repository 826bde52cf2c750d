"""The tiny world is deterministic, learnable, and draws nothing global."""

from __future__ import annotations

import pytest
import torch

from mibench.api import check_images
from mibench.testing import TinyWorld
from mibench.testing.checks import global_rng_untouched


@pytest.mark.parametrize("channels", [1, 3])
def test_worlds_of_one_seed_are_equal(channels: int):
    world, again, other = (TinyWorld(channels=channels, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(world.images().pixels_NCHW, again.images().pixels_NCHW)
    assert not torch.equal(world.images().pixels_NCHW, other.images().pixels_NCHW)
    assert not torch.equal(world.images().pixels_NCHW, world.images("heldout").pixels_NCHW)
    x, y = world.batch()
    assert check_images(x, where="tiny world").shape == (8, channels, 16, 16)
    assert len(y.unique()) > 1
    assert world.classifier()(x).shape == (8, 4)


def test_identities_can_be_learned_and_generalise():
    world = TinyWorld()
    heldout = world.images("heldout")
    model = world.trained()
    assert (model(heldout.all_images()).argmax(1) == heldout.labels_N).float().mean() > 0.9
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_evidence_is_complete_and_nothing_global_is_drawn():
    with global_rng_untouched("the tiny world"):
        evidence = TinyWorld().evidence()
        TinyWorld().attack_context()
    check_images(evidence.images_NCHW, where="evidence")
    assert len(evidence.images_NCHW) == len(evidence.labels_N) == 24
    assert evidence.target is not None
    embedding = evidence.embedder.embed(evidence.images_NCHW)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(24))
    same = embedding @ embedding.T
    own = evidence.labels_N[:, None] == evidence.labels_N
    assert same[own].mean() > same[~own].mean() + 0.3
