"""Classifiers that others trained: taken out of their checkpoints, recognised, and built in the protocol's order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from mibench_models.checkpoints import ARCHITECTURES, find_state, recognise
from mibench_models.evaluator_file import STATED, TRANSFORMED, EvaluatorImporter, stated_accuracy
from mibench_models.torchvision_models import TorchvisionModel
from mibench_models.weights import read_state
from torch import Tensor, nn

from mibench.api import DataError, UsageError, freeze, generator, resize, seeded, sha256_of_file
from mibench.testing import ImporterContract

PEOPLE = 6


def trained(arch: str = "mobilenet_v2", outputs: int = PEOPLE) -> nn.Module:
    """A network whose outputs differ, as if it were trained."""
    with seeded("trained", arch):
        made: nn.Module = torchvision.models.get_model(arch, num_classes=outputs)
    return freeze(made)


class Wrapped(nn.Module):
    """As Plug & Play Attacks' classifier keeps its network."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


def checkpoint(network: nn.Module) -> dict[str, Any]:
    """As its training saves it: with the optimiser's state, from a compiled network."""
    wrapped = Wrapped(network)
    state = {name.replace("model.", "model._orig_mod.", 1): value for name, value in wrapped.state_dict().items()}
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    return {"epoch": 100, "model_state_dict": state, "optimizer_state_dict": optimizer.state_dict()}


class TestEvaluatorImporter(ImporterContract):
    component = EvaluatorImporter

    def example(self, folder: Path) -> Path:
        torch.save(checkpoint(trained()), folder / "evaluator.pt")
        return folder / "evaluator.pt"


@pytest.mark.parametrize("wrap", ["", "model.", "module.model.", "_orig_mod.", "module.", "model._orig_mod."])
@pytest.mark.parametrize("inside", [None, "model_state_dict", "state_dict", "model"])
def test_wrapping_is_taken_off(wrap: str, inside: str | None) -> None:
    state = {f"{wrap}{name}": value for name, value in trained().state_dict().items()}
    found: Any = state if inside is None else {"epoch": 3, inside: state, "optimizer_state_dict": {"state": {}}}
    made = recognise(find_state(found, "file"), "file")
    assert (made.arch, made.outputs) == ("mobilenet_v2", PEOPLE)
    assert all(torch.equal(made.state[name], value) for name, value in trained().state_dict().items())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_is_told_from_the_others_by_its_shapes(arch: str) -> None:
    options = {"aux_logits": True, "init_weights": False} if arch == "inception_v3" else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(arch, num_classes=11, **options)
    made = recognise(network.state_dict(), "file")
    assert (made.arch, made.outputs) == (arch, 11)


def test_an_inception_whose_auxiliary_head_was_left_alone_is_one() -> None:
    """Plug & Play Attacks exchange the last layer of ImageNet's network and leave 1000 outputs in the other head."""
    with torch.device("meta"):
        network = torchvision.models.inception_v3(weights=None, init_weights=False)
        network.fc = nn.Linear(2048, 530)
    made = recognise(find_state({"model_state_dict": Wrapped(network).state_dict()}, "file"), "file")
    assert (made.arch, made.outputs) == ("inception_v3", 530)


def test_the_same_numbers_arrive_and_the_use_is_a_protocols_line(tmp_path: Path) -> None:
    torch.save(checkpoint(trained()), tmp_path / "Classifier_0.9653.pth")
    made = EvaluatorImporter().run(tmp_path / "Classifier_0.9653.pth", tmp_path / "made")
    weights = tmp_path / "made" / "weights.safetensors"
    state = read_state(str(weights), sha256=sha256_of_file(weights))
    assert all(torch.equal(state[name], value) for name, value in trained().state_dict().items())
    assert made.found == f"mobilenet_v2, {PEOPLE} outputs"
    assert f"weights: {weights}, weights_sha256: {sha256_of_file(weights)}" in made.use[0]
    assert "recipe: {epochs: 0, batch: 1}, seed: 0, least_accuracy: 0.94}" in made.use[0]
    assert "test accuracy by the file's name: 0.9653" in (tmp_path / "made" / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [
        *((f"{name}.pt", value) for name, value in STATED.items()),
        ("Classifier_0.9487.pth", 0.9487),
        ("Classifier_1.0000_no_val.pth", 1.0),
        ("inception_v3_stanford_dogs.pt", None),
        ("v1.0.pt", None),
    ],
)
def test_accuracy_by_name(name: str, accuracy: float | None) -> None:
    assert stated_accuracy(Path(name)) == accuracy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, r"holds no state dict: .* got a mapping with \['epoch'\]"),
        ([1, 2], "holds no state dict: .* got list"),
        ({"weight": torch.zeros(2)}, r"no network of torchvision .* \(1 tensors, such as \['weight'\]\)"),
    ],
)
def test_what_is_no_classifier_is_named(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(DataError, match=message):
        EvaluatorImporter().run(tmp_path / "other.pt", tmp_path / "made")
    assert not (tmp_path / "made").exists()


# -- as an evaluator --------------------------------------------------------------------------------------------------


def ready(file: Path, identities: list[int], **settings: Any) -> nn.Module:
    model = TorchvisionModel(arch="mobilenet_v2", weights=str(file), **settings)
    return freeze(model.build_trained(identities=identities, channels=3, size=32))


def images(count: int, size: int = 32) -> Tensor:
    return torch.rand(count, 3, size, size, generator=generator("evaluator", count, size))


def test_class_k_is_the_output_of_its_identity(tmp_path: Path) -> None:
    torch.save(trained().state_dict(), tmp_path / "w.pth")
    x, order = images(2), [4, 0, 3]
    theirs = trained()((x - 0.5) / 0.5)
    torch.testing.assert_close(ready(tmp_path / "w.pth", order)(x), theirs[:, order], atol=1e-5, rtol=1e-4)


def test_an_evaluator_of_too_few_people_and_one_without_a_file_are_refused(tmp_path: Path) -> None:
    torch.save(trained().state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"tells 6 people apart; .* numbers up to 6 in the dataset"):
        ready(tmp_path / "w.pth", [0, 6])
    with pytest.raises(UsageError, match=r"recipe\.epochs 0\) needs a file as weights"):
        TorchvisionModel(arch="mobilenet_v2").build_trained(identities=[0, 1], channels=3, size=32)


def test_inception_at_299_px_is_torchvisions_within_1e_4(tmp_path: Path) -> None:
    """One image, both normalisations; the reference is torchvision's network as Plug & Play Attacks make it."""
    with seeded("inception"):
        theirs = freeze(torchvision.models.inception_v3(weights=None, init_weights=False))
        theirs.fc = nn.Linear(2048, PEOPLE)
    torch.save({"model_state_dict": Wrapped(theirs).state_dict()}, tmp_path / "ppa.pt")
    EvaluatorImporter().run(tmp_path / "ppa.pt", tmp_path / "made")
    file = str(tmp_path / "made" / "weights.safetensors")
    x = images(1, 64)
    seen = (resize(x, 299) - 0.5) / 0.5
    for transformed, (mean, std) in ((False, ((0.5,) * 3, (0.5,) * 3)), (True, TRANSFORMED)):
        theirs.transform_input = transformed
        model = TorchvisionModel(arch="inception_v3", weights=file, mean=mean, std=std)
        ours = freeze(model.build_trained(identities=list(range(PEOPLE)), channels=3, size=64))
        assert ours.input_size == 299
        with torch.no_grad():
            torch.testing.assert_close(ours(x), theirs(seen), atol=1e-4, rtol=1e-3)
