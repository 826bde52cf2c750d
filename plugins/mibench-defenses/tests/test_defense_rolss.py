"""Weak skips against networks without them, worked out by hand, and the released code's counts."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from mibench_defenses.methods.rolss import WeakSkips
from mibench_defenses.parts.skips import Skip, has_skip, install, skips_of
from mibench_models.small_cnn import SmallCnn
from mibench_models.small_resnet import SmallResNet
from mibench_models.torchvision_models import TorchvisionModel
from torch import nn
from torch.nn.functional import relu
from torchvision.models.convnext import CNBlock
from torchvision.models.densenet import _DenseBlock
from torchvision.models.efficientnet import MBConv, MBConvConfig
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vision_transformer import EncoderBlock

from mibench.api import Classifier, Defense, UsageError, generator, params, seeded
from mibench.testing import DefenseContract, TinyWorld, train_steps


class ResidualWorld(TinyWorld):
    """The tiny world with a network that has skips: two stages of two blocks."""

    def classifier(self, *, seed: int = 0, width: int = 4) -> Classifier:
        with seeded("residual", self.seed, seed):
            model = SmallResNet(blocks_per_stage=(2, 2), width=width)
            return model.build(num_classes=self.classes, channels=self.channels, size=self.size)


WORLD = ResidualWorld()


class TestContract(DefenseContract):
    component = WeakSkips
    world = WORLD


class TestContractOfTwoStages(DefenseContract):
    component = WeakSkips
    settings: ClassVar = {**WeakSkips.presets["tts"], "scale": 0.3}
    world = WORLD


def made(arch: str) -> Classifier:
    with seeded("rolss", arch):
        return TorchvisionModel(arch=arch).build(num_classes=3, channels=3, size=32)


def slim(blocks: tuple[int, int, int, int]) -> Classifier:
    """Torchvision's ResNet with blocks as in the deep ones, but cheap."""
    with seeded("slim"):
        body = ResNet(BasicBlock, list(blocks), num_classes=3)
    return Classifier(body, head="fc", stage_names=[f"layer{i}" for i in (1, 2, 3, 4)], mean=[0.5] * 3, std=[0.5] * 3)


def noise(*shape: int, name: str = "x") -> torch.Tensor:
    return torch.randn(*shape, generator=generator("rolss", name))


def scales(model: Classifier) -> list[float]:
    return [skip.now for skip in skips_of(model).values()]


def weak(model: Classifier, **settings) -> Classifier:
    return WeakSkips(**settings).build(model, WORLD.context())


BLOCKS = {
    "basic": lambda: BasicBlock(8, 8),
    "basic, projected": lambda: BasicBlock(8, 8, downsample=nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))),
    "bottleneck": lambda: Bottleneck(8, 2),
    "inverted": lambda: InvertedResidual(8, 8, 1, 2),
    "mbconv": lambda: MBConv(MBConvConfig(2, 3, 1, 8, 8, 1, 1.0, 1.0), 0.0, nn.BatchNorm2d),
    "convnext": lambda: CNBlock(8, 1.0, 0.0),
    "dense": lambda: _DenseBlock(3, 8, 2, 4, 0.0),
    "encoder": lambda: EncoderBlock(2, 8, 16, 0.0, 0.0),
    "small-resnet": lambda: WORLD.classifier(width=8).body.stages[0][0],
}


def block_and_input(kind: str) -> tuple[nn.Module, torch.Tensor]:
    with seeded("block", kind):
        block = BLOCKS[kind]()
        for name, value in block.named_parameters():
            nn.init.normal_(value, std=0.3) if "norm" not in name else None
    return block, noise(4, 5, 8) if kind == "encoder" else noise(4, 8, 6, 6)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("training", [True, False])
def test_a_whole_skip_changes_no_bit_and_no_name(kind: str, training: bool):
    block, x = block_and_input(kind)
    block.train(training)
    other = copy.deepcopy(block)
    assert has_skip(other)
    install(other, 1.0, "all")
    assert list(other.state_dict()) == list(block.state_dict())
    assert torch.equal(block(x), copy.deepcopy(other)(x))
    other.load_state_dict(block.state_dict())


@pytest.mark.parametrize("kind", [kind for kind in BLOCKS if kind not in ("dense", "encoder")])
@pytest.mark.parametrize("scale", [0.0, 0.25])
def test_additive_blocks_by_hand(kind: str, scale: float):
    block, x = block_and_input(kind)
    block.eval()
    last_relu = "basic" in kind or kind in ("bottleneck", "small-resnet")
    plain = _sum_before_relu(block, x) if last_relu else block(x)
    path = x
    if kind == "basic, projected":
        path = block.downsample(x)
    expected = plain.double() - (1 - scale) * path.double()
    expected = expected.relu() if last_relu else expected
    install(block, scale, "all")
    torch.testing.assert_close(block(x).double(), expected, rtol=1e-5, atol=1e-5)


