"""The small classifiers layer by layer in float64, their sizes by hand, and what a face passes before its embedding."""

import hashlib

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models import sface, small_resnet
from mibench_models.sface import SFace
from mibench_models.small_cnn import SmallCnn
from mibench_models.small_resnet import SmallResNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mibench.api import UsageError, freeze, generator, resize, seeded
from mibench.api.classifier import Embedder, Model


def made(model, *, classes=5, channels=1, size=16):
    with seeded("weights"):
        classifier = model.build(num_classes=classes, channels=channels, size=size)
        with torch.no_grad():
            for module in classifier.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(std=0.2)
                    module.running_var.uniform_(0.5, 1.5)
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(std=0.2)
    return freeze(classifier)


def drawn(*shape):
    return torch.rand(*shape, generator=generator("classifier networks", *shape))


def normed(x, norm):
    mean, var, gain, bias = (
        array(t).reshape(1, -1, 1, 1) for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / np.sqrt(var + 1e-5) * gain + bias


def pooled(x):
    batch, channels, side, _ = x.shape
    return x[:, :, : side // 2 * 2, : side // 2 * 2].reshape(batch, channels, side // 2, 2, side // 2, 2).max((3, 5))


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


# -- smallcnn ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("pooling", ["flatten", "average"])
def test_smallcnn_equals_float64(stem_stride, pooling):
    classifier = made(SmallCnn(widths=(3, 4), features=6, stem_stride=stem_stride, pooling=pooling))
    x, body = drawn(3, 1, 16, 16), classifier.body
    h = 2 * array(x) - 1
    for index, block in enumerate(body.blocks):
        stride = stem_stride if index == 0 else 1
        h = np.maximum(normed(by_hand.convolved(h, array(block[0].weight), stride=stride, padding=1), block[1]), 0)
        h = pooled(h) if stride == 1 else h
    assert h.shape == (3, 4, 4, 4)
    h = h.reshape(3, -1) if pooling == "flatten" else h.mean((2, 3))
    features = np.maximum(h @ array(body.feature[1].weight).T + array(body.feature[1].bias), 0)
    out = classifier.outputs(x)
    np.testing.assert_allclose(array(out.features), features, atol=1e-5)
    logits = features @ array(body.head.weight).T + array(body.head.bias)
    np.testing.assert_allclose(array(out.logits), logits, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "channels", "side"),
    [
        (SmallCnn(), 1, 64),
        (SmallCnn(), 3, 64),
        (SmallCnn(widths=(4, 6, 8), features=10), 3, 32),
        (SmallCnn(pooling="average"), 1, 64),
        (SmallCnn(stem_stride=1, widths=(5,)), 1, 16),
    ],
    ids=repr,
)
def test_size_of_smallcnn_by_hand(model, channels, side):
    expected, inside = 0, channels
    for width in model.widths:
        expected += inside * width * 9 + 2 * width
        inside = width
    last = side >> len(model.widths)
    flat = inside * (last * last if model.pooling == "flatten" else 1)
    expected += flat * model.features + model.features + model.features * 7 + 7
    assert size(model.build(num_classes=7, channels=channels, size=side)) == expected


@pytest.mark.parametrize(("channels", "millions"), [(1, 8.5), (3, 8.7)])
def test_smallcnn_costs_what_its_documentation_says(channels, millions):
    """Per block: outputs x inputs x 9 x pixels; the first has stride 2, the others are halved after."""
    pixels = [32 * 32, 32 * 32, 16 * 16, 8 * 8]
    widths = [12, 24, 48, 96]
    expected = sum(a * b * 9 * n for a, b, n in zip([channels, *widths], widths, pixels, strict=False))
    expected += 96 * 16 * 256 + 256 * 20
    classifier = freeze(SmallCnn().build(num_classes=20, channels=channels, size=64))
    with FlopCounterMode(display=False) as counter:
        classifier(drawn(1, channels, 64, 64))
    assert counter.get_total_flops() / 2 == expected
    assert expected / 1e6 == pytest.approx(millions, abs=0.05)


def test_smallcnn_drops_features_in_training_only():
    classifier = made(SmallCnn(widths=(8,), features=64, dropout=0.5))
    x = drawn(64, 1, 16, 16)
    with torch.no_grad():
        kept = classifier.features(x)
        classifier.train()
        for module in classifier.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        with seeded("drop"):
            dropped = classifier.features(x)
    alive = kept > 0
    share = (dropped[alive] == 0).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.05)
    left = alive & (dropped > 0)
    torch.testing.assert_close(dropped[left], 2 * kept[left])


