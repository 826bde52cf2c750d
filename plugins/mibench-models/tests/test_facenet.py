"""FaceNet against facenet-pytorch's own numbers, its file and its import."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from facenet_weights import face, random_state
from mibench_models import facenet
from mibench_models.facenet import FaceNet, read_network
from mibench_models.facenet_file import FaceNetImporter
from mibench_models.facenet_network import InceptionResnetV1
from torch import Tensor

from mibench.api import DataError, resize, sha256_of_file
from mibench.testing import EmbedderContract, ImporterContract, TinyWorld

FACTS = json.loads((Path(__file__).parent / "facts_facenet.json").read_text())


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published file's structure with numbers of our own, its classifier included."""
    state: dict[str, Tensor] = random_state(InceptionResnetV1().state_dict())
    state |= {"logits.weight": torch.zeros(7, 512), "logits.bias": torch.zeros(7)}
    file = tmp_path_factory.mktemp("facenet") / "random.pt"
    torch.save(state, file)
    return file


def reading(file: Path, **settings: object) -> FaceNet:
    return FaceNet(weights=str(file), weights_sha256="", **settings)  # type: ignore[arg-type]


class TestFaceNet(EmbedderContract):
    component = FaceNet
    world = TinyWorld(classes=2, per_class=2)

    @pytest.fixture(autouse=True)
    def _file(self, weights: Path) -> None:
        self.settings = {"weights": str(weights), "weights_sha256": ""}  # type: ignore[misc]


class TestFaceNetImporter(ImporterContract):
    component = FaceNetImporter

    @pytest.fixture(autouse=True)
    def _file(self, weights: Path) -> None:
        self.source = weights

    def example(self, folder: Path) -> Path:
        (folder / self.source.name).write_bytes(self.source.read_bytes())
        return folder / self.source.name


def test_the_other_package_finds_the_same(weights: Path) -> None:
    made = reading(weights).embed(face(2))
    theirs = torch.tensor(FACTS["embeddings"])
    torch.testing.assert_close(made[:, :: FACTS["every"]], theirs, atol=1e-5, rtol=0)
    apart = (made[0] - made[1]).abs().max().item()
    assert apart > 1e-2  # else the comparison would show little


def test_scaling_and_crop_are_what_they_say(weights: Path) -> None:
    network, x = read_network(str(weights)), face(1)
    by_hand = torch.nn.functional.normalize(network((x * 255 - 127.5) / 127.5), dim=1)
    torch.testing.assert_close(reading(weights, **FaceNet.presets["papers"]).embed(x), by_hand, atol=1e-6, rtol=0)
    middle = resize(x[..., 40:120, 40:120], 160)
    torch.testing.assert_close(reading(weights, crop=0.5).embed(x), reading(weights).embed(middle))


def test_a_file_that_is_missing_or_another_is_named_with_the_commands(weights: Path, tmp_path: Path) -> None:
    (line,) = FaceNet(weights=str(tmp_path / "no.pt")).missing()
    assert "do not exist" in line and "mibench data import-facenet 20180402-114759-vggface2.pt" in line
    (line,) = FaceNet(weights=str(weights)).missing()
    assert f"have sha256 {sha256_of_file(weights)}, expected {facenet.SHA256}" in line
    with pytest.raises(DataError, match="expected 281cebca"):
        FaceNet(weights=str(weights)).embed(face(1))
    assert reading(weights).missing() == []
    torch.save({"conv2d_1a.conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"713 tensors|714 tensors"):
        read_network(str(tmp_path / "other.pt"))


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    state = random_state(InceptionResnetV1().state_dict())
    torch.save(state, tmp_path / "w.pt")
    before = reading(tmp_path / "w.pt").embed(face(1))
    torch.save({**state, "last_bn.bias": state["last_bn.bias"] + 1}, tmp_path / "w.pt")
    assert not torch.allclose(reading(tmp_path / "w.pt").embed(face(1)), before, atol=1e-3)


def test_the_import_keeps_the_bytes_where_the_embedder_looks(weights: Path, tmp_path: Path) -> None:
    made = FaceNetImporter().run(weights, tmp_path / "made")
    assert sha256_of_file(tmp_path / "made" / "random.pt") == sha256_of_file(weights)
    assert f"weights_sha256: {sha256_of_file(weights)}" in made.use[0] and "nobody has stated" in made.use[-1]
    named = Path("20180402-114759-vggface2.pt")
    assert f"~/.cache/mibench-imported/facenet/{FaceNetImporter().folder_name(named)}/{named}" == facenet.PLACE
