"""Evaluators that come trained: measured on private test images before they may judge."""

import pytest
import torch
from fake_plugin import PROTOCOL, parts
from torch import nn
from torch.nn.functional import one_hot

from mibench.api import MibenchError, TensorImages, UsageError
from mibench.protocol.load import parse_protocol
from mibench.protocol.request import Request
from mibench.registry.build import Components
from mibench.session.run import plan_request
from mibench.stages.classifier import load_classifier
from mibench.stages.judge_check import accuracy, check_judge
from mibench.stages.run import run_node
from mibench.store.store import Store

CPU = torch.device("cpu")
TRAINED = "recipe: {epochs: 4, batch: 6, lr: 0.01}, seed: 1000"


class Answers(nn.Module):
    """Says of an image what its first pixel says, by way of a list."""

    def __init__(self, says):
        super().__init__()
        self.says = torch.tensor(says)

    def forward(self, x_BCHW):
        return one_hot(self.says[(x_BCHW[:, 0, 0, 0] * 255).round().long()], 3).float()


def photographs(labels, shown):
    pixels = torch.tensor(shown, dtype=torch.uint8).view(-1, 1, 1, 1)
    return TensorImages(pixels, torch.tensor(labels), 3)


LABELS = [0, 0, 1, 1, 2, 2, 2, 2]


def test_accuracy_is_counted_and_stated():
    images = photographs(LABELS, [0, 1, 1, 1, 2, 2, 2, 0])
    assert accuracy(Answers([0, 1, 2]), images, CPU) == check_judge(Answers([0, 1, 2]), images, CPU, 0.75) == 0.75
    assert accuracy(Answers([0, 1, 2]), images.subset(torch.arange(0)), CPU) is None


@pytest.mark.parametrize(
    ("says", "reason"),
    [([1, 2, 0], "Under another order of classes it would be right about 100.0%"), ([0, 0, 0], "Its normalisation")],
)
def test_a_judge_that_is_not_good_enough_is_refused_with_what_may_be_wrong(says, reason):
    with pytest.raises(MibenchError, match=rf"recognises .* of 8 private test images; .* at least 90.0% .*{reason}"):
        check_judge(Answers(says), photographs(LABELS, LABELS), CPU, 0.9)


def patched(new):
    text = PROTOCOL.read_text()
    assert TRAINED in text
    return text.replace(TRAINED, new)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("recipe: {epochs: 0, batch: 1}, seed: 1", "evaluator 'judge' is not trained here .*: state least_accuracy"),
        ("recipe: {epochs: 0, batch: 1, start: public}, seed: 1, least_accuracy: 0.5", "nothing is trained"),
        ("recipe: {epochs: 0, batch: 1}, seed: 1, least_accuracy: 2", "least_accuracy: .*less than or equal to 1"),
    ],
)
def test_protocols_say_what_they_trust(new, message):
    with pytest.raises(UsageError, match=message):
        parse_protocol(patched(new))
    text = PROTOCOL.read_text().replace("recipe: {epochs: 5,", "recipe: {epochs: 0,")
    with pytest.raises(UsageError, match="targets are trained here"):
        parse_protocol(text)


def planned(tmp_path, registry, text):
    (tmp_path / "own.yaml").write_text(text.replace("name: toy", "name: own"))
    request = Request(
        protocols=(str(tmp_path / "own.yaml"),), defenses=("plain",), attacks=("guess",), store=tmp_path / "store"
    )
    (cell,) = plan_request(request, registry).cells
    return cell


def judged(tmp_path, registry, text):
    cell = planned(tmp_path, registry, text)
    node, data = cell.graph.evaluators()["judge"], cell.graph.data("private", judged=True)
    for one in (data, node):
        made = run_node(one, Store(tmp_path / "store"), registry, CPU, lambda *_: None)
    return node, made


def test_the_stage_takes_the_network_as_it_comes_and_measures_it(toy_registry, tmp_path, monkeypatch):
    asked = []

    def build_trained(self, *, identities, channels, size):
        asked.append(list(identities))
        made = self.build(num_classes=len(identities), channels=channels, size=size)
        made.head.bias.data[1] += 1e3  # it takes everybody for the second of three people
        return made

    monkeypatch.setattr(parts.Tiny, "build_trained", build_trained, raising=False)
    text = patched("recipe: {epochs: 0, batch: 1}, seed: 1000, least_accuracy: 0.3")
    node, made = judged(tmp_path, toy_registry, text)
    assert asked == [node.inputs.split.identities]
    report = made.json("report.json")
    assert report["history"] == [] and report["sanity_accuracy"]["test"] == 2 / 6
    again = load_classifier(Components(toy_registry), made, CPU)
    assert again.head.bias[1] > 900
    with pytest.raises(MibenchError, match=r"recognises 33.3% of 6 .* wants at least 34.0% \(least_accuracy\)"):
        judged(tmp_path, toy_registry, text.replace("0.3}", "0.34}"))


def test_a_trained_judge_may_have_to_show_what_it_learnt_too(toy_registry, tmp_path):
    _, made = judged(tmp_path, toy_registry, patched(f"{TRAINED}, least_accuracy: 0.01"))
    assert set(made.json("report.json")["sanity_accuracy"]) == {"train", "val", "test"}


def test_keys_of_judges_without_a_least_accuracy_stay(toy_registry, tmp_path):
    payload = planned(tmp_path, toy_registry, PROTOCOL.read_text()).graph.evaluators()["judge"].payload
    assert "least_accuracy" not in payload
    assert (
        "least_accuracy" not in parse_protocol(PROTOCOL.read_text()).protocol.model_dump(mode="json")["evaluators"][0]
    )
