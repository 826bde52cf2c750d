"""Face shapes: the regression against scikit-learn and brute force, the error against worlds whose answer is known."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from mibench_metrics.face_shape import FOLDS, FaceShape, folds, own_error
from mibench_metrics.ridge import PENALTIES, fit, leave_one_out
from mibench_metrics.shapes import Shapes, distances
from torch.nn.functional import normalize

from mibench.api import (
    Embedder,
    GroundTruth,
    IdentityGallery,
    MetricContext,
    MetricInputs,
    MibenchError,
    TensorImages,
    generator,
)

CONTEXT = MetricContext(seed=0, device=torch.device("cpu"))
PRIVATE, STRANGERS, SIDE, POINTS = 4, 60, 4, 5


def normal(purpose, *shape):
    return torch.randn(*shape, generator=generator("face shape", purpose), dtype=torch.float64)


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 10.0])
def test_leaving_a_row_out_is_fitting_the_others(penalty):
    """Against a fit for each row: centre the others, solve the normal equations, predict the row."""
    x, y = normal("x", 12, 5), normal("y", 12, 3)
    absolute = penalty * np.linalg.svd((x - x.mean(0)).numpy(), compute_uv=False)[0] ** 2
    for row, found in enumerate(leave_one_out(x, y, penalty)):
        keep = torch.arange(12) != row
        a, b = (x[keep] - x[keep].mean(0)).numpy(), (y[keep] - y[keep].mean(0)).numpy()
        weights = np.linalg.solve(a.T @ a + absolute * np.eye(5), a.T @ b)
        predicted = y[keep].mean(0).numpy() + (x[row] - x[keep].mean(0)).numpy() @ weights
        assert found.numpy() == pytest.approx(y[row].numpy() - predicted)


def solved(x, y, absolute):
    """Ridge regression in numpy as least squares of a longer system: returns a function from inputs to outputs."""
    a = np.vstack([x - x.mean(0), absolute**0.5 * np.eye(x.shape[1])])
    b = np.vstack([y - y.mean(0), np.zeros((x.shape[1], y.shape[1]))])
    weights, *_ = np.linalg.lstsq(a, b)
    return lambda probes: y.mean(0) + (probes - x.mean(0)) @ weights


@pytest.mark.parametrize("columns", [5, 40])  # fewer and more inputs than rows
def test_the_fit_is_that_of_least_squares_with_the_penalty_that_predicts_left_out_rows_best(columns):
    x = normal("inputs", 24, columns).numpy()
    y = x[:, :4] @ normal("weights", 4, 6).numpy() + 0.7 * normal("noise", 24, 6).numpy()
    largest = np.linalg.svd(x - x.mean(0), compute_uv=False)[0] ** 2

    def error(penalty):
        rows = [np.arange(24) != row for row in range(24)]
        left_out = [solved(x[keep], y[keep], penalty * largest)(x[~keep]) - y[~keep] for keep in rows]
        return np.square(left_out).sum()

    made = fit(torch.tensor(x), torch.tensor(y))
    assert made.penalty == min(PENALTIES, key=error)
    assert PENALTIES[0] < made.penalty < PENALTIES[-1]
    probes = normal("probes", 7, columns)
    assert made.predict(probes).numpy() == pytest.approx(solved(x, y, made.penalty * largest)(probes.numpy()))


def test_inputs_that_are_all_the_same_predict_the_mean():
    y = normal("y", 6, 2)
    made = fit(torch.ones(6, 3).double(), y)
    assert made.predict(normal("probes", 2, 3)).numpy() == pytest.approx(y.mean(0).expand(2, 2).numpy())


def test_components_keep_faces_and_distances_and_need_no_more_numbers_than_faces_differ_in():
    faces = normal("mean", 1, 30) + normal("sliders", 9, 4) @ normal("directions", 4, 30)
    shapes = Shapes.of(faces)
    assert shapes.parts_MQ.shape == (9, 4)
    assert (shapes.basis_QV @ shapes.basis_QV.T).numpy() == pytest.approx(np.eye(4), abs=1e-9)
    assert shapes.faces(shapes.parts_MQ).numpy() == pytest.approx(faces.numpy())
    far = np.linalg.norm(faces[:, None].numpy() - faces[None].numpy(), axis=2)
    near = np.linalg.norm(shapes.parts_MQ[:, None].numpy() - shapes.parts_MQ[None].numpy(), axis=2)
    assert near == pytest.approx(far, abs=1e-6)
    assert Shapes.of(faces[:1].expand(3, 30)).parts_MQ.shape == (3, 0)  # all the same


def test_the_distance_of_two_faces_of_two_points():
    """One point is moved by (3, 4, 0), the other by (0, 0, 1): root of (25 + 1) / 2."""
    one = torch.tensor([[1.0, 2, 3, 4, 5, 6]])
    assert distances(one, one + torch.tensor([3.0, 4, 0, 0, 0, 1])).item() == pytest.approx(13**0.5)


@dataclass(frozen=True, kw_only=True)
class Pixels(Embedder):
    """Pixels less grey, normalised."""

    def embed(self, x_NCHW):
        return normalize(x_NCHW.flatten(1) - 0.5)


def drawn(purpose, number, per_person=1):
    """Random pictures, 8-bit."""
    made = torch.randint(0, 256, (number, 1, SIDE, SIDE), generator=generator(purpose))
    labels = torch.arange(number).repeat_interleave(per_person)
    return TensorImages(made.to(torch.uint8).repeat_interleave(per_person, 0), labels, number)


def faces_of(images):
    """Faces that are a linear function of the embedding, ten millimetres across."""
    ways = 10 * normal("ways", SIDE * SIDE, 3 * POINTS)
    return Pixels().embed(images.all_images()).double() @ ways + 5


def evidence(*, noise=0.0, shown=None, labels=None, failed=()):
    private, strangers = drawn("private", PRIVATE), drawn("strangers", STRANGERS)
    truths = [faces_of(one) + noise * normal(len(one), len(one), 3 * POINTS) for one in (private, strangers)]
    return MetricInputs(
        num_classes=PRIVATE,
        heldout=private,
        gallery=private,
        images_NCHW=private.all_images() if shown is None else shown,
        labels_N=private.labels_N if labels is None else torch.tensor(labels),
        embedder=Pixels(),
        failed=failed,
        identities=IdentityGallery(private, strangers, *(GroundTruth(one.float()) for one in truths)),
    )


def measured(made):
    (found,) = FaceShape().measure(made, CONTEXT)
    assert found.name == "shape_mm"
    assert (found.unit, found.higher_is_better) == ("mm", True)
    json.dumps(found.details, allow_nan=False)
    return found


def test_faces_that_embeddings_hold_are_read_from_photographs_and_not_from_other_people():
    own, other = measured(evidence()), measured(evidence(labels=[1, 2, 3, 0]))
    assert own.details["chance"] > 5
    assert own.details["own_error"] < 0.05
    assert own.value < 0.05
    assert other.value > own.details["chance"]  # a stranger is further off than nobody
    truth = faces_of(drawn("private", PRIVATE))
    apart = (truth - truth[[3, 0, 1, 2]]).square().view(4, POINTS, 3).sum(2).mean(1).sqrt()
    assert other.per_class == pytest.approx(apart.tolist(), rel=0.02)


def test_faces_that_embeddings_do_not_hold_leave_the_mean_face():
    """Faces are noise: nothing beats their mean, and the regression does not do much worse than that."""
    made = evidence()
    strangers, private = (GroundTruth(10 * normal(n, n, 3 * POINTS).float()) for n in (STRANGERS, PRIVATE))
    gallery = replace(made.identities, truth=private, distractor_truth=strangers)
    found = measured(replace(made, identities=gallery))
    assert found.details["penalty"] >= 1
    mean = strangers.values_KD.double().mean(0)
    chance = (private.values_KD.double() - mean).square().sum(1).div(POINTS).sqrt().mean().item()
    assert found.details["chance"] == pytest.approx(chance)
    assert found.value == pytest.approx(chance, rel=0.1)
    assert found.details["own_error"] == pytest.approx(10 * 3**0.5, rel=0.1)


def test_the_error_of_the_regression_is_that_of_noise_it_cannot_know():
    """Noise of 1 mm in each coordinate is 1.73 mm of a point, and more by what is learnt from 48 people."""
    found = measured(evidence(noise=1.0))
    assert 3**0.5 < found.details["own_error"] < 1.35 * 3**0.5
    assert found.value == pytest.approx(found.details["own_error"], rel=0.35)


def test_the_own_error_is_of_people_who_were_left_out():
    x, shapes = normal("x", 11, 4), Shapes.of(normal("y", 11, 6))
    found = own_error(x, shapes)
    assert sorted(folds(11).bincount(minlength=FOLDS).tolist()) == [2, 2, 2, 2, 3]
    for fold in range(FOLDS):
        out = folds(11) == fold
        made = fit(x[~out], shapes.parts_MQ[~out]).predict(x[out])
        truth = shapes.parts_MQ[out]
        assert found[out].tolist() == pytest.approx(((made - truth).norm(dim=1) / 2**0.5).tolist())


def test_a_failed_class_counts_as_the_mean_face():
    made = evidence()
    three = replace(made, images_NCHW=made.images_NCHW[:3], labels_N=made.labels_N[:3], failed=[3])
    strangers = made.identities.distractor_truth.values_KD.double().mean(0)
    blind = (made.identities.truth.values_KD[3].double() - strangers).square().sum().div(POINTS).sqrt().item()
    found = measured(three)
    assert found.per_class[3] == pytest.approx(blind)
    assert found.value == pytest.approx((sum(found.per_class[:3]) + blind) / 4)


def test_a_person_of_several_pictures_is_one_person():
    made = evidence()
    twice = replace(made.identities, distractors=drawn("strangers", STRANGERS, per_person=2))
    assert measured(replace(made, identities=twice)).value == pytest.approx(measured(made).value)


def known(**parts):
    made = evidence()
    return replace(made, identities=replace(made.identities, **parts))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: replace(evidence(), embedder=None), "face-shape needs an embedder"),
        (lambda: replace(evidence(), identities=None), "face-shape needs an identity gallery"),
        (lambda: known(truth=None), "true faces of the private people"),
        (lambda: known(distractor_truth=None), "3 distractors or more"),
        (lambda: known(distractors=None, distractor_truth=None), "set gallery.distractors in the protocol"),
        (lambda: known(distractors=drawn("few", 2), distractor_truth=GroundTruth(torch.ones(2, 15))), "3 distractors"),
        (lambda: known(truth=GroundTruth(torch.ones(PRIVATE, 15), unit="cm")), "in mm, got cm and mm"),
        (lambda: known(truth=GroundTruth(torch.ones(PRIVATE, 12))), "got 4 of private people and 5 of distractors"),
    ],
)
def test_a_gallery_without_known_faces_is_refused(made, words):
    with pytest.raises(MibenchError, match=words):
        FaceShape().measure(made(), CONTEXT)
