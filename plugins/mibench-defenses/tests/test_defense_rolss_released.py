"""RoLSS and SSF against the released code: its networks written out by hand, and numbers frozen from a run of it.

The frozen numbers are logits of the ResNet and DenseNet of the RoLSS authors' repository (commit 304b147, which AT-AT's
code uses too), in float64, with weights and images from ``filled`` and ``images``.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mibench_defenses.methods.rolss import WeakSkips
from mibench_models.torchvision_models import TorchvisionModel
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, batch_norm, conv2d, linear, max_pool2d
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from mibench.api import Classifier, UsageError, params
from mibench.testing import TinyWorld

WORLD = TinyWorld()
LAYERS = (2, 2, 6, 2)
KINDS = {"basic": BasicBlock, "bottleneck": Bottleneck}


def filled(network: nn.Module, seed: int) -> nn.Module:
    """Weights and statistics of a variance of about 1 over the fan-in, from NumPy's frozen generator."""
    rng = np.random.RandomState(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            drawn = torch.from_numpy(rng.rand(*value.shape)) - 0.5
            if value.ndim > 1:
                drawn *= (12 / value[0].numel()) ** 0.5
            elif name.endswith(("running_var", "weight")):
                drawn += 1
            value.copy_(drawn)
    return network


def images() -> Tensor:
    """Three images in [-1, 1], what the networks see behind the normalisation."""
    return torch.from_numpy(np.random.RandomState(7).rand(3, 3, 32, 32)) * 2 - 1


def weak(network: nn.Module, head: str, stages: list[str], **settings) -> Classifier:
    model = Classifier(network, head=head, stage_names=stages, mean=[0.5] * 3, std=[0.5] * 3)
    return params.build(WeakSkips, settings).build(model, WORLD.context())


def weak_resnet(kind: str, *, layers: tuple[int, ...] = LAYERS, **settings) -> nn.Module:
    network = ResNet(KINDS[kind], list(layers), num_classes=3)
    body = weak(network, "fc", [f"layer{i}" for i in (1, 2, 3, 4)], **settings).body
    return filled(body.double(), 11)


def by_hand(state: dict[str, Tensor], x: Tensor, scale: float, *, tail: bool, training: bool) -> Tensor:
    """The released ResNet from its state dict alone; BasicBlock or Bottleneck by what is in it."""

    def norm(x: Tensor, path: str) -> Tensor:
        mean, var = (None, None) if training else (state[f"{path}.running_mean"], state[f"{path}.running_var"])
        return batch_norm(x, mean, var, state[f"{path}.weight"], state[f"{path}.bias"], training)

    def block(x: Tensor, path: str, stride: int, scale: float) -> Tensor:
        deep = f"{path}.conv3.weight" in state
        out = x
        for index in (1, 2, 3) if deep else (1, 2):
            weight = state[f"{path}.conv{index}.weight"]
            out = conv2d(out, weight, stride=stride if index == 1 + deep else 1, padding=weight.shape[-1] // 2)
            out = norm(out, f"{path}.bn{index}")
            out = out if index == 2 + deep else out.relu()
        if scale:
            if f"{path}.downsample.0.weight" in state:
                x = norm(conv2d(x, state[f"{path}.downsample.0.weight"], stride=stride), f"{path}.downsample.1")
            out = out + scale * x
        return out.relu()

    x = norm(conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1").relu()
    x = max_pool2d(x, 3, 2, 1)
    for stage in (1, 2, 3, 4):
        count = sum(name.endswith(".conv1.weight") and name.startswith(f"layer{stage}.") for name in state)
        for index in range(count):
            s = scale if stage == 4 else 1.0
            if tail and stage == 3 and index >= int(0.8 * count):
                s = 0.0
            x = block(x, f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1, s)
    return linear(adaptive_avg_pool2d(x, 1).flatten(1), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("preset", "scale", "tail"),
    [
        ("rolss", 0.0, False),
        ("ssf", 0.2, False),
        ("compat", 0.0, True),
        ("ssf-compat", 0.2, True),
        ("ssf-resnet18-compat", 0.6, True),
    ],
)
def test_presets_of_resnets_are_what_they_say_to_the_bit(
    preset: str, scale: float, tail: bool, kind: str, training: bool
):
    body = weak_resnet(kind, layers=(1, 1, 3, 2), **WeakSkips.presets[preset]).train(training).requires_grad_(False)
    state, x = {name: value.clone() for name, value in body.state_dict().items()}, images()
    expected = by_hand(state, x, scale, tail=tail, training=training)
    assert float((body(x) - expected).abs().max()) == 0
    other = by_hand(state, x, scale, tail=not tail, training=training)
    assert float((expected - other).abs().max()) > 1e-3


RELEASED_RESNETS = {
    ("basic", "compat", True): [-1.81706348321, -1.71397158771, -0.438002384358],
    ("basic", "compat", False): [-0.247859143963, -0.617930670932, 0.354868743302],
    ("basic", "ssf-compat", True): [-1.43292793957, -1.67091073407, -0.452846879425],
    ("basic", "ssf-compat", False): [-0.253783106451, -0.634866321499, 0.435845422726],
    ("basic", "ssf-resnet18-compat", False): [-0.310666779288, -0.875720913958, 0.711551606477],
    ("bottleneck", "compat", True): [0.19963998898, -0.730626650437, 0.33653490436],
    ("bottleneck", "compat", False): [-0.801912252971, -0.656838479953, 0.164177868721],
    ("bottleneck", "ssf-compat", True): [-0.0761982592064, -0.523166911598, 0.162101254256],
    ("bottleneck", "ssf-resnet18-compat", True): [-1.41505006546, -0.454239760127, 0.385761655517],
}
"""Logits of the first image: (blocks, preset, training mode)."""


@pytest.mark.parametrize("case", RELEASED_RESNETS, ids=str)
def test_logits_of_the_released_resnet(case: tuple[str, str, bool]):
    kind, preset, training = case
    got = weak_resnet(kind, **WeakSkips.presets[preset]).train(training)(images())[0]
    assert got.tolist() == pytest.approx(RELEASED_RESNETS[case], abs=1e-7)


RELEASED_DENSENETS = {
    (0, 1, 1, 1): (9256, [1.47865913833, 0.154678583744, -0.600559355608], [0.138805767314, -0.227709992913]),
    (1, 0, 1, 1): (8807, [0.245587288353, -0.220609769259, 0.160912243338], [-0.00956678271044, -0.315773868197]),
    (0.3, 1, 0.5, 0.25): (
        9015,
        [-0.0426959215628, -0.0803935460306, -1.24836128126],
        [0.350568131079, -0.205979610355],
    ),
}
"""By scales: parameters, and the first image's logits in training and the first two in evaluation mode."""


@pytest.mark.parametrize("scales", RELEASED_DENSENETS, ids=str)
def test_logits_of_the_released_densenet(scales: tuple[float, ...]):
    network = DenseNet(growth_rate=6, block_config=(2, 3, 2, 2), num_init_features=8, bn_size=2, num_classes=3)
    stages = [f"features.denseblock{index}" for index in (1, 2, 3, 4)]
    body = weak(network, "classifier", stages, scales=scales, narrow=True).body.double()
    count, training, evaluation = RELEASED_DENSENETS[scales]
    assert sum(value.numel() for value in body.parameters()) == count
    assert filled(body, 5).train()(images())[0].tolist() == pytest.approx(training, abs=1e-7)
    assert filled(body, 5).eval()(images())[0, :2].tolist() == pytest.approx(evaluation, abs=1e-7)


def _torchvision(arch: str) -> Classifier:
    with torch.device("meta"):
        return TorchvisionModel(arch=arch).build(num_classes=10, channels=3, size=32).to_empty(device="cpu")


@pytest.mark.parametrize(
    ("arch", "preset", "count", "widths"),
    [
        ("densenet169", "densenet169", 11_722_840, [16, 200, 612]),
        ("densenet121", "densenet121", 5_194_416, [128, 16, 392]),
        ("densenet169", "densenet169-masked", 12_484_480, [128, 256, 640]),
        ("densenet121", "densenet121-masked", 6_953_856, [128, 256, 512]),
    ],
)
def test_parameters_and_transitions_of_released_and_masked_densenets(
    arch: str, preset: str, count: int, widths: list[int]
):
    model = _torchvision(arch)
    for value in model.buffers():
        value.zero_()
    body = params.build(WeakSkips, WeakSkips.presets[preset]).build(model, WORLD.context()).body
    before_head = sum(value.numel() for value in body.features.parameters())
    assert before_head == count
    assert [getattr(body.features, f"transition{index}").conv.out_channels for index in (1, 2, 3)] == widths
    assert model.num_classes == 10
    assert model.feature_dim == body.features.norm5.num_features


def test_narrow_layers_start_like_torchvisions_and_wide_ones_stay():
    plain = TorchvisionModel(arch="densenet121").build(num_classes=3, channels=3, size=32)
    narrow = WeakSkips(scales=(1, 0.5, 1, 1), narrow=True).build(copy.deepcopy(plain), WORLD.context())
    before, after = plain.state_dict(), narrow.state_dict()
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert "body.features.denseblock1.denselayer6.conv1.weight" in same
    assert "body.features.denseblock2.denselayer3.conv2.weight" in same
    made = after["body.features.denseblock2.denselayer9.conv1.weight"]
    assert made.std().item() == pytest.approx((2 / made.shape[1]) ** 0.5, rel=0.05)


def test_narrow_refuses_what_it_cannot_do():
    stages = [f"features.denseblock{index}" for index in (1, 2, 3, 4)]
    trained = filled(DenseNet(growth_rate=6, block_config=(2, 2, 2, 2), num_init_features=8, num_classes=3), 1)
    with pytest.raises(UsageError, match="trained weights do not fit"):
        weak(trained, "classifier", stages, narrow=True)
    with pytest.raises(UsageError, match="DenseNets only"):
        weak(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3), "fc", [], narrow=True)
    with pytest.raises(UsageError, match="with_skips=0"):
        params.build(WeakSkips, {"narrow": True, "with_skips": 0.5})


def test_keys_of_networks_that_are_not_narrow_stay():
    assert "narrow" not in params.canonical(WeakSkips())
    assert params.canonical(WeakSkips(narrow=True))["narrow"] is True
