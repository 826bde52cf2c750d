"""Weights from files: read as tensors only, matched by name and shape, and equal to torchvision's own networks."""

import re
import sys

import pytest
import torch
import torchvision
from mibench_models import torchvision_stages, weights
from mibench_models.torchvision_models import TorchvisionModel
from mibench_models.torchvision_stages import stage_names
from mibench_models.weights import load_pretrained, read_state, unreadable
from safetensors.torch import save_file
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms.v2 import functional as vision

from mibench.api import DataError, UsageError, freeze, generator, seeded
from mibench.api.files import sha256_of_file


def drawn(*shape):
    return torch.rand(*shape, generator=generator("weights", *shape))


# -- equal to torchvision ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "densenet121", "regnet_y_400mf"])
def test_a_network_with_torchvisions_weights_answers_as_torchvisions_does(arch, tmp_path):
    with seeded("theirs"):
        theirs = freeze(torchvision.models.get_model(arch, num_classes=9))
    file = tmp_path / "theirs.pth"
    torch.save(theirs.state_dict(), file)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    with seeded("ours"):
        model = TorchvisionModel(arch=arch, weights=str(file), mean=mean, std=std, input_size=64)
        ours = freeze(model.build(num_classes=9, channels=3, size=64))
    x = drawn(2, 3, 64, 64)
    normalised = vision.normalize(x, list(mean), list(std))
    torch.testing.assert_close(ours(x), theirs(normalised), atol=1e-5, rtol=1e-4)


def test_stages_are_torchvisions_own_activations(tmp_path):
    with seeded("theirs"):
        theirs = freeze(torchvision.models.resnet18(num_classes=4))
    file = tmp_path / "theirs.safetensors"
    save_file(theirs.state_dict(), file)
    ours = freeze(TorchvisionModel(weights=str(file)).build(num_classes=4, channels=3, size=32))
    x = drawn(2, 3, 32, 32)
    layers = [f"layer{index}" for index in (1, 2, 3, 4)]
    expected = create_feature_extractor(theirs, [*layers, "flatten"])(2 * x - 1)
    out = ours.outputs(x, stages=True)
    for name in layers:
        torch.testing.assert_close(out.stages[name], expected[name])
    torch.testing.assert_close(out.features, expected["flatten"])


@pytest.mark.parametrize("arch", ["resnet18", "vit_b_16"])
def test_the_head_is_drawn_anew_as_a_linear_layer_is(arch):
    side = {"input_size": 32} if arch == "vit_b_16" else {}
    with seeded("head"):
        classifier = TorchvisionModel(arch=arch, **side).build(num_classes=6, channels=3, size=32)
    head = classifier.head
    assert isinstance(head, nn.Linear)
    limit = head.in_features**-0.5
    assert 0.8 * limit < head.weight.abs().max() <= limit
    assert head.weight.std() > 0.3 * limit


@pytest.mark.parametrize(("arch", "side"), [("inception_v3", 299), ("vit_b_16", 224), ("maxvit_t", 224)])
def test_architectures_with_a_side_of_their_own_keep_it(arch, side):
    with torch.device("meta"):
        assert TorchvisionModel(arch=arch).build(num_classes=2, channels=3, size=64).input_size == side
        assert TorchvisionModel(arch="resnet18").build(num_classes=2, channels=3, size=64).input_size is None


@pytest.mark.parametrize(("size", "input_size", "auxiliary"), [(64, None, True), (64, 298, False), (64, 299, True)])
def test_inception_has_its_second_head_from_299_pixels(size, input_size, auxiliary):
    with torch.device("meta"):
        made = TorchvisionModel(arch="inception_v3", input_size=input_size).build(num_classes=2, channels=3, size=size)
    assert any(name == "AuxLogits" for name, child in made.body.named_children() if child is not None) == auxiliary


def test_no_activation_is_overwritten_in_place():
    with torch.device("meta"):
        made = TorchvisionModel(arch="densenet121").build(num_classes=2, channels=3, size=64)
    assert any(isinstance(module, nn.ReLU) for module in made.modules())
    assert not any(getattr(module, "inplace", False) for module in made.modules())


