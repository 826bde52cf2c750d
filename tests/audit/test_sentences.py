"""Every input that does not fit is refused with a sentence that says which."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mibench.api.errors import DataError, UsageError
from mibench.audit.class_names import outputs_of
from mibench.audit.prepare import prepare
from mibench.audit.request import AuditRequest
from mibench.registry.registry import load_registry


@pytest.fixture(scope="module")
def registry() -> Any:
    return load_registry()


def refused(world: Any, registry: Any, says: str, **changes: Any) -> None:
    with pytest.raises((UsageError, DataError), match=says):
        prepare(AuditRequest(**world.options(**changes)), registry)


def test_a_network_that_fits_is_not_refused(world: Any, registry: Any) -> None:
    found = prepare(AuditRequest(**world.options()), registry)
    assert found.sanity.accuracy >= 0.9
    assert found.sanity.images == 12
    assert (found.people.train, found.people.test, found.people.public) == (4, 2, 8)


READINGS = [
    ("--mean 0.5 --std 0.5|--mean", {"mean": (5.0,), "std": (0.01,)}),
    ("--channel-order rgb", {"channel_order": "bgr"}),
]


@pytest.mark.parametrize(("says", "changes"), READINGS, ids=["normalisation", "channel order"])
def test_a_network_that_is_read_wrongly_is_refused_with_the_right_reading(
    world: Any, registry: Any, says: str, changes: dict[str, Any]
) -> None:
    refused(world, registry, f"knows .* of 12 held-out photographs.* if it is read otherwise: .*({says})", **changes)


def test_pixels_to_255_are_recognised(world: Any, registry: Any, tmp_path: Path) -> None:
    """The first layer of the same network is changed so that it wants pixels as files hold them."""
    state = load_file(world.weights)
    scale = 0.25 * 255
    state["0.bias"] = state["0.bias"] - state["0.weight"].sum((1, 2, 3)) * (0.5 / 0.25)
    state["0.weight"] = state["0.weight"] / scale
    save_file(state, tmp_path / "bytes.safetensors")
    wrong = {"weights": tmp_path / "bytes.safetensors", "mean": None, "std": None}
    refused(world, registry, r"and 100% if it is read otherwise: --mean 0 --std 0.00392157\.$", **wrong)


def permuted(world: Any, path: Path, order: list[int]) -> Path:
    state = load_file(world.weights)
    for name in ("6.weight", "6.bias"):
        state[name] = state[name][order].clone()
    save_file(state, path)
    return path


def test_outputs_in_another_order_are_recognised_and_can_be_named(world: Any, registry: Any, tmp_path: Path) -> None:
    order = [4, 2, 0, 5, 1, 3]  # output k answers for the person order[k]
    weights = permuted(world, tmp_path / "permuted.safetensors", order)
    says = r"in another order than the folders \(output 2 is 'private 0', .*: state theirs with --classes FILE"
    refused(world, registry, says, weights=weights)
    names = tmp_path / "classes.txt"
    names.write_text("".join(f"private {person}\n" for person in order), encoding="utf-8")
    found = prepare(AuditRequest(**world.options(weights=weights, classes=names)), registry)
    plain = prepare(AuditRequest(**world.options(output=tmp_path / "plain")), registry)
    assert found.sanity.accuracy == plain.sanity.accuracy
    assert found.plan.cells[0].model.params["order"] == [2, 4, 1, 5, 0, 3]


def test_a_network_that_knows_nobody_is_refused_unless_that_is_wanted(
    world: Any, registry: Any, tmp_path: Path
) -> None:
    save_file(world.network().eval().state_dict(), tmp_path / "untrained.safetensors")
    says = "no other usual reading helps .* Are these the right weights.*--any-accuracy"
    refused(world, registry, says, weights=tmp_path / "untrained.safetensors")
    options = world.options(weights=tmp_path / "untrained.safetensors", any_accuracy=True)
    assert prepare(AuditRequest(**options), registry).sanity.accuracy < 0.5


def test_probabilities_are_recognised(world: Any, registry: Any, tmp_path: Path) -> None:
    code = tmp_path / "softmax.py"
    code.write_text(
        world.code.read_text().replace("nn.Linear(576, num_classes),", "nn.Linear(576, num_classes), nn.Softmax(1),")
    )
    model = f"{code}:make"
    refused(world, registry, "answers with probabilities, not logits: say --outputs probabilities", model=model)
    options = world.options(model=model, outputs="probabilities")
    assert prepare(AuditRequest(**options), registry).sanity.accuracy >= 0.9


def test_numbers_of_classes_that_differ(world: Any, registry: Any, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(world.folder("private"), fewer)
    shutil.rmtree(fewer / "private 5")
    says = "the network has 6 classes, and 5 classes have a folder"
    refused(world, registry, says, private=fewer, heldout=None)
    says = "has folders of people who are not in .*fewer: private 5"
    refused(world, registry, says, private=fewer)


def one_file(folder: Path, name: str = "a") -> Path:
    (folder / name).mkdir(parents=True)
    return folder


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("--weights: name the file of the trained weights", {"weights": None}),
    ("--weights /nowhere/w.pth does not exist", {"weights": Path("/nowhere/w.pth")}),
    ("--private /nowhere/people is no folder", {"private": Path("/nowhere/people")}),
    ("--model model.pt: There is no such file", {"model": "model.pt"}),
    ("--model mymodule: Expected PACKAGE.MODULE:FUNCTION", {"model": "mymodule"}),
    ("the file /nowhere/net.py does not exist", {"model": "/nowhere/net.py:make"}),
    ("the module 'absent_module' cannot be imported", {"model": "absent_module:make"}),
    ("--size: state the side in pixels", {"size": None}),
    ("the network takes no images of 3 channels and 64 x 64", {"size": 64}),
    ("--size 4: Input should be greater", {"size": 4}),
    ("unknown attack: 'ppb'|[Uu]nknown attack 'ppb'", {"attacks": ("ppb",)}),
    ("the attack 'cma' needs scores access; the audit grants labels", {"access": "labels", "attacks": ("cma",)}),
    ("--template orl64: it is made for no audit", {"template": "orl64"}),
    ("--classes /nowhere/names.txt cannot be read", {"classes": Path("/nowhere/names.txt")}),
]


@pytest.mark.parametrize(("says", "changes"), WRONG, ids=[says[:40] for says, _ in WRONG])
def test_what_is_wrong_is_said(world: Any, registry: Any, says: str, changes: dict[str, Any]) -> None:
    refused(world, registry, says, **changes)


def test_folders_that_cannot_be_used(world: Any, registry: Any, tmp_path: Path) -> None:
    refused(world, registry, "are the same folder; public", public=world.folder("private"))
    refused(world, registry, "holds no class of images", public=one_file(tmp_path / "empty"))
    single = tmp_path / "single"
    for person in range(2):
        (single / f"p{person}").mkdir(parents=True)
        shutil.copy(world.folder("private") / "private 0" / f"{person}.png", single / f"p{person}")
    says = "2 of 2 private people have no photograph to hold out, the first is 'p0'"
    refused(world, registry, says, private=single, heldout=None)


def test_without_held_out_photographs_some_are_set_aside(world: Any, registry: Any) -> None:
    found = prepare(AuditRequest(**world.options(heldout=None)), registry)
    assert (found.people.train, found.people.test) == (3, 1)
    assert found.people.images == (18, 6)


def test_a_file_that_holds_network_and_weights_needs_no_weights(world: Any, registry: Any, tmp_path: Path) -> None:
    dynamic = ({0: torch.export.Dim("batch", min=1, max=1024)},)
    net: nn.Module = world.network().eval()
    torch.export.save(torch.export.export(net, (torch.rand(4, 3, 32, 32),), dynamic_shapes=dynamic), tmp_path / "w.pt2")
    refused(
        world, registry, "is a file, which holds network and weights; leave --weights", model=str(tmp_path / "w.pt2")
    )


FOLDERS = ["ann", "bob", "cem"]
NAMES = [
    ("ann\nbob\ncem\n", []),
    ("\ufeffcem\n\n ann \nbob\n", [1, 2, 0]),
]


@pytest.mark.parametrize(("text", "expected"), NAMES)
def test_names_tell_which_output_is_whose(text: str, expected: list[int], tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text(text, encoding="utf-8")
    assert outputs_of(file, FOLDERS) == expected
    assert outputs_of(None, FOLDERS) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ann\nbob\n", "it names 2 classes, and there are 3 folders of private people; no line for 'cem'"),
        ("ann\nbob\ncem\ndan\n", "no folder for 'dan'"),
        ("ann\nann\nbob\n", "'ann' stands there twice"),
    ],
)
def test_names_that_do_not_fit_are_said(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        outputs_of(file, FOLDERS)