@pytest.mark.parametrize(("blocks", "side", "fit"), [(4, 15, 3), (3, 7, 2), (5, 31, 4)])
def test_smallcnn_says_how_many_blocks_fit(blocks, side, fit):
    with pytest.raises(UsageError, match=rf"at least {2**blocks} px, got {side}.*at most {fit} blocks"):
        SmallCnn(widths=(4,) * blocks).build(num_classes=2, channels=1, size=side)
    SmallCnn(widths=(4,) * fit).build(num_classes=2, channels=1, size=side)


# -- small-resnet -----------------------------------------------------------------------------------------------------


def block_by_hand(block, x, stride):
    h = by_hand.convolved(x, array(block.conv1.weight), stride=stride, padding=1)
    h = np.maximum(normed(h, block.norm1), 0)
    h = normed(by_hand.convolved(h, array(block.conv2.weight), padding=1), block.norm2)
    if not isinstance(block.shortcut, nn.Identity):
        x = normed(by_hand.convolved(x, array(block.shortcut[0].weight), stride=stride), block.shortcut[1])
    return np.maximum(h + x, 0)


@pytest.mark.parametrize("pooling", ["flatten", "average"])
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_small_resnet_equals_float64(pooling, stem_stride):
    model = SmallResNet(blocks_per_stage=(1, 2), width=3, pooling=pooling, stem_stride=stem_stride)
    classifier = made(model)
    x, body = drawn(2, 1, 16, 16), classifier.body
    h = by_hand.convolved(2 * array(x) - 1, array(body.stem.weight), stride=stem_stride, padding=1)
    h = np.maximum(normed(h, body.stem_norm), 0)
    stages = {}
    for index, stage in enumerate(body.stages):
        for place, block in enumerate(stage):
            h = block_by_hand(block, h, 2 if index and not place else 1)
        stages[f"stages.{index}"] = h
    features = h.reshape(2, -1) if pooling == "flatten" else h.mean((2, 3))
    out = classifier.outputs(x, stages=True)
    np.testing.assert_allclose(array(out.features), features, atol=1e-5)
    np.testing.assert_allclose(
        array(out.logits), features @ array(body.head.weight).T + array(body.head.bias), atol=1e-5
    )
    assert {name: array(stage).shape for name, stage in out.stages.items()} == {n: s.shape for n, s in stages.items()}
    for name, stage in stages.items():
        np.testing.assert_allclose(array(out.stages[name]), stage, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "channels", "side", "last"),
    [
        (SmallResNet(), 1, 64, 4),
        (SmallResNet(blocks_per_stage=(2, 1, 3), width=4), 3, 32, 4),
        (SmallResNet(blocks_per_stage=(1, 1), width=8, stem_stride=1, pooling="average"), 1, 20, 10),
        (SmallResNet(blocks_per_stage=(1, 1, 1), width=2), 1, 25, 4),
    ],
    ids=repr,
)
def test_size_of_small_resnet_by_hand(model, channels, side, last):
    expected, inside = channels * model.width * 9 + 2 * model.width, model.width
    for index, count in enumerate(model.blocks_per_stage):
        width = model.width * 2**index
        for place in range(count):
            expected += inside * width * 9 + width * width * 9 + 4 * width
            if not place and index:
                expected += inside * width + 2 * width
            inside = width
    features = inside * (last * last if model.pooling == "flatten" else 1)
    classifier = model.build(num_classes=7, channels=channels, size=side)
    assert classifier.feature_dim == features
    assert size(classifier) == expected + features * 7 + 7
    assert freeze(classifier)(drawn(1, channels, side, side)).shape == (1, 7)


def test_small_resnet_costs_what_its_documentation_says():
    expected = 1 * 16 * 9 * 32 * 32
    for width, inside, pixels in ((16, 16, 1024), (32, 16, 256), (64, 32, 64), (128, 64, 16)):
        expected += (inside * width * 9 + width * width * 9 + (inside * width if inside != width else 0)) * pixels
    expected += 2048 * 20
    classifier = freeze(SmallResNet().build(num_classes=20, channels=1, size=64))
    with FlopCounterMode(display=False) as counter:
        classifier(drawn(1, 1, 64, 64))
    assert counter.get_total_flops() / 2 == expected
    assert expected / 1e6 == pytest.approx(15.9, abs=0.05)