# -- stages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "count", "expected"),
    [
        (list("abcdefgh"), 4, list("bdfh")),
        (list("abcde"), 4, list("abce")),
        (list("abc"), 4, list("abc")),
        (list("abcdefghijkl"), 4, list("cfil")),
        (["a"], 4, ["a"]),
        ([], 4, []),
    ],
)
def test_equally_spaced_names_end_with_the_last(names, count, expected):
    assert torchvision_stages._equally_spaced(names, count) == expected


class Net(nn.Module):
    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


def linear():
    return nn.Sequential(nn.Linear(2, 2))


def test_stages_of_unknown_networks_are_their_blocks_with_parameters():
    net = Net(a=linear(), relu=nn.ReLU(), b=linear(), c=linear(), d=linear(), e=linear(), head=nn.Linear(2, 2))
    assert stage_names("unknown", net, "head") == ["a", "b", "c", "e"]


def test_stages_of_a_single_trunk_are_inside_it():
    net = Net(features=nn.Sequential(linear(), nn.ReLU(), linear()), head=nn.Linear(2, 2))
    assert stage_names("unknown", net, "head") == ["features.0", "features.2"]


def test_stages_of_listed_modules_are_each_of_them():
    net = Net(blocks=nn.ModuleList([linear(), linear(), linear()]), stem=nn.Linear(2, 2), head=nn.Linear(2, 2))
    assert stage_names("unknown", net, "head") == ["blocks.0", "blocks.1", "blocks.2"]


def test_stages_without_any_block_are_plain_layers():
    net = Net(a=nn.Linear(2, 2), b=nn.Linear(2, 2), head=nn.Linear(2, 2))
    assert stage_names("unknown", net, "head") == ["a", "b"]


@pytest.mark.parametrize("arch", sorted(torchvision_stages.STAGE_TABLE))
def test_listed_stages_exist_in_torchvision(arch):
    known = [name for name in torchvision.models.list_models(module=torchvision.models) if name.startswith(arch)]
    full = "regnet_y_400mf" if arch == "regnet" else known[0]
    with torch.device("cpu" if arch == "regnet" else "meta"):  # a RegNet computes while it is built
        options = {"init_weights": False} if arch in ("inception_v3", "googlenet") else {}
        body = torchvision.models.get_model(full, **options)
    paths = dict(body.named_modules())
    assert all(name in paths for name in torchvision_stages.STAGE_TABLE[arch])


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def good(tmp_path):
    file = tmp_path / "good.safetensors"
    save_file({"a": torch.arange(3.0)}, file)
    return file


def test_a_state_is_read_from_either_format_and_the_home_folder(good, tmp_path, monkeypatch):
    torch.save({"a": torch.arange(3.0)}, tmp_path / "good.pt")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (str(good), "~/good.safetensors", "~/good.pt"):
        state = read_state(path)
        assert list(state) == ["a"]
        assert torch.equal(state["a"], torch.arange(3.0))


def test_a_digest_is_checked_before_anything_is_read(good, tmp_path):
    assert read_state(str(good), sha256=sha256_of_file(good))
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"no tensors at all")
    with pytest.raises(DataError, match=f"has sha256 {sha256_of_file(bad)}, expected 00.*Fetch the right file"):
        read_state(str(bad), sha256="0" * 64)


@pytest.mark.parametrize("path", ["", "no/such/file", "~nobody-of-that-name/file", "zero\0byte"])
def test_paths_that_lead_nowhere_are_explained(path):
    with pytest.raises(DataError, match=r"does not exist\. Give the path of a state dict, or weights=none"):
        read_state(path)
    (line,) = unreadable(path)
    assert "does not exist" in line


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_state(str(tmp_path))


def test_a_file_that_was_read_is_not_read_again_until_it_changes(good, monkeypatch):
    calls = []
    home = sys.modules[unreadable.__module__]
    monkeypatch.setattr(home, "read_state", lambda *a, **k: calls.append(a) or read_state(*a, **k))
    assert unreadable(str(good)) == unreadable(str(good)) == []
    assert len(calls) == 1
    save_file({"b": torch.zeros(10)}, good)
    assert unreadable(str(good)) == []
    assert len(calls) == 2
    assert unreadable(str(good), sha256="1" * 64)
    assert len(calls) == 3


