"""Named stages of torchvision's networks: where they lie, and that they are what a forward pass goes through."""

from __future__ import annotations

import pytest
import torch
import torchvision
from mibench_models.torchvision_stages import STAGE_TABLE, stage_names
from torch import nn


def network(arch: str) -> nn.Module:
    options = {"aux_logits": False, "init_weights": False} if arch in ("inception_v3", "googlenet") else {}
    place = "cpu" if arch.startswith("regnet") else "meta"  # RegNet computes its widths with tensors
    with torch.device(place):
        made: nn.Module = torchvision.models.get_model(arch, weights=None, **options)
    return made.to("meta").eval()


def last_linear(net: nn.Module) -> str:
    return [path for path, module in net.named_modules() if isinstance(module, nn.Linear)][-1]


def entered(net: nn.Module, side: int) -> list[str]:
    """Return the modules in the order in which a forward pass leaves them."""
    order: list[str] = []
    for path, module in net.named_modules():
        module.register_forward_hook(lambda *_, path=path: order.append(path))
    net(torch.empty(2, 3, side, side, device="meta"))
    return order


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("resnet152", ["layer1", "layer2", "layer3", "layer4"]),
        ("resnext50_32x4d", ["layer1", "layer2", "layer3", "layer4"]),
        ("densenet169", [f"features.denseblock{index}" for index in (1, 2, 3, 4)]),
        ("inception_v3", ["Mixed_5d", "Mixed_6e", "Mixed_7c"]),
        ("convnext_tiny", [f"features.{index}" for index in (1, 3, 5, 7)]),
        ("swin_t", [f"features.{index}" for index in (1, 3, 5, 7)]),
        ("vit_b_16", [f"encoder.layers.encoder_layer_{index}" for index in (2, 5, 8, 11)]),
    ],
)
def test_stages_are_those_of_the_literature(arch: str, expected: list[str]) -> None:
    net = network(arch)
    assert stage_names(arch, net, last_linear(net)) == expected


@pytest.mark.parametrize(
    "arch",
    [
        *("alexnet", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2"),
        *("mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "vgg11_bn", "vit_b_16"),
    ],
)
def test_a_forward_pass_goes_through_the_stages_in_their_order(arch: str) -> None:
    net = network(arch)
    names = stage_names(arch, net, last_linear(net))
    order = entered(net, 224)
    assert [path for path in order if path in names] == names
    assert len(names) == len(set(names)) >= 2


def test_five_poolings_of_vgg_and_three_of_alexnet() -> None:
    for arch, pools in (("vgg11_bn", 5), ("vgg16", 5), ("alexnet", 3)):
        net = network(arch)
        names = stage_names(arch, net, "classifier.6")
        assert len(names) == pools
        assert all(isinstance(net.get_submodule(name), nn.MaxPool2d) for name in names)


class Plain(nn.Module):
    """A network that no table knows: a stem, blocks in a list, and a head."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()) for _ in range(blocks)])
        self.head = nn.Linear(4, 5)


@pytest.mark.parametrize(("blocks", "last"), [(8, (1, 3, 5, 7)), (6, (0, 2, 3, 5)), (4, (0, 1, 2, 3)), (2, (0, 1))])
def test_other_networks_are_cut_into_quarters_of_their_blocks(blocks: int, last: tuple[int, ...]) -> None:
    assert stage_names("", Plain(blocks), "head") == [f"blocks.{index}" for index in last]


def test_a_trunk_is_looked_into_and_modules_without_parameters_are_passed_over() -> None:
    net = nn.Module()
    net.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2))
    net.head = nn.Linear(4, 5)
    assert stage_names("", net, "head") == ["features.0", "features.2"]


def test_the_table_names_families_that_torchvision_has() -> None:
    names = torchvision.models.list_models(module=torchvision.models)
    assert all(any(name.startswith(prefix) for name in names) for prefix in STAGE_TABLE)
