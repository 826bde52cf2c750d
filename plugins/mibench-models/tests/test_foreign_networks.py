"""Networks that somebody else wrote, against the same networks called by hand."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from mibench_models.foreign.body import logits_of
from mibench_models.foreign.component import Feed, Foreign, ForeignFresh
from mibench_models.foreign.whole_files import format_of
from safetensors.torch import save_file
from torch import Tensor, nn

from mibench.api import Classifier, DataError, UsageError, evaluating, freeze

CLASSES, SIDE = 5, 16
CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, channels=3):
        super().__init__()
        layers = [nn.Conv2d(channels, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.fc(self.body(x))

def net(num_classes):
    return Net(num_classes)

def fixed():
    return Net(5)

def grey(num_classes):
    return Net(num_classes, 1)

def boxed(num_classes):
    class Boxed(Net):
        def forward(self, x):
            return {"logits": super().forward(x) * 1.0}
    return Boxed(num_classes)

def broken(num_classes):
    raise ValueError("no weights today")

def nothing():
    return "a network"
"""
HALF = Feed(mean=(0.5,), std=(0.5,))


@pytest.fixture()
def code(tmp_path: Path) -> Path:
    path = tmp_path / "mynet.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def network(code: Path, name: str = "net", **options: Any) -> nn.Module:
    space: dict[str, Any] = {}
    exec(compile(code.read_text(), str(code), "exec"), space)
    torch.manual_seed(3)
    made: nn.Module = space[name](**options)
    return made.eval()


def saved(net: nn.Module, path: Path) -> str:
    save_file(net.state_dict(), path)
    return str(path)