def _sum_before_relu(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """F(x) + skip(x), from the block's own layers."""
    norms = "norm" if hasattr(block, "norm1") else "bn"
    branch, count = x, 3 if hasattr(block, "conv3") else 2
    for index in range(1, count + 1):
        branch = getattr(block, f"{norms}{index}")(getattr(block, f"conv{index}")(branch))
        branch = relu(branch) if index < count else branch
    path = getattr(block, "downsample", None) or getattr(block, "shortcut", None) or nn.Identity()
    return branch + path(x)


def test_without_skip_the_identity_path_does_not_matter():
    block, x = block_and_input("basic, projected")
    install(block, 0.0, "all")
    block.eval()
    before = block(x)
    before.sum().backward()
    assert block.downsample[0].weight.grad is None
    assert block.conv1.weight.grad is not None
    nn.init.constant_(block.downsample[0].weight, float("nan"))
    assert torch.equal(block(x), before)


@pytest.mark.parametrize("kind", ["basic", "inverted", "convnext", "mbconv", "bottleneck", "small-resnet", "encoder"])
def test_without_skip_no_gradient_passes_beside_the_branch(kind: str):
    block, x = block_and_input(kind)
    install(block, 0.0, "all")
    for name, value in block.eval().named_parameters():  # a branch that is constantly 0 leaves the identity alone
        if value.ndim > 1 or "in_proj" in name:
            nn.init.zeros_(value)
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(block(x).sum(), x)
    assert not gradient.any()


@pytest.mark.parametrize(("mode", "attention", "mlp"), [("all", 0.0, 0.0), ("attention", 0.0, 1.0), ("mlp", 1.0, 0.0)])
def test_encoder_block_by_hand(mode: str, attention: float, mlp: float):
    block, x = block_and_input("encoder")
    normed = block.ln_1(x)
    middle = block.self_attention(normed, normed, normed)[0] + attention * x
    expected = block.mlp(block.ln_2(middle)) + mlp * middle
    install(block, 0.0, mode)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_masked_dense_block_equals_the_released_narrow_one(scale: float):
    """Narrow layers take the weights of the kept channels; BatchNorm's shift of dropped channels is 0."""
    block, x = block_and_input("dense")
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.bias)
    install(block, scale, "all")
    block.eval()
    init, growth = round(scale * 8), round(scale * 4)
    # Channels of the full concatenation that layer i of the narrow network would see.
    seen = [
        list(range(8)),
        [*range(init), *range(8, 12)],
        [*range(init), *range(8, 8 + growth), *range(12, 16)],
    ]
    maps = [x]
    for index, layer in enumerate(list(block.values())[:3]):
        full = torch.cat(maps, 1)[:, seen[index]]
        norm = layer.norm1
        normed = (
            (full - norm.running_mean[seen[index]].view(-1, 1, 1))
            / (norm.running_var[seen[index]].view(-1, 1, 1) + norm.eps).sqrt()
            * norm.weight[seen[index]].view(-1, 1, 1)
        )
        hidden = torch.einsum("bchw,oc->bohw", relu(normed), layer.conv1.weight[:, seen[index], 0, 0])
        maps.append(layer.conv2(relu(layer.norm2(hidden))))
    out = block(x)
    kept = [*range(init), *range(8, 8 + growth), *range(12, 12 + growth), *range(16, 20)]
    torch.testing.assert_close(out[:, kept], torch.cat(maps, 1)[:, kept], rtol=1e-4, atol=1e-5)
    assert not out[:, [channel for channel in range(20) if channel not in kept]].any()


@pytest.mark.parametrize("arch", ["resnet18", "densenet121", "mobilenet_v2"])
def test_whole_networks_with_whole_skips_change_no_bit(arch: str):
    model = made(arch).eval()
    x = noise(2, 3, 32, 32).sigmoid()
    before, names = model(x), list(model.state_dict())
    changed = weak(model, scale=1.0)
    assert torch.equal(copy.deepcopy(changed)(x), before)
    assert list(changed.state_dict()) == names
    assert set(scales(changed)) == {1.0}


@pytest.mark.parametrize(
    ("arch", "settings", "expected"),
    [
        ("resnet18", {}, [1, 1, 1, 1, 1, 1, 0, 0]),
        ("resnet18", {"scale": 0.2}, [1, 1, 1, 1, 1, 1, 0.2, 0.2]),
        ("resnet18", {"scales": (0, 1, 0.5, 1)}, [0, 0, 1, 1, 0.5, 0.5, 1, 1]),
        ("resnet18", {"scales": (0, *[1] * 7)}, [0, 1, 1, 1, 1, 1, 1, 1]),
        ("densenet121", WeakSkips.presets["densenet121"], [1, 0, 1, 1]),
        # MobileNetV2's last stage has no skip; the last that has any is the one of 160 channels.
        ("mobilenet_v2", {}, [1] * 8 + [0, 0]),
        ("mobilenet_v2", WeakSkips.presets["mobilenet-v2"], [1] * 10),
        ("mobilenet_v2", {"scales": (1, 0, 1, 1, 1, 1, 1)}, [0] + [1] * 9),
    ],
)
def test_scales_by_stage_and_by_block(arch: str, settings: dict, expected: list[float]):
    assert scales(weak(made(arch), **settings)) == expected


