"""Centroids, by hand; and that a gallery is embedded once and no other gallery or judge is taken for it."""

from dataclasses import dataclass, replace

import pytest
import torch
from mibench_metrics import embeddings
from mibench_metrics.embeddings import centroids, centroids_of, embed
from torch.nn.functional import normalize

from mibench.api import Embedder, IndexedImages, MetricContext, TensorImages, generator

CONTEXT = MetricContext(seed=0, device=torch.device("cpu"))
SEEN = []


@dataclass(frozen=True, kw_only=True)
class Counting(Embedder):
    """Scales pixels and notes how many images it has seen."""

    scale: float = 1.0

    def embed(self, x_NCHW):
        SEEN.append(len(x_NCHW))
        return self.scale * x_NCHW.flatten(1) - 0.3


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(embeddings, "_KNOWN", {})
    SEEN.clear()


def drawn(seed, number=70, labels=None):
    pixels = torch.randint(0, 256, (number, 1, 2, 3), generator=generator("embeddings", seed)).to(torch.uint8)
    return TensorImages(pixels, torch.arange(number) % 5 if labels is None else labels, 5)


def test_embeddings_are_unit_vectors_in_the_order_of_the_images():
    images = drawn(0)
    found = embed(Counting(), images, CONTEXT)
    assert SEEN == [64, 6]
    assert found.dtype == torch.float64
    assert torch.allclose(found, normalize(images.all_images().flatten(1) - 0.3).double(), atol=1e-6)


def test_a_centroid_is_the_direction_of_the_mean_of_directions():
    """Lengths do not matter: 10 to the right and 1 upwards are half way; who has one image is it; who has none is 0."""
    vectors = torch.tensor([[10.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]).double()
    found = centroids(vectors, torch.tensor([0, 0, 2]), 3)
    assert found.numpy() == pytest.approx(torch.tensor([[0.5**0.5, 0.5**0.5], [0, 0], [-1, 0]]).numpy())


def test_a_gallery_is_embedded_once():
    first = centroids_of(Counting(), drawn(1), CONTEXT)
    seen = sum(SEEN)
    again = centroids_of(Counting(), drawn(1), CONTEXT)  # other objects of equal content
    assert (seen, sum(SEEN)) == (70, 70)
    assert torch.equal(first, again)
    again.zero_()
    assert torch.equal(centroids_of(Counting(), drawn(1), CONTEXT), first)


@pytest.mark.parametrize("other", ["pixels", "labels", "classes", "judge"])
def test_what_differs_is_embedded_itself(other):
    known = drawn(1)
    centroids_of(Counting(), known, CONTEXT)
    changed = {
        "pixels": drawn(2),
        "labels": drawn(1, labels=torch.arange(70) % 4),
        "classes": TensorImages(known.pixels_NCHW, known.labels_N, 6),
        "judge": known,
    }[other]
    judge = Counting(scale=2.0) if other == "judge" else Counting()
    found = centroids_of(judge, changed, CONTEXT)
    assert sum(SEEN) == 140
    assert torch.equal(found, centroids(embed(judge, changed, CONTEXT), changed.labels_N, changed.num_classes))


@pytest.mark.parametrize("other", ["", "file", "rows", "labels", "unknown"])
def test_images_of_a_file_are_known_by_its_digest_and_their_rows(other):
    pixels, rows = drawn(1).pixels_NCHW, torch.arange(20)
    known = IndexedImages(pixels, rows, rows % 5, 5, "" if other == "unknown" else "a digest")
    first = centroids_of(Counting(), known, CONTEXT)
    changed = {
        "file": replace(known, content="another"),
        "rows": replace(known, rows_N=rows + 1),
        "labels": replace(known, labels_N=rows % 4),
    }.get(other, replace(known, pixels_MCHW=pixels.clone()))
    found = centroids_of(Counting(), changed, CONTEXT)
    assert sum(SEEN) == (20 if not other else 40)
    assert torch.equal(found, first) == (other in ("", "file", "unknown"))


def test_few_are_remembered_and_the_oldest_is_forgotten():
    for seed in range(embeddings.REMEMBERED + 1):
        centroids_of(Counting(), drawn(seed), CONTEXT)
    seen = sum(SEEN)
    centroids_of(Counting(), drawn(1), CONTEXT)
    assert sum(SEEN) == seen
    centroids_of(Counting(), drawn(0), CONTEXT)
    assert sum(SEEN) == seen + 70


def test_a_judge_that_is_more_than_its_parameters_is_asked_every_time():
    class Stateful(Embedder):
        shift = 0.0

        def embed(self, x_NCHW):
            return x_NCHW.flatten(1) - self.shift

    judge = Stateful()
    before = centroids_of(judge, drawn(1), CONTEXT)
    judge.shift = 0.5
    assert not torch.equal(centroids_of(judge, drawn(1), CONTEXT), before)
