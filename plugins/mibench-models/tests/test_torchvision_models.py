"""Torchvision networks through the adapter. Real passes for a few; all others on torch's meta device (shapes only)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from mibench_models import mibench_models
from mibench_models.torchvision_models import TorchvisionModel
from mibench_models.torchvision_stages import STAGE_TABLE
from mibench_models.torchvision_zoo import InceptionV3, ResNet18
from safetensors.torch import save_file
from torch import nn

from mibench.api import Classifier, DataError, Defense, UsageError, freeze, generator, seeded
from mibench.api.files import sha256_of_file
from mibench.api.params import build
from mibench.testing import ModelContract, TinyWorld


class TestResNet18(ModelContract):
    component = ResNet18
    world = TinyWorld(classes=2, per_class=4, size=16)


class TestGreyMobileNet(ModelContract):
    component = TorchvisionModel
    settings: ClassVar = {"arch": "mobilenet_v2"}
    world = TinyWorld(classes=2, per_class=4, size=32, channels=1)


CLASSES = 7
SPECS = [spec for spec in mibench_models() if ".torchvision_" in spec.factory]
OTHERS = [
    "alexnet",
    "googlenet",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
]
RUN = [
    ("resnet18", {}, 32),
    ("densenet121", {}, 32),
    ("mobilenet_v2", {}, 32),
    ("regnet_y_400mf", {}, 32),
    ("inception_v3", {"input_size": 75}, 48),
    ("vit_b_16", {"input_size": 32}, 40),
]


def made(arch: str, size: int = 32, num_classes: int = CLASSES, **settings: Any) -> Classifier:
    with seeded("weights", 0):
        return TorchvisionModel(arch=arch, **settings).build(num_classes=num_classes, channels=1, size=size)


def images(channels: int, size: int) -> torch.Tensor:
    return torch.rand(2, channels, size, size, generator=generator("images"))


def check_on_meta(model: TorchvisionModel) -> Classifier:
    with torch.device("meta"):
        classifier = model.build(num_classes=CLASSES, channels=3, size=64)
        out = freeze(classifier).outputs(torch.rand(2, 3, 64, 64), stages=True)
    assert out.logits.shape == (2, CLASSES)
    assert out.features.shape == (2, classifier.feature_dim)
    assert list(out.stages) == classifier.stage_names
    assert len(out.stages) >= 3
    assert all(len(stage) == 2 for stage in out.stages.values())
    return classifier


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_listed_architecture_builds(spec: Any) -> None:
    module, _, name = spec.factory.partition(":")
    check_on_meta(build(getattr(importlib.import_module(module), name), {}))


@pytest.mark.parametrize("arch", OTHERS)
def test_unlisted_architectures_build_too(arch: str) -> None:
    check_on_meta(TorchvisionModel(arch=arch))


@pytest.mark.parametrize(("arch", "settings", "size"), RUN, ids=[row[0] for row in RUN])
def test_a_real_pass(arch: str, settings: dict[str, Any], size: int) -> None:
    classifier = freeze(made(arch, size, **settings))
    x = images(1, size).requires_grad_()
    copies: dict[str, torch.Tensor] = {}
    for name in classifier.stage_names:
        keep = lambda _, __, out, name=name: copies.__setitem__(name, out.detach().clone())  # noqa: E731
        classifier.body.get_submodule(name).register_forward_hook(keep)
    out = classifier.outputs(x, stages=True)
    assert not out.aux
    assert torch.equal(classifier.head(out.features), out.logits)
    assert list(out.stages) == classifier.stage_names
    for name, stage in out.stages.items():
        assert torch.equal(stage, copies[name]), f"{name} was overwritten in place"
    gradients = torch.autograd.grad(out.logits.square().sum(), [x, *out.stages.values()])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_grey_equals_repeated_rgb_and_normalisation_is_by_hand() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    classifier = freeze(made("resnet18", mean=mean, std=std)).double()
    x = images(1, 32).double()
    assert torch.equal(classifier(x), classifier(x.repeat(1, 3, 1, 1)))
    by_hand = torch.stack([(x[:, 0] - m) / s for m, s in zip(mean, std, strict=True)], dim=1)
    torch.testing.assert_close(classifier(x), classifier.body(by_hand), rtol=0, atol=1e-6)


def test_inception_trains_two_heads() -> None:
    classifier = made("inception_v3", 64).train()
    assert classifier.input_size == 299
    out = classifier.outputs(images(3, 64))
    assert out.logits.shape == (2, CLASSES)
    ((logits, weight),) = out.aux
    assert logits.shape == (2, CLASSES)
    assert weight == 0.4
    (out.logits.sum() + weight * logits.sum()).backward()
    assert classifier.body.get_submodule("AuxLogits.fc").weight.grad.abs().sum() > 0


def test_an_evaluators_training_counts_both_heads_of_inception_alike() -> None:
    """A step of plain training at 299 px with the published recipe's preset, against the sum by hand."""
    with seeded("weights", 0):
        model = build(InceptionV3, InceptionV3.presets["paper"]).build(num_classes=2, channels=3, size=80).train()
    world = TinyWorld(classes=2, per_class=2, size=80)
    x, y = world.batch()
    x, y = x[:2], y[:2]
    with seeded("step"):
        loss = Defense().training_step(model, x, y, world.context()).loss
    with seeded("step"):
        out = model.outputs(x)
    ((second, weight),) = out.aux
    assert weight == 1.0
    log_p = [logits.double().log_softmax(1).gather(1, y.view(-1, 1)) for logits in (out.logits, second)]
    assert loss.item() == pytest.approx(-(log_p[0].mean() + log_p[1].mean()).item(), rel=1e-5)