def test_vit_preset_weakens_the_first_mlp_only():
    body = nn.Module()
    body.layers = nn.Sequential(*(EncoderBlock(2, 8, 16, 0.0, 0.0) for _ in range(12)))
    body.head = nn.Linear(8, 3)
    stages = [f"layers.{index}" for index in (2, 5, 8, 11)]
    model = Classifier(body, head="head", stage_names=stages, mean=[0.5], std=[0.5])
    got = skips_of(params.build(WeakSkips, WeakSkips.presets["vit-b-16"]).build(model, WORLD.context()))
    assert len(got) == 24
    assert {path: skip.now for path, skip in got.items() if skip.now != 1} == {"body.layers.0.skip_mlp": 0.0}


@pytest.mark.parametrize(("blocks", "tail"), [(2, 1), (6, 2), (23, 5), (36, 8)])
def test_released_tail_of_stage_three(blocks: int, tail: int):
    model = weak(slim((1, 1, blocks, 1)), scale=1.0, stage3_tail=True)
    assert scales(model) == [1.0] * (2 + blocks - tail) + [0.0] * tail + [1.0]


def test_parameters_and_gradients_of_a_step_on_resnet18():
    model = weak(made("resnet18").train())
    model(noise(4, 3, 64, 64).sigmoid()).square().sum().backward()
    unused = [name for name, value in model.named_parameters() if value.grad is None]
    # Of the last stage only the projection is without use.
    assert unused == [f"body.layer4.0.downsample.{name}" for name in ("0.weight", "1.weight", "1.bias")]


def test_whole_skips_train_as_plain_training_does():
    plain = train_steps(Defense(), WORLD).model.state_dict()
    whole = train_steps(WeakSkips(scale=1.0), WORLD).model.state_dict()
    assert all(torch.equal(plain[name], whole[name]) for name in plain)


def test_two_stage_training_starts_as_plain_training_does():
    seen = []

    class Watch(WeakSkips):
        def on_epoch_end(self, model, ctx):
            seen.append(scales(model)[-1])

    trained = train_steps(Watch(with_skips=0.5), WORLD, epochs=5)
    assert seen == [1.0, 1.0, 0.0, 0.0, 0.0]
    verdict = WeakSkips(with_skips=0.5).self_check(trained.model, trained.ctx)
    assert verdict.active
    assert (verdict.signals["weak"], verdict.signals["epochs_weak"]) == (2, 3)


def test_self_check_tells_when_nothing_is_weakened():
    defense = WeakSkips(scales=(1, 1))
    trained = train_steps(defense, WORLD)
    verdict = defense.self_check(trained.model, trained.ctx)
    assert not verdict.active
    assert "0 of 4" in verdict.reason
    assert verdict.signals["weak"] == 0


def test_self_check_names_the_scale_of_each_block():
    defense = WeakSkips(scale=0.25)
    trained = train_steps(defense, WORLD)
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active
    per_block = {name: value for name, value in verdict.signals.items() if name.startswith("scale ")}
    assert list(per_block.values()) == [1.0, 1.0, 0.25, 0.25]
    assert next(iter(per_block)) == "scale body.stages.0.0.shortcut"


def test_two_stages_in_too_few_epochs_are_inactive():
    defense = WeakSkips(with_skips=0.4)
    trained = train_steps(defense, WORLD, epochs=2)
    assert not defense.self_check(trained.model, trained.ctx).active


def test_a_network_without_named_stages_is_one_stage():
    model = WORLD.classifier()
    model.stage_names = []
    assert scales(weak(model, scale=0.5)) == [0.5] * 4


@pytest.mark.parametrize(
    ("model", "settings", "match"),
    [
        (lambda: SmallCnn().build(num_classes=3, channels=1, size=32), {}, "no skip connections"),
        (WORLD.classifier, {"scales": (1, 0, 1)}, "2 entries .stages. or 4"),
        (WORLD.classifier, {"mode": "mlp"}, "Vision Transformers"),
        (lambda: made("mobilenet_v2"), {"stage3_tail": True}, "ResNets only"),
        (lambda: made("shufflenet_v2_x0_5"), {}, "no skip connections"),
    ],
)
def test_what_is_not_defined_is_refused(model, settings: dict, match: str):
    with pytest.raises(UsageError, match=match):
        weak(model(), **settings)


def test_impossible_scales_are_refused():
    with pytest.raises(UsageError, match="scale"):
        params.build(WeakSkips, {"scale": 1.5})
    with pytest.raises(UsageError, match="scales"):
        params.build(WeakSkips, {"scales": (1, -1)})


def test_a_skip_holds_no_state():
    assert not Skip(0.5).state_dict()