def images(channels: int = 3, count: int = 4) -> Tensor:
    return torch.rand(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def build(component: Foreign | ForeignFresh, channels: int = 3, classes: int = CLASSES) -> Classifier:
    return freeze(component.build(num_classes=classes, channels=channels, size=SIDE))


@pytest.fixture()
def mine(code: Path, tmp_path: Path) -> tuple[nn.Module, Foreign]:
    net = network(code, num_classes=CLASSES)
    weights = saved(net, tmp_path / "mine.safetensors")
    return net, Foreign(network="mynet:net", code=str(code), weights=weights, feed=HALF)


def test_it_answers_what_the_network_answers(mine: Any) -> None:
    net, component = mine
    x = images()
    made = build(component)
    expected = net((x - 0.5) / 0.5)
    assert torch.equal(made(x), expected)
    outputs = made.outputs(x, stages=True)
    assert torch.equal(outputs.features, net.body((x - 0.5) / 0.5))
    assert made.num_classes == CLASSES
    assert made.feature_dim == 64
    assert list(outputs.stages) == made.stage_names != []


def test_its_outputs_can_be_in_another_order(mine: Any) -> None:
    net, component = mine
    order = (3, 0, 4, 1, 2)
    made = build(Foreign(**{**vars(component), "order": order}))
    assert torch.allclose(made(images()), net((images() - 0.5) / 0.5)[:, list(order)], atol=1e-6)
    with pytest.raises(UsageError, match="each of the outputs 0 to 4 once"):
        build(Foreign(**{**vars(component), "order": (0, 0, 1, 2, 3)}))


def test_it_can_take_blue_first_and_pixels_to_255(mine: Any) -> None:
    net, component = mine
    feed = Feed(mean=(103 / 255, 116 / 255, 123 / 255), std=(1 / 255,), channel_order="bgr")
    made = build(Foreign(**{**vars(component), "feed": feed}))
    by_hand = 255 * images().flip(1) - torch.tensor([103.0, 116.0, 123.0]).view(3, 1, 1)
    assert torch.allclose(made(images()), net(by_hand), rtol=1e-4, atol=1e-3)


def test_a_network_of_grey_images(code: Path, tmp_path: Path) -> None:
    net = network(code, "grey", num_classes=CLASSES)
    weights = saved(net, tmp_path / "grey.safetensors")
    component = Foreign(network="mynet:grey", code=str(code), weights=weights, feed=Feed(channels=1))
    assert torch.equal(build(component, 1)(images(1)), net(images(1)))
    with pytest.raises(UsageError, match="takes no images of 3 channels and 16 x 16 pixels"):
        build(Foreign(network="mynet:grey", code=str(code), weights=weights))


def test_a_function_without_arguments_and_answers_in_a_box(code: Path, tmp_path: Path) -> None:
    net = network(code, num_classes=CLASSES)
    weights = saved(net, tmp_path / "w.safetensors")
    assert torch.equal(build(Foreign(network="mynet:fixed", code=str(code), weights=weights))(images()), net(images()))
    boxed = build(Foreign(network="mynet:boxed", code=str(code), weights=weights))
    assert torch.equal(boxed(images()), net(images()))
    assert boxed.feature_dim == CLASSES  # what makes the logits is out of sight


def test_weights_of_data_parallel_training(mine: Any, tmp_path: Path) -> None:
    net, component = mine
    path = tmp_path / "parallel.pth"
    torch.save({f"module.{name}": value for name, value in net.state_dict().items()}, path)
    made = build(Foreign(**{**vars(component), "weights": str(path)}))
    assert torch.equal(made(images()), net((images() - 0.5) / 0.5))


def test_probabilities_become_logits_with_the_same_softmax(tmp_path: Path, code: Path) -> None:
    net = network(code, num_classes=CLASSES)
    path = tmp_path / "whole.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Sequential(net, nn.Softmax(1)), images()).save(str(path))  # type: ignore[no-untyped-call]
    made = build(Foreign(weights=str(path), outputs="probabilities"))
    assert torch.allclose(made(images()).softmax(1), net(images()).softmax(1), atol=1e-6)


@pytest.mark.parametrize("kind", ["script", "trace", "frozen", "export"])
def test_a_file_that_holds_the_whole_network(kind: str, code: Path, tmp_path: Path) -> None:
    net = torchvision.models.mobilenet_v2(num_classes=CLASSES).eval()
    path = tmp_path / "whole.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "export":
            dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},)
            torch.export.save(torch.export.export(net, (images(),), dynamic_shapes=dynamic), path)
        else:
            made: Any = torch.jit.trace(net, images()) if kind == "trace" else torch.jit.script(net)  # type: ignore[no-untyped-call]
            (torch.jit.freeze(made) if kind == "frozen" else made).save(str(path))
    assert format_of(path) == ("export" if kind == "export" else "torchscript")
    component = Foreign(weights=str(path), feed=HALF, order=(4, 3, 2, 1, 0))
    assert component.missing() == []
    classifier = build(component)
    x = images().requires_grad_()
    outputs = classifier.outputs(x, stages=True)
    assert torch.allclose(outputs.logits, net((x - 0.5) / 0.5).flip(1), atol=1e-5)
    assert outputs.stages == {}
    assert torch.equal(outputs.features, outputs.logits)
    outputs.logits[:, 0].sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    classifier.load_state_dict(classifier.state_dict())
    with evaluating(classifier):
        assert not classifier.training
    assert classifier(images(count=7)).shape == (7, CLASSES)


def test_an_export_for_batches_of_one_size_is_refused(code: Path, tmp_path: Path) -> None:
    path = tmp_path / "fixed.pt2"
    torch.export.save(torch.export.export(network(code, num_classes=CLASSES), (images(),)), path)
    with pytest.raises(UsageError, match="let an exported network take any number of images"):
        build(Foreign(weights=str(path)))


class Bomb:
    """What a pickle could do."""

    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


def test_an_export_with_a_pickle_in_it_is_refused_unread(
    code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.pt2", tmp_path / "bad.pt2"
    torch.export.save(torch.export.export(network(code, num_classes=CLASSES), (images(),)), good)
    torch.save(Bomb(), tmp_path / "bomb")
    changed = 0
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("_weights_config.json"):
                raw = json.loads(content)
                part = next(iter(raw["config"].values()))
                part["use_pickle"], changed = True, 1
                content, spoiled = json.dumps(raw).encode(), f"{name.rpartition('/')[0]}/{part['path_name']}"
            new.writestr(name, content)
        assert changed
    with zipfile.ZipFile(bad) as old, zipfile.ZipFile(tmp_path / "worse.pt2", "w") as new:
        for name in old.namelist():
            new.writestr(name, (tmp_path / "bomb").read_bytes() if name == spoiled else old.read(name))
    with pytest.raises(DataError, match="holds more than tensors, and reading it could run code"):
        build(Foreign(weights=str(tmp_path / "worse.pt2")))
    assert "unpickled" not in capsys.readouterr().out


def test_a_network_of_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("resnet10t", num_classes=CLASSES).eval()
    weights = saved(net, tmp_path / "timm.safetensors")
    component = Foreign(network="timm:resnet10t", weights=weights)
    stated = timm.get_pretrained_cfg("resnet10t")
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (stated.mean, stated.std))
    assert torch.allclose(build(component)(images()), net((images() - mean) / std), atol=1e-5)
    assert component.usual_side() == stated.input_size[-1]
    with pytest.raises(UsageError, match="timm architecture"):
        build(Foreign(network="timm:resnet10x", weights=weights))