def test_small_inception_has_one_head_and_takes_weights_with_two(tmp_path: Path) -> None:
    file = tmp_path / "inception.safetensors"
    source = made("inception_v3", num_classes=11).body.state_dict()
    save_file(source, file)
    classifier = made("inception_v3", input_size=80, weights=str(file)).train()
    assert classifier.outputs(images(3, 80)).aux == []
    assert torch.equal(
        classifier.body.get_parameter("Mixed_7c.branch1x1.conv.weight"), source["Mixed_7c.branch1x1.conv.weight"]
    )


def test_same_seed_same_network() -> None:
    first, second = made("resnet18"), made("resnet18")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_round_trip(tmp_path: Path, suffix: str) -> None:
    source = made("resnet18").body.state_dict()
    file = tmp_path / f"resnet18{suffix}"
    if suffix == ".pth":
        torch.save(source, file)
    else:
        save_file(source, file)
    digest = sha256_of_file(file)
    with seeded("other"):
        same = ResNet18(weights=str(file), weights_sha256=digest).build(num_classes=CLASSES, channels=3, size=32)
        fewer = ResNet18(weights=str(file)).build(num_classes=3, channels=3, size=32)
    assert all(torch.equal(source[name], value) for name, value in same.body.state_dict().items())
    assert fewer.num_classes == 3
    body = {name: value for name, value in fewer.body.state_dict().items() if not name.startswith("fc.")}
    assert all(torch.equal(source[name], value) for name, value in body.items())
    with pytest.raises(DataError, match="sha256"):
        ResNet18(weights=str(file), weights_sha256="0" * 64).build(num_classes=3, channels=3, size=32)


def test_old_densenet_names_are_understood(tmp_path: Path) -> None:
    source = made("densenet121").body.state_dict()
    old = {}
    for name, value in source.items():
        for part in ("norm", "conv"):
            if "denselayer" in name:
                name = name.replace(f".{part}1.", f".{part}.1.").replace(f".{part}2.", f".{part}.2.")
        old[name] = value
    assert old.keys() != source.keys()
    file = tmp_path / "densenet121.safetensors"
    save_file(old, file)
    loaded = made("densenet121", weights=str(file)).body.state_dict()
    assert all(torch.equal(source[name], value) for name, value in loaded.items())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "1 names missing"),
        (lambda state: state.update({"extra.weight": torch.zeros(1)}), "1 unknown"),
        (lambda state: state.update({"conv1.weight": torch.zeros(1)}), "conv1.weight has shape"),
    ],
)
def test_only_heads_may_differ(tmp_path: Path, spoil: Any, message: str) -> None:
    state = made("resnet18", num_classes=1000).body.state_dict()
    spoil(state)
    file = tmp_path / "spoilt.safetensors"
    save_file(state, file)
    with pytest.raises(DataError, match=message):
        made("resnet18", weights=str(file))


