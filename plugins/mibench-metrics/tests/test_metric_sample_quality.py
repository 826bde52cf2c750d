"""FID, KID, precision and recall, density and coverage, LPIPS: against hand calculations and another library."""

from __future__ import annotations

import importlib.util
import io
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mibench_metrics import inception, lpips, sample_quality
from mibench_metrics.inception import frechet_distance, kernel_distance, load_network
from mibench_metrics.neighbourhoods import NAMES, neighbourhoods
from mibench_metrics.sample_quality import SampleQuality

from mibench.api import DataError, MibenchError, UsageError, generator, seeded, sha256_of_file

NO_FID = pytest.mark.skipif(importlib.util.find_spec("torchmetrics") is None, reason="torchmetrics is not installed")


def drawn(purpose, count, width=5, shift=0.0):
    return torch.randn(count, width, generator=generator("quality", purpose), dtype=torch.float64) + shift


# -- precision, recall, density, coverage ------------------------------------------------------------------------------


def four_by_hand(real, made, k):
    def radius(rows, i):
        return sorted(np.linalg.norm(rows[i] - rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    inside = [[np.linalg.norm(r - m) <= radius(real, i) for m in made] for i, r in enumerate(real)]
    back = [[np.linalg.norm(r - m) <= radius(made, j) for j, m in enumerate(made)] for r in real]
    return {
        "precision": np.mean([any(row[j] for row in inside) for j in range(len(made))]),
        "recall": np.mean([any(row) for row in back]),
        "density": sum(map(sum, inside)) / (k * len(made)),
        "coverage": np.mean([any(row) for row in inside]),
    }


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("shift", [0.0, 0.7, 5.0])
def test_the_four_are_what_loops_count(k, shift):
    real, made = drawn("real", 12), drawn("made", 9, shift=shift)
    assert neighbourhoods(real, made, k) == pytest.approx(four_by_hand(real.numpy(), made.numpy(), k))


def test_a_set_and_itself_have_1_and_sets_far_apart_0():
    same = drawn("same", 10)
    found = neighbourhoods(same, same.clone(), 3)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert found["density"] == pytest.approx(4 / 3)  # the ball of k = 3 holds its own centre too
    assert set(neighbourhoods(same, same + 100, 3).values()) == {0.0}


def test_what_takes_more_images_is_none():
    assert neighbourhoods(drawn("a", 3), drawn("b", 4), 3) == {
        **dict.fromkeys(("precision", "density", "coverage")),
        "recall": pytest.approx(four_by_hand(drawn("a", 3).numpy(), drawn("b", 4).numpy(), 2)["recall"], abs=1),
    }
    assert list(neighbourhoods(drawn("a", 3), drawn("b", 3), 3).values()) == [None] * 4


# -- FID and KID -------------------------------------------------------------------------------------------------------


@NO_FID
@pytest.mark.parametrize(("real", "made"), [(40, 40), (60, 25)])
def test_fid_is_the_formula_in_float64(real, made):
    linalg = pytest.importorskip("scipy.linalg")
    one, other = drawn("fid real", real), 1.5 * drawn("fid made", made) + 0.3
    means, covariances = zip(*((x.numpy().mean(0), np.cov(x.numpy(), rowvar=False)) for x in (one, other)), strict=True)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    # Where only the means differ: their squared distance.
    assert frechet_distance(one, one + 2) == pytest.approx(5 * 4, rel=1e-6)


def mmd_by_hand(one, other):
    """The unbiased estimate, pair by pair."""

    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    m, n = len(one), len(other)
    inside = sum(kernel(one[i], one[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    outside = sum(kernel(other[i], other[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return inside + outside - 2 * sum(kernel(a, b) for a in one for b in other) / (m * n)


@NO_FID
def test_kid_of_as_many_images_is_the_unbiased_estimate():
    one, other = drawn("kid real", 15), drawn("kid made", 15, shift=0.5)
    assert kernel_distance(one, other) == pytest.approx(mmd_by_hand(one.numpy(), other.numpy()), rel=1e-9)
    assert kernel_distance(one[torch.randperm(15)], other.flip(0)) == pytest.approx(kernel_distance(one, other))


@NO_FID
def test_kid_of_unequal_numbers_is_a_mean_over_subsets_whatever_the_order():
    one, other = drawn("kid real", 60), drawn("kid made", 20, shift=0.5)
    found = kernel_distance(one, other)
    assert found == pytest.approx(mmd_by_hand(one.numpy(), other.numpy()), rel=0.15)
    with seeded("another"):
        assert kernel_distance(one[torch.randperm(60)], other.flip(0)) == found


@NO_FID
def test_one_image_has_no_distribution():
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match="takes two images of each kind, got 1 and 5"):
            distance(drawn("a", 1), drawn("b", 5))


# -- the network of FID ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def untrained():
    """The library's own network with random weights."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    parts = {"load_state_dict": lambda self, state: None}
    untrained = type("Untrained", (fidelity.FeatureExtractorInceptionV3,), parts)
    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with seeded("fid network"):
        return untrained("inception-v3-compat", ["2048"], feature_extractor_weights_path=empty)


def test_the_network_is_the_librarys_on_8_bit_images_in_colour(untrained, tmp_path):
    file = tmp_path / "inception.pth"
    torch.save(untrained.state_dict(), file)
    grey = torch.randint(0, 256, (1, 1, 40, 40), generator=generator("grey"), dtype=torch.uint8)
    with torch.no_grad():
        (theirs,) = untrained(grey.expand(-1, 3, -1, -1))
        ours = load_network(str(file), sha256=sha256_of_file(file))(grey.float() / 255)
    assert ours.shape == (1, 2048)
    assert torch.equal(ours, theirs)
    with pytest.raises(DataError, match="expected 6726825d"):
        load_network(str(file), sha256=inception.SHA256_BEGINS)


def test_other_files_than_the_networks_are_named_and_not_run(untrained, tmp_path):
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"holds the weights of another network .*weights-inception-2015-12-05"):
        load_network(str(tmp_path / "other.pth"))
    (tmp_path / "evil.pth").write_bytes(b"cbuiltins\nexit\n(I3\ntR.")
    with pytest.raises(DataError, match="cannot be read as tensors only"):
        load_network(str(tmp_path / "evil.pth"))


# -- LPIPS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    torchvision = pytest.importorskip("torchvision")
    with seeded("squeezenet"):
        state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    file = tmp_path_factory.mktemp("lpips") / "squeezenet.pth"
    torch.save(state, file)
    return file


@NO_FID
def test_lpips_is_what_its_authors_package_finds(squeezenet):
    package = pytest.importorskip("lpips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was written for an older torchvision
        theirs = package.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval()
    state = torch.load(squeezenet, weights_only=True)
    names = {name: f"features.{name.split('.', 1)[1]}" for name in theirs.net.state_dict()}
    theirs.net.load_state_dict({name: state[there] for name, there in names.items()})
    one, other = torch.rand(2, 2, 3, 48, 48, generator=generator("pairs"))
    with torch.no_grad():
        expected = theirs(one, other, normalize=True).flatten()
    found = lpips.load_distance("squeeze", str(squeezenet))(one, other)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert lpips.load_distance("squeeze", str(squeezenet))(one, one).abs().max() < 1e-6


@NO_FID
def test_lpips_is_the_formula_in_float64(squeezenet):
    """Squared differences of activations of length 1 at each position, weighed by channel, averaged over positions."""
    folder = Path(pytest.importorskip("torchmetrics").__file__).parent / "functional" / "image" / "lpips_models"
    heads = torch.load(folder / "squeeze.pth", weights_only=True, map_location="cpu")
    network = pytest.importorskip("torchvision").models.squeezenet1_1(weights=None).double()
    network.load_state_dict(torch.load(squeezenet, weights_only=True))
    one, other = torch.rand(2, 1, 3, 48, 48, generator=generator("pairs"), dtype=torch.float32)
    # ImageNet's mean and deviation for images in [-1, 1], rounded to three digits as the authors do.
    statistics = ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450])
    shift, scale = (torch.tensor(row, dtype=torch.float64).view(3, 1, 1) for row in statistics)
    x, expected = (2 * torch.cat([one, other]).double() - 1 - shift) / scale, 0.0
    begin = 0
    with torch.no_grad():
        for layer, end in enumerate((2, 5, 8, 10, 11, 12, 13)):
            x = network.features[begin:end](x)
            first, second = x / x.norm(dim=1, keepdim=True).clamp(min=1e-9)
            weight = heads[f"lin{layer}.model.1.weight"].double().view(-1, 1, 1)
            expected += ((first - second).square() * weight).sum(0).mean().item()
            begin = end
    assert lpips.load_distance("squeeze", str(squeezenet))(one, other).item() == pytest.approx(expected, rel=1e-4)


@NO_FID
def test_weights_of_another_backbone_are_named(squeezenet):
    with pytest.raises(DataError, match=r"no weights of LPIPS's backbone 'alex'.*alexnet-owt-7be5be79.pth"):
        lpips.load_distance("alex", str(squeezenet))


# -- the metric --------------------------------------------------------------------------------------------------------


def rows(metric, evidence, world):
    return {row.name: row for row in metric.measure(evidence, world.ctx)}


def test_without_weights_what_takes_them_is_absent(world):
    found = rows(SampleQuality(), world.evidence, world)
    assert list(found) == [f"prdc_{name}" for name in NAMES]
    eye, evidence = world.evidence.embedder, world.evidence
    real, made = (eye.embed(x).double().numpy() for x in (evidence.gallery.all_images(), evidence.images_NCHW))
    each = [four_by_hand(real[evidence.gallery.labels_N == k], made[evidence.labels_N == k], 3) for k in range(10)]
    for name in NAMES:
        assert found[f"prdc_{name}"].per_class == pytest.approx([one[name] for one in each], abs=1e-6)
        assert found[f"prdc_{name}"].value == pytest.approx(np.mean([one[name] for one in each]), abs=1e-6)
    assert found["prdc_recall"].n == 40 and found["prdc_recall"].details == {"real": 80}


@pytest.fixture
def inception_at_hand(monkeypatch):
    """In the network's place a fixed projection of pixels, so that numbers can be made by hand."""
    matrix = torch.randn(64, 6, generator=generator("projection"))
    monkeypatch.setattr(sample_quality, "load_network", lambda path, sha256: lambda x: x.flatten(1) @ matrix)
    return lambda x: (x.flatten(1) @ matrix).double()


@NO_FID
def test_kid_for_few_images_and_fid_for_many(world, inception_at_hand):
    evidence = world.evidence
    features = [inception_at_hand(x) for x in (evidence.gallery.all_images(), evidence.images_NCHW)]
    few = rows(SampleQuality(inception="some.pth"), evidence, world)
    assert list(few) == [*(f"{space}_{name}" for space in ("prdc", "inception") for name in NAMES), "kid"]
    assert few["kid"].value == pytest.approx(kernel_distance(*features))
    assert few["kid"].details == {"real": 80, "fid": "absent: 40 images of one kind, and it takes 2000"}
    many = rows(SampleQuality(inception="some.pth", least_for_fid=40), evidence, world)
    assert many["fid"].value == pytest.approx(frechet_distance(*features))
    assert (many["fid"].n, many["fid"].per_class, many["fid"].higher_is_better) == (40, [None] * 10, True)
    assert many["kid"].details == {"real": 80}


@NO_FID
def test_lpips_is_measured_to_the_nearest_training_image(world, squeezenet):
    evidence = world.evidence
    metric = SampleQuality(backbone=str(squeezenet), lpips_network="squeeze")
    large = torch.nn.functional.interpolate  # 8 px are too few for the network
    found = rows(metric, enlarged(evidence, large), world)["lpips"]
    eye, distance = evidence.embedder, lpips.load_distance("squeeze", str(squeezenet))
    real, made = (eye.embed(x) for x in (evidence.gallery.all_images(), evidence.images_NCHW))
    expected = []
    for index, label in enumerate(evidence.labels_N.tolist()):
        own = (evidence.gallery.labels_N == label).nonzero().flatten()
        near = own[(real[own] - made[index]).norm(dim=1).argmin()]
        assert found.details["nearest"][index] == near
        pair = [large(x[None], scale_factor=4) for x in (evidence.images_NCHW[index], evidence.gallery.images(near))]
        expected.append(distance(*pair).item())
    assert found.value == pytest.approx(np.mean(expected), rel=1e-4)


def enlarged(evidence, interpolate):
    """The same evidence with images four times as large, which the embedder sees as they were."""

    class Shrinking(type(evidence.embedder)):
        def embed(self, x_NCHW):
            return super().embed(x_NCHW[..., ::4, ::4])

    gallery = evidence.gallery
    return replace(
        evidence,
        images_NCHW=interpolate(evidence.images_NCHW, scale_factor=4),
        gallery=replace(gallery, pixels_NCHW=gallery.pixels_NCHW.repeat_interleave(4, 2).repeat_interleave(4, 3)),
        embedder=Shrinking(),
    )


@NO_FID
def test_a_failed_class_has_nothing(world, squeezenet, inception_at_hand):
    kept = world.evidence.labels_N != 3
    base = enlarged(world.evidence, torch.nn.functional.interpolate)
    failed = replace(base, images_NCHW=base.images_NCHW[kept], labels_N=base.labels_N[kept], failed=(3,))
    found = rows(SampleQuality(backbone=str(squeezenet), lpips_network="squeeze"), failed, world)
    assert [found[f"prdc_{name}"].per_class[3] for name in NAMES] == [0.0] * 4
    others = [value for label, value in enumerate(found["lpips"].per_class) if label != 3]
    assert found["lpips"].per_class[3] > min(others)


def test_libraries_that_are_not_installed_are_named_before_anything_runs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    SampleQuality()
    with pytest.raises(UsageError, match=r"needs torchmetrics and torch_fidelity .*mibench-metrics\[quality\]"):
        SampleQuality(inception="some.pth")


def test_weights_that_are_named_and_missing_come_with_how_to_get_them(tmp_path):
    (tmp_path / "there.pth").touch()
    assert SampleQuality(inception=str(tmp_path / "there.pth")).missing() == SampleQuality().missing() == []
    one, other = SampleQuality(inception="no.pth", backbone="no.pth", lpips_network="alex").missing()
    assert one.startswith("no.pth does not exist.") and "weights-inception-2015-12-05-6726825d.pth" in one
    assert "alexnet-owt-7be5be79.pth" in other


def test_too_few_images_for_a_neighbourhood_are_an_error(world):
    with pytest.raises(MibenchError, match="a class with more than 9 images of either kind"):
        SampleQuality(neighbours=9).measure(world.evidence, world.ctx)
