"""A tiny world: ten noisy patterns of 8 x 8 grey pixels, a small network, and a fake embedder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from mibench.api import (
    Classifier,
    Embedder,
    MetricContext,
    MetricInputs,
    TensorImages,
    freeze,
    generator,
    seeded,
    to_uint8,
)

SIDE = 8


def patterns(classes, per_class, purpose, noise=0.15):
    """Images whose classes are fixed random patterns with noise on top."""
    base = 0.3 + 0.4 * torch.rand(classes, 1, SIDE, SIDE, generator=generator("patterns"))
    labels = torch.arange(classes).repeat_interleave(per_class)
    images = base[labels] + noise * torch.randn(len(labels), 1, SIDE, SIDE, generator=generator(purpose))
    return TensorImages(to_uint8(images), labels, classes)


def classifier(body, head):
    return Classifier(body, head=head, stage_names=[], mean=[0.5], std=[0.25], channels=1)


def trained(classes, data, steps=150):
    with seeded("network", classes):
        body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, classes)
        )
        model = classifier(body, "4")
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    x, y = data.all_images(), data.labels_N
    for _ in range(steps):
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    return freeze(model)


class FakeEmbedder(Embedder):
    """A fixed random projection of pixels."""

    def __init__(self):
        self.matrix = torch.randn(SIDE * SIDE, 12, generator=generator("embedder"))

    def embed(self, x_NCHW):
        return normalize((x_NCHW.flatten(1) - 0.5) @ self.matrix)


class World:
    patterns = staticmethod(patterns)
    classifier = staticmethod(classifier)
    trained = staticmethod(trained)

    def __init__(self, classes=10):
        self.ctx = MetricContext(seed=0, device=torch.device("cpu"))
        train, heldout = patterns(classes, 8, "train"), patterns(classes, 8, "heldout")
        reconstructions = patterns(classes, 4, "attack", noise=0.3)
        self.evidence = MetricInputs(
            num_classes=classes,
            heldout=heldout,
            gallery=train,
            images_NCHW=reconstructions.all_images(),
            labels_N=reconstructions.labels_N,
            target=trained(classes, train),
            evaluators={"b": trained(classes, train, 20), "a": trained(classes, train, 60)},
            embedder=FakeEmbedder(),
        )

    def attacking(self, model, images=None):
        """The evidence with another target, and perhaps other held-out images."""
        images = self.evidence.heldout if images is None else images
        return replace(self.evidence, target=model, heldout=images, num_classes=images.num_classes)


@pytest.fixture(scope="session")
def world():
    return World()