def test_a_state_whose_values_are_no_tensors_is_refused(tmp_path):
    for content in ([torch.zeros(1)], {"a": 1}, {"a": torch.zeros(1), "b": {"c": torch.zeros(1)}}, torch.zeros(1)):
        file = tmp_path / "odd.pth"
        torch.save(content, file)
        with pytest.raises(DataError, match="holds more than a state dict"):
            read_state(str(file))


# -- matching ---------------------------------------------------------------------------------------------------------


def network(classes=3):
    with seeded("network", classes):
        return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, classes))


def test_everything_is_loaded_where_all_fits():
    source, net = network(), network()
    with torch.no_grad():
        source[0].weight.add_(1)
    assert load_pretrained(net, source.state_dict(), heads=["2"]) == []
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), source.parameters(), strict=True))


def test_a_head_of_other_classes_keeps_its_own_weights():
    source, net = network(7), network(3)
    before = net[2].weight.clone()
    assert load_pretrained(net, source.state_dict(), heads=["2"]) == ["2"]
    assert torch.equal(net[2].weight, before)
    assert torch.equal(net[0].weight, source[0].weight)


def test_a_head_may_be_missing_as_a_whole_but_nothing_else():
    source, net = network().state_dict(), network(3)
    del source["2.weight"], source["2.bias"]
    assert load_pretrained(net, source, heads=["2"]) == ["2"]
    del source["0.bias"]
    with pytest.raises(DataError, match=re.escape("1 names missing (e.g. ['0.bias'])")):
        load_pretrained(net, source, heads=["2"])


def test_half_a_head_is_none():
    source, net = network().state_dict(), network(3)
    before = net[2].weight.clone()
    source["2.weight"] += 1
    del source["2.bias"]
    assert load_pretrained(net, source, heads=["2"]) == ["2"]
    assert torch.equal(net[2].weight, before)


def test_other_shapes_and_names_are_told_apart():
    net = network()
    wrong = {**network().state_dict(), "0.weight": torch.zeros(5, 3), "0.bias": torch.zeros(2)}
    with pytest.raises(DataError, match=r"0\.weight has shape \(5, 3\), the network has \(5, 4\) \(2 such\)"):
        load_pretrained(net, wrong, heads=["2"])
    more = {**network().state_dict(), "3.weight": torch.zeros(1)}
    with pytest.raises(DataError, match=re.escape("1 unknown (e.g. ['3.weight'])")):
        load_pretrained(net, more, heads=["2"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("features.denseblock1.denselayer12.norm.1.weight", "features.denseblock1.denselayer12.norm1.weight"),
        ("features.denseblock4.denselayer3.conv.2.weight", "features.denseblock4.denselayer3.conv2.weight"),
        ("features.transition1.norm.1.weight", "features.transition1.norm.1.weight"),
        ("features.denseblock1.denselayer1.norm.3.weight", "features.denseblock1.denselayer1.norm.3.weight"),
    ],
)
def test_old_names_of_densenet(old, new):
    assert weights._OLD_DENSENET.sub(r"\1\2.", old) == new


def test_networks_without_a_linear_head_are_refused():
    with pytest.raises(UsageError, match="squeezenet1_1 does not end in a linear layer"):
        TorchvisionModel(arch="squeezenet1_1").build(num_classes=2, channels=3, size=64)


@pytest.mark.parametrize("content", [b"this is no file of yours\n", b"\x80\x02K\x05.", b"\x80\x04s.", b"<html></html>"])
def test_whatever_a_damaged_pickle_raises_is_a_sentence(content, tmp_path):
    (tmp_path / "broken.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as tensors only|holds more than a state dict") as told:
        read_state(str(tmp_path / "broken.pth"))
    assert "arbitrary code" not in str(told.value) and "\n" not in str(told.value)
