"""Every defense takes one training step on the field's architectures and deploys what answers with logits."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from mibench_models.efficientnet_lite import EfficientNetLite0
from mibench_models.small_cnn import SmallCnn
from mibench_models.small_resnet import SmallResNet
from mibench_models.torchvision_zoo import DenseNet169, InceptionV3, MobileNetV2, ResNet18, ResNet152, VitB16
from torch.nn.modules.batchnorm import _BatchNorm

from mibench.api import Classifier, Defense, TrainContext, UsageError, freeze, params, seeded
from mibench.api.extras import flat_extras
from mibench.registry import load_registry
from mibench.testing import TinyWorld

SMALL: dict[str, tuple[Any, int, int]] = {
    "smallcnn-grey": (SmallCnn(widths=(4, 8), features=8), 32, 1),
    "smallcnn-colour": (SmallCnn(widths=(4, 8), features=8), 32, 3),
    "small-resnet-grey": (SmallResNet(blocks_per_stage=(1, 2), width=4), 32, 1),
    "resnet18": (ResNet18(), 32, 3),
    "resnet18-grey": (ResNet18(), 32, 1),
    "mobilenet_v2": (MobileNetV2(), 32, 3),
    "efficientnet-lite0": (EfficientNetLite0(), 32, 3),
}
LARGE: dict[str, tuple[Any, int, int]] = {
    "resnet152": (ResNet152(), 32, 3),
    "densenet169": (DenseNet169(), 32, 3),
    "inception_v3": (InceptionV3(), 32, 3),  # resized to 299 px, where its auxiliary head exists
    "vit_b_16": (VitB16(input_size=32), 32, 3),
}
ARCHITECTURES = {**SMALL, **LARGE}
"""Model, side in pixels and channels of the images."""

QUICK: dict[str, dict[str, Any]] = {
    "at": {"steps": 1},
    "atat": {"steps": 1},
    "sca": {"iterations": 2},
    "smoothing": {"copies": 2},
    "dp-sgd": {"noise_multiplier": 1.0},
}
"""Settings that make a step fast and change nothing in kind."""

REFUSED = {("rolss", arch) for arch in ARCHITECTURES if arch.startswith(("smallcnn", "inception"))}
"""Where a method is not defined and says so."""

DEFENSES = sorted(entry.name for entry in load_registry().entries("defense"))


@cache
def network(arch: str) -> Classifier:
    model, size, channels = ARCHITECTURES[arch]
    with seeded("architectures", arch):
        built: Classifier = model.build(num_classes=3, channels=channels, size=size)
    for module in built.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 1.0  # after one step, the statistics of that step: a hundred layers would overflow else
    return built


def world_of(arch: str) -> TinyWorld:
    _, size, channels = ARCHITECTURES[arch]
    return TinyWorld(classes=3, per_class=2, size=size, channels=channels)


def context(arch: str, start: dict[str, torch.Tensor] | None) -> TrainContext:
    ctx = world_of(arch).context(epochs=1, steps_per_epoch=1)
    return replace(ctx, batch=3, num_images=6, start=start, extras={}, history=[])


def one_step(defense: Defense, arch: str) -> tuple[Classifier, Classifier, TrainContext]:
    """Build, take a step, finish and deploy; a training that comes before is one step too."""
    wanted, start = defense.starts_from(), None
    if wanted is not None:
        before = wanted.defense or Defense()
        model, _, ctx = one_step(before, arch)
        start = {**model.state_dict(), **flat_extras(ctx.extras)}
    ctx = context(arch, start)
    data = world_of(arch).images()
    with seeded("step", arch):
        model = defense.build(deepcopy(network(arch)), ctx).train()
        data = defense.train_dataset(data, ctx)
        transform = defense.train_transform(lambda x_BCHW: x_BCHW, ctx)
        optimizer = torch.optim.Adam(list(defense.parameters(model, ctx)), lr=1e-4)
        defense.on_epoch_start(model, ctx)
        picked = torch.tensor([0, 2, 4])
        step = defense.training_step(model, transform(data.images(picked)), data.labels_N[picked], ctx)
        step.loss.backward()
        defense.on_gradients(model, ctx)
        optimizer.step()
        defense.on_step_end(model, ctx)
        ctx.history.append({"loss": float(step.loss.detach()), **{n: float(v) for n, v in step.signals.items()}})
        defense.on_epoch_end(model, ctx)
        defense.finish(model, data, ctx)
        return model, freeze(defense.inference(model, ctx)), ctx


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", DEFENSES)
def test_one_step(name: str, arch: str) -> None:
    component = load_registry().component("defense", name)
    defense = params.build(component, QUICK.get(name, {}))
    if (name, arch) in REFUSED:
        with pytest.raises(UsageError):
            one_step(defense, arch)
        return
    model, deployed, ctx = one_step(defense, arch)
    x_BCHW, _ = world_of(arch).batch(2)
    with seeded("deployed"):
        logits_BK = deployed(x_BCHW)
    assert logits_BK.shape == (2, 3)
    assert bool(logits_BK.isfinite().all())
    assert torch.isfinite(torch.tensor(ctx.history[-1]["loss"]))
    assert isinstance(defense.self_check(model, ctx).active, bool)
