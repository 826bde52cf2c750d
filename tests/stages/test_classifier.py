"""What a trained classifier's report says, against counts by hand."""

import torch
from fake_plugin import parts
from torch import nn
from torch.nn.functional import one_hot

from mibench.protocol.request import Request
from mibench.session.run import plan_request
from mibench.stages.run import run_node
from mibench.store.store import Store

CPU = torch.device("cpu")


class _ByHeart(nn.Module):
    """Knows the classes of the images that it was shown; any other image is of class 0."""

    def __init__(self, data):
        super().__init__()
        self.known = {x.numpy().tobytes(): int(y) for x, y in zip(data.all_images(), data.labels_N, strict=True)}

    def forward(self, x_BCHW):
        named = torch.tensor([self.known.get(x.numpy().tobytes(), 0) for x in x_BCHW])
        return one_hot(named, 3).float()


def test_the_sanity_accuracies_are_each_of_its_own_part(toy_registry, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(parts.Plain, "train_dataset", lambda self, data, ctx: shown.append(data) or data)
    monkeypatch.setattr(parts.Plain, "inference", lambda self, model, ctx: _ByHeart(shown[-1]))
    request = Request(protocols=("toy",), defenses=("plain",), attacks=("guess",), store=tmp_path)
    (cell,) = plan_request(request, toy_registry).cells
    for node in (cell.graph.data("private"), cell.target):
        made = run_node(node, Store(tmp_path), toy_registry, CPU, lambda *_: None)
    assert made.json("report.json")["sanity_accuracy"] == {"train": 1.0, "val": 1 / 3}  # three people
