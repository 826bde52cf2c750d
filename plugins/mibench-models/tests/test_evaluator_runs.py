"""A classifier that plain torchvision code trained: imported, measured by the stage, and judging by the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from mibench_models.evaluator_file import EvaluatorImporter
from mibench_models.torchvision_models import TorchvisionModel
from torch import Tensor, nn

from mibench.api import MibenchError, freeze, sha256_of_file
from mibench.protocol.split import private_indices
from mibench.registry.build import Components
from mibench.stages.classifier import load_classifier
from mibench.testing import TinyWorld
from mibench.testing.tiny_stages import TESTED, TinyStages, tiny_protocol

CPU = torch.device("cpu")
WORLD = TinyWorld(classes=3, per_class=6, size=32)
PEOPLE = 2 * WORLD.classes


def photographs() -> tuple[Tensor, Tensor]:
    """All images of the dataset, and the identity on each."""
    stages = TinyStages(WORLD, Path(), {})
    params = tiny_protocol(WORLD)["dataset"]["params"]
    data = stages.registry.component("dataset", "tiny-faces")(**params)
    images = data.load(range(PEOPLE), size=WORLD.size, channels=WORLD.channels)
    return images.all_images(), images.labels_N


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """Trained by a loop as anybody writes it, on all people, pixels in [-1, 1]."""
    x, y = photographs()
    x = 2 * x.expand(-1, 3, -1, -1) - 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network: nn.Module = torchvision.models.resnet18(num_classes=PEOPLE)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        for _ in range(12):
            for batch in torch.randperm(len(x)).split(18):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
                optimizer.step()
    return freeze(network)


def imported(network: nn.Module, folder: Path, order: list[int] | None = None) -> dict[str, Any]:
    """Save it as its training would, import that, and return the parameters that the import prints."""
    state = network.state_dict()
    if order is not None:
        state |= {f"fc.{part}": state[f"fc.{part}"][order] for part in ("weight", "bias")}
    torch.save(
        {"epoch": 12, "model_state_dict": {f"model.{name}": v for name, v in state.items()}}, folder / "judge.pt"
    )
    EvaluatorImporter().run(folder / "judge.pt", folder / "made")
    file = folder / "made" / "weights.safetensors"
    return {"arch": "resnet18", "weights": str(file), "weights_sha256": sha256_of_file(file)}


def judging(folder: Path, params: dict[str, Any]) -> TinyStages:
    model = {"name": TESTED, "params": params}
    recipe = {"epochs": 0, "batch": 1}
    judge = {"name": "judge", "model": model, "recipe": recipe, "seed": 1000, "least_accuracy": 0.8}
    return TinyStages(WORLD, folder / "store", {("model", TESTED): TorchvisionModel}, evaluators=[judge])


def test_it_judges_as_it_was_trained_and_its_accuracy_is_counted(theirs: nn.Module, tmp_path: Path) -> None:
    stages = judging(tmp_path, imported(theirs, tmp_path))
    node = stages.cell.graph.evaluators()["judge"]
    made = stages.make(node)
    people = stages.cell.graph.split.identities
    x, identities = photographs()
    mine = torch.isin(identities, torch.tensor(people))
    x, labels = x[mine], torch.tensor([people.index(i) for i in identities[mine].tolist()])
    with torch.no_grad():
        expected = theirs(2 * x.expand(-1, 3, -1, -1) - 1)[:, people]
        found = load_classifier(Components(stages.registry), made, CPU)(x)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    test = private_indices(stages.cell.graph.split, labels.tolist()).test
    by_hand = (expected[test].argmax(1) == labels[test]).double().mean().item()
    assert made.json("report.json")["sanity_accuracy"]["test"] == pytest.approx(by_hand)
    assert by_hand >= 0.8


def test_outputs_in_another_order_are_told_from_a_bad_network(theirs: nn.Module, tmp_path: Path) -> None:
    stages = judging(tmp_path, imported(theirs, tmp_path))
    people = stages.cell.graph.split.identities
    order = list(range(PEOPLE))
    for person, other in zip(people, [*people[1:], people[0]], strict=True):
        order[person] = other
    (tmp_path / "turned").mkdir()
    turned = judging(tmp_path / "turned", imported(theirs, tmp_path / "turned", order))
    with pytest.raises(MibenchError, match=r"Under another order of classes it would be right about"):
        turned.make(turned.cell.graph.evaluators()["judge"])
    (tmp_path / "wrong").mkdir()
    params = imported(theirs, tmp_path / "wrong") | {"mean": [40.0] * 3}
    wrong = judging(tmp_path / "wrong", params)
    with pytest.raises(MibenchError, match=r"so it may not judge. Its normalisation \(model.mean, model.std\)"):
        wrong.make(wrong.cell.graph.evaluators()["judge"])
