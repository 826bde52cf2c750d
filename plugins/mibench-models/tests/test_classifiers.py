"""The small classifiers: shapes, features, stages, normalisation, cost, determinism; listing stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from mibench_models import mibench_artifacts, mibench_models, mibench_priors
from mibench_models.small_cnn import SmallCnn
from mibench_models.small_resnet import SmallResNet
from torch.utils.flop_counter import FlopCounterMode

from mibench.api import Classifier, Model, UsageError, freeze, generator, seeded
from mibench.api.params import build, canonical
from mibench.testing import ModelContract, TinyWorld


class TestSmallCnn(ModelContract):
    component = SmallCnn
    settings: ClassVar = {"widths": [4, 8], "stem_stride": 1, "features": 12}


class TestGreySmallCnn(ModelContract):
    component = SmallCnn
    world = TinyWorld(size=32, channels=1)


class TestSmallResNet(ModelContract):
    component = SmallResNet
    settings: ClassVar = {"blocks_per_stage": [1, 1], "width": 4}


SMALL = [
    SmallCnn(),
    SmallCnn(pooling="average", widths=(8, 16), features=24, dropout=0.2),
    SmallCnn(stem_stride=1, widths=(4, 8)),
    SmallResNet(),
    SmallResNet(pooling="average", stem_stride=1, blocks_per_stage=(1, 2), width=4),
]


def made(model: Model, *, channels: int = 1, size: int = 32, num_classes: int = 5) -> Classifier:
    with seeded("weights", 0):
        return model.build(num_classes=num_classes, channels=channels, size=size)


def images(channels: int = 1, size: int = 32, count: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=generator("images"))


@pytest.mark.parametrize("model", SMALL, ids=repr)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 40])
def test_shapes_and_that_the_head_maps_features_to_logits(model: Model, channels: int, size: int) -> None:
    classifier = freeze(made(model, channels=channels, size=size))
    out = classifier.outputs(images(channels, size))
    assert out.logits.shape == (3, 5)
    assert out.features.shape == (3, classifier.feature_dim)
    assert classifier.num_classes == 5
    assert torch.equal(classifier.head(out.features), out.logits)


@pytest.mark.parametrize("model", SMALL, ids=repr)
def test_gradients_flow_through_every_stage_to_weights_and_image(model: Model) -> None:
    classifier = made(model).train()
    x = images().requires_grad_()
    out = classifier.outputs(x, stages=True)
    assert list(out.stages) == classifier.stage_names
    gradients = torch.autograd.grad(out.logits.square().sum(), [x, *out.stages.values()])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    classifier(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in classifier.parameters())


@pytest.mark.parametrize("model", [SmallCnn(), SmallResNet()], ids=repr)
def test_normalises_inside_as_by_hand(model: Model) -> None:
    classifier = freeze(made(model)).double()
    x = images().double()
    torch.testing.assert_close(classifier(x), classifier.body(2 * x - 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", [SmallCnn(), SmallResNet()], ids=repr)
def test_images_of_another_size_are_resized_to_the_protocols(model: Model) -> None:
    assert made(model)(images(size=48)).shape == (3, 5)


def test_grey_image_equals_its_rgb_copy_for_a_colour_network() -> None:
    classifier = freeze(made(SmallCnn(), channels=3))
    assert torch.equal(classifier(images(1)), classifier(images(1).repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("model", [SmallCnn(), SmallResNet()], ids=repr)
def test_same_seed_same_network(model: Model) -> None:
    first, second = made(model), made(model)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(("model", "limit"), [(SmallCnn(), 10e6), (SmallResNet(), 30e6)])
def test_forward_pass_stays_cheap(model: Model, limit: float) -> None:
    classifier = freeze(made(model, size=64, num_classes=20))
    with FlopCounterMode(display=False) as counter:
        classifier(images(size=64, count=1))
    assert 0 < counter.get_total_flops() / 2 <= limit


def test_small_cnn_learns() -> None:
    """Five random pictures with noise are told apart after a few steps."""
    classifier = made(SmallCnn(widths=(8, 16))).train()
    rng = generator("learn")
    base, y = torch.rand(5, 1, 32, 32, generator=rng), torch.arange(5).repeat(8)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=5e-3)
    for _ in range(20):
        x = (base[y] + 0.2 * torch.randn(40, 1, 32, 32, generator=rng)).clamp(0, 1)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(classifier(x), y).backward()
        optimizer.step()
    classifier.eval()
    assert (classifier(base).argmax(1) == torch.arange(5)).all()


def test_too_small_an_image_is_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError, match="at least 16 px"):
        made(SmallCnn(), size=8)


def test_parameters_are_read_from_plain_settings() -> None:
    model = build(SmallCnn, {"widths": [8, 16], "features": "32"})
    assert model == SmallCnn(widths=(8, 16), features=32)
    assert canonical(model)["widths"] == [8, 16]
    with pytest.raises(UsageError, match="widths"):
        build(SmallCnn, {"width": 3})
    with pytest.raises(UsageError, match="widths"):
        build(SmallCnn, {"widths": [0]})
    for component in (SmallCnn, SmallResNet):
        for preset in component.presets.values():
            build(component, preset)


def test_listing_is_light_and_complete() -> None:
    code = (
        "import sys, mibench_models as m; list(m.mibench_models()); list(m.mibench_priors()); m.mibench_artifacts();"
        "print([x for x in ('torch', 'torchvision', 'onnx', 'onnxruntime', 'numpy') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_specs_name_what_exists() -> None:
    specs = [*mibench_models(), *mibench_priors()]
    names = [spec.name for spec in specs]
    assert len(set(names)) == len(names)
    import mibench_models as package

    folder = Path(package.__file__).parent
    assert all((folder / spec.paper).is_file() for spec in specs if spec.paper)
    assert [entry.partition(":")[2] for entry in mibench_artifacts()] == ["shipped"]
    assert (folder / "shipped").is_dir()