def test_small_resnet_begins_as_he_et_al_do():
    with seeded("he"):
        classifier = SmallResNet(width=64).build(num_classes=2, channels=1, size=32)
    for module in classifier.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight.shape[0] * module.weight[0, 0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
            assert module.bias is None


def test_a_block_that_keeps_its_shape_has_no_weights_on_its_shortcut():
    assert isinstance(small_resnet._BasicBlock(4, 4, stride=1).shortcut, nn.Identity)
    assert not isinstance(small_resnet._BasicBlock(4, 4, stride=2).shortcut, nn.Identity)
    assert not isinstance(small_resnet._BasicBlock(4, 8, stride=1).shortcut, nn.Identity)


# -- two contracts of one kind ----------------------------------------------------------------------------------------


def test_classifiers_are_models_and_the_embedder_is_none():
    assert isinstance(SmallCnn(), Model)
    assert isinstance(SFace(), Embedder)
    assert not isinstance(SFace(), Model)
    assert not isinstance(SmallCnn(), Embedder)


# -- sface: what happens before and after the network ------------------------------------------------------------------


class Session:
    """Stands in for the network: embeds a face by 128 of its pixels."""

    def __init__(self):
        self.seen = []

    def run(self, outputs, inputs):
        assert outputs is None
        self.seen.append(inputs["data"])
        return [inputs["data"].reshape(1, -1)[:, :128] + 1]


@pytest.fixture
def session(monkeypatch):
    one = Session()
    monkeypatch.setattr(sface, "_session", lambda file, threads: one)
    monkeypatch.setattr(sface, "_weights_file", lambda: "somewhere")
    monkeypatch.setattr(sface, "_MEMORY", {})
    return one


def test_the_network_sees_one_face_at_a_time_in_8_bit_units_at_its_own_side(session):
    x = drawn(3, 1, 64, 64)
    SFace().embed(x)
    assert [face.shape for face in session.seen] == [(1, 3, 112, 112)] * 3
    for face, image in zip(session.seen, x, strict=True):
        assert face.dtype == np.float32
        expected = array(resize(image[None], 112)) * 255
        np.testing.assert_allclose(face, np.repeat(expected, 3, 1), atol=1e-3)


@pytest.mark.parametrize(("crop", "side", "window"), [(0.5, 20, (5, 15)), (0.78, 50, (5, 44)), (1.0, 9, (0, 9))])
def test_the_crop_is_central_and_rounded(session, crop, side, window):
    x = drawn(1, 3, side, side)
    SFace(crop=crop).embed(x)
    low, high = window
    expected = array(resize(x[..., low:high, low:high], 112)) * 255
    np.testing.assert_allclose(session.seen[0], expected, atol=1e-3)


def test_embeddings_have_length_one_and_keep_their_direction(session):
    found = SFace().embed(drawn(2, 3, 112, 112))
    for row, face in zip(array(found), session.seen, strict=True):
        raw = face.reshape(-1)[:128].astype(np.float64) + 1
        np.testing.assert_allclose(row, raw / np.linalg.norm(raw), atol=1e-6)


def test_a_face_is_embedded_once_and_remembered(session):
    x = drawn(3, 3, 112, 112)
    first = SFace().embed(x[[0, 1, 0, 0]])
    again = SFace().embed(x[[1, 0, 2]])
    assert len(session.seen) == 3
    assert torch.equal(first[0], first[2])
    assert torch.equal(again[0], first[1])


def test_memory_is_bounded_and_the_oldest_goes(session, monkeypatch):
    monkeypatch.setattr(sface, "REMEMBERED", 2)
    x = drawn(3, 3, 112, 112)
    SFace().embed(x)
    assert len(sface._MEMORY) == 2
    SFace().embed(x[[2, 1]])
    assert len(session.seen) == 3
    SFace().embed(x[:1])
    assert len(session.seen) == 4


def test_images_without_gradient_come_back_to_their_device(session):
    x = drawn(1, 3, 112, 112).requires_grad_(True)
    found = SFace().embed(x)
    assert not found.requires_grad
    assert found.dtype == torch.float32
    assert found.device == x.device


def test_the_weights_are_those_of_opencv_zoo():
    found = hashlib.sha256(sface._weights_file().read_bytes()).hexdigest()
    assert found == sface.SHA256
    assert (sface.SIDE, sface.DIMENSIONS) == (112, 128)


def test_sessions_are_kept_by_file_and_threads():
    file = sface._weights_file()
    assert sface._session(file, 1) is sface._session(file, 1)
    face = (drawn(1, 3, 112, 112) * 255).numpy()
    one, two = (sface._session(file, threads).run(None, {"data": face})[0] for threads in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-4)
    assert one.shape == (1, 128)