def test_files_that_are_not_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        made("resnet18", weights=str(tmp_path / "none.pth"))
    whole = tmp_path / "network.pth"
    torch.save(nn.Linear(2, 2), whole)
    with pytest.raises(DataError, match="tensors only"):
        made("resnet18", weights=str(whole))
    wrapped = tmp_path / "wrapped.pth"
    torch.save({"epoch": 3, "state": {}}, wrapped)
    with pytest.raises(DataError, match="more than a state dict"):
        made("resnet18", weights=str(wrapped))
    for suffix in (".pth", ".safetensors"):
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(b"nonsense")
        with pytest.raises(DataError, match="cannot be read"):
            made("resnet18", weights=str(broken))


def test_wrong_requests_are_explained() -> None:
    with pytest.raises(UsageError, match="Did you mean 'resnet18'"):
        build(TorchvisionModel, {"arch": "resnet-18"})
    with pytest.raises(UsageError, match="arch"):
        build(ResNet18, {"arch": "resnet50"})
    with pytest.raises(UsageError, match="linear layer"):
        made("squeezenet1_0")
    with pytest.raises(UsageError, match="at least 75 px"):
        made("inception_v3", input_size=64)
    with pytest.raises(UsageError, match="input_size=30"):
        made("vit_b_16", input_size=30)


def test_published_evaluators_weigh_both_heads_alike() -> None:
    """Plug & Play Attacks and AT-AT add the auxiliary head's cross-entropy as it is; torchvision's recipe takes 0.4."""
    x = torch.rand(2, 3, 299, 299, device="meta")
    for settings, weight in ((InceptionV3.presets["paper"], 1.0), ({}, 0.4)):
        with torch.device("meta"):
            made_here = build(InceptionV3, settings).build(num_classes=3, channels=3, size=299)
        ((aux_logits, got),) = made_here.train().outputs(x).aux
        assert (got, aux_logits.shape) == (weight, (2, 3))


def test_stage_table_covers_known_families() -> None:
    with torch.device("meta"):
        vgg = TorchvisionModel(arch="vgg16_bn").build(num_classes=2, channels=3, size=32)
    assert vgg.stage_names == [f"features.{index}" for index in (6, 13, 23, 33, 43)]
    with torch.device("meta"):
        vit = TorchvisionModel(arch="vit_b_16").build(num_classes=2, channels=3, size=224)
        fallback = TorchvisionModel(arch="efficientnet_b0").build(num_classes=2, channels=3, size=224)
    assert vit.stage_names == [f"encoder.layers.encoder_layer_{index}" for index in (2, 5, 8, 11)]
    assert fallback.stage_names[-1] == "features.8"
    assert STAGE_TABLE["resnet"] == ("layer1", "layer2", "layer3", "layer4")


def test_a_plan_learns_what_is_wrong_with_a_weights_file(tmp_path):
    good, odd, damaged = (str(tmp_path / name) for name in ("good.pth", "odd.pth", "damaged.safetensors"))
    torch.save({"a": torch.zeros(1)}, good)
    torch.save({"a": "text"}, odd)
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    assert ResNet18().missing() == []
    assert ResNet18(weights=good).missing() == []
    for path, said in [("no/such.pth", "does not exist"), (odd, "holds more than"), (damaged, "cannot be read")]:
        (line,) = ResNet18(weights=path).missing()
        assert said in line
    (line,) = ResNet18(weights=good, weights_sha256="0" * 64).missing()
    assert "expected 0000" in line
    (tmp_path / "good.pth").write_bytes(b"damaged since it was read")
    assert ResNet18(weights=good).missing()