def test_without_timm_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mine: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm.models", None)
    (line,) = Foreign(network="timm:resnet10t", weights=mine[1].weights).missing()
    assert 'pip install "mibench-models[timm]"' in line


def test_the_same_structure_with_fresh_weights(code: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = build(ForeignFresh(network="mynet:net", code=str(code), feed=HALF))
    assert torch.equal(made(images()), network(code, num_classes=CLASSES)((images() - 0.5) / 0.5))
    assert ForeignFresh.comes_trained is False
    assert Foreign.comes_trained is True


WRONG = [
    ({"network": "mynet:missing"}, UsageError, r"function in .*mynet.py: 'missing'"),
    ({"network": "mynet:broken"}, UsageError, r"mynet:broken\(num_classes=5\) failed \(ValueError: no weights today\)"),
    ({"network": "mynet:nothing"}, UsageError, "mynet:nothing returned a str; expected a torch.nn.Module"),
    ({"network": "not a name"}, UsageError, "expected PACKAGE.MODULE:FUNCTION"),
    ({"network": "absent_module:net", "code": "none"}, DataError, "the module 'absent_module' cannot be imported"),
    ({"network": "torchvision:resnet19"}, UsageError, "torchvision architecture"),
    ({"network": "torchvision:resnet18"}, DataError, "pretrained weights do not fit"),
    ({"feed": Feed(mean=(0.5, 0.5))}, UsageError, "--mean: expected 1 or 3 numbers, got 2"),
    ({"feed": Feed(std=(0.0,))}, UsageError, "--std: expected positive numbers"),
    ({"network": "file"}, DataError, "holds weights and no network"),
]


@pytest.mark.parametrize(("change", "error", "says"), WRONG)
def test_what_is_wrong_is_said(mine: Any, change: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        build(Foreign(**{**vars(mine[1]), **change}))


def test_another_number_of_classes_is_said(mine: Any) -> None:
    with pytest.raises(UsageError, match="the network has 5 classes, and 7 classes have a folder"):
        build(mine[1], classes=7)


def test_files_that_are_missing_are_said_before_anything_runs(tmp_path: Path) -> None:
    assert "the weights of the trained network" in Foreign().missing()[0]
    (line,) = Foreign(network="torchvision:resnet18", weights=str(tmp_path / "none.pth")).missing()
    assert "does not exist" in line


def test_code_that_has_changed_is_refused(monkeypatch: pytest.MonkeyPatch, mine: Any, code: Path) -> None:
    monkeypatch.syspath_prepend(str(code.parent))
    stated = {**vars(mine[1]), "code": "none"}
    build(Foreign(**stated))
    with pytest.raises(DataError, match="has changed since the audit began"):
        build(Foreign(**{**stated, "code_sha256": "0" * 64}))


def test_what_is_not_a_table_of_logits_is_refused() -> None:
    for answer, got in ((torch.zeros(2, 3, 4), r"a tensor \(2, 3, 4\)"), ({"out": 1}, "a dict"), ([], "a list")):
        with pytest.raises(UsageError, match=f"answers with {got}; expected logits"):
            logits_of(answer)


def test_other_readings_are_named_by_the_options_that_state_them() -> None:
    found = Foreign(feed=Feed(mean=(0.5,), std=(0.5,))).other_readings()
    assert "--channel-order bgr" in found
    assert "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225" in found
    assert "--mean 0 --std 0.00392157" in found
    assert len(found) == 7
    grey = Foreign(feed=Feed(channels=1)).other_readings()
    assert not any("channel-order" in words for words in grey)
    assert "--mean 0.449 --std 0.226" in grey
