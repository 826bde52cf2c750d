"""Packing: what goes in, what never does, and why something cannot be packed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mibench.api.errors import UsageError
from mibench.assemble.replay import planned_cell
from mibench.bundles.files import opened
from mibench.bundles.manifest import BundleError, Manifest
from mibench.bundles.needs import needs_of
from mibench.bundles.pack import collected
from mibench.bundles.photographs import fingerprints, require_no_photograph
from mibench.plan.memo import Memo
from mibench.results.io import save_record, seal
from mibench.store.artifact import Artifact, read_artifact
from mibench.store.store import Store


def test_a_folder_and_an_archive_are_the_same_bundle(world: Any, tmp_path: Path) -> None:
    first = (tmp_path / "bundle.zip").read_bytes()
    world.pack(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == first
    with opened(tmp_path / "bundle.zip", tmp_path) as (_, unpacked):
        names = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
        assert len(names) > 20
        assert all((unpacked / name).read_bytes() == (tmp_path / "bundle" / name).read_bytes() for name in names)
    with opened(tmp_path / "bundle", tmp_path) as (folder, _), opened(tmp_path / "again.zip", tmp_path) as (archive, _):
        assert folder.digest == archive.digest


def test_a_bundle_holds_targets_reconstructions_and_judges_and_no_data(world: Any, bundle: Path) -> None:
    manifest = Manifest.model_validate_json((bundle / "bundle.json").read_bytes())
    assert sorted({entry.stage for entry in manifest.artifacts}) == ["evaluator", "reconstruct", "target"]
    assert (manifest.private, manifest.protocol) == (False, "toy@1.0")
    assert [(one.dataset, one.reconstructions) for one in manifest.terms] == [("blobs", "publish")]
    held = {path.name for path in bundle.rglob("*")}
    photographs = list(world.store.root.glob("artifacts/data/*/*.safetensors"))
    assert photographs
    assert not held & {path.name for path in photographs}
    inputs = world.records[1].inputs
    contents = {entry.content for entry in manifest.artifacts}
    assert {inputs["target"], inputs["reconstructions"], inputs["evaluator:judge"]} <= contents


def test_terms_decide_whether_reconstructions_leave(toy_run: Any, world: Any, tmp_path: Path) -> None:
    from mibench.protocol.load import load_protocol

    done = toy_run(protocols=("other",), output=tmp_path / "private")
    world.paths, world.protocol = list(done.record_paths), load_protocol(world.registry, "other")
    with pytest.raises(UsageError, match=r"reconstructions of other-blobs .* must not be published.*--private"):
        world.pack(tmp_path / "refused.zip")
    assert not (tmp_path / "refused.zip").exists()
    manifest = world.pack(tmp_path / "mine", private=True)
    assert manifest.private
    assert "PRIVATE" in (tmp_path / "mine" / "README.txt").read_text()
    assert world.regrade(tmp_path / "mine", tmp_path / "elsewhere")[0].held


def test_what_the_store_lacks_is_named_with_its_command(world: Any, tmp_path: Path) -> None:
    world.store = Store(tmp_path / "empty")
    with pytest.raises(UsageError) as told:
        world.pack(tmp_path / "new")
    assert all(record.command in str(told.value) for record in world.records)
    assert "target noisy" in str(told.value)


def test_evidence_that_came_out_otherwise_since_is_refused(world: Any, tmp_path: Path) -> None:
    changed = world.records[1].model_copy(update={"inputs": {**world.records[1].inputs, "target": "0" * 64}})
    world.paths = [save_record(seal(changed), tmp_path / "edited")]
    with pytest.raises(BundleError, match=r"holds another target .* than the record states"):
        world.pack(tmp_path / "new")


def test_an_edited_record_is_refused(world: Any, tmp_path: Path) -> None:
    raw = json.loads(world.paths[0].read_text())
    raw["metrics"]["match@1"]["value"] = 0.0
    world.paths[0].write_text(json.dumps(raw))
    with pytest.raises(UsageError, match="was edited: its digest does not fit"):
        world.pack(tmp_path / "new")


def test_nothing_is_overwritten(world: Any, bundle: Path) -> None:
    before = (bundle / "bundle.json").read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        world.pack(bundle)
    assert (bundle / "bundle.json").read_bytes() == before


def with_pixels(store: Store, tmp_path: Path, pixels: Any) -> Artifact:
    """Return a copy of some reconstructions whose second image is another one."""
    [source, *_] = sorted(store.root.glob("artifacts/reconstruct/*"))
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    tensors = load_file(copy / "evidence.safetensors")
    tensors["pixels"] = np.array(tensors["pixels"])
    tensors["pixels"][1] = pixels
    save_file(tensors, copy / "evidence.safetensors")
    return read_artifact(copy)


def test_a_private_photograph_among_reconstructions_is_found(world: Any, tmp_path: Path) -> None:
    data = [read_artifact(path) for path in world.store.root.glob("artifacts/data/*")]
    private = fingerprints(data)
    photograph = load_file(data[0].path / "images.safetensors")["pixels"][3]
    stolen = with_pixels(world.store, tmp_path, photograph)
    with pytest.raises(BundleError, match=r"image 1 of the reconstructions .* is a private photograph"):
        require_no_photograph(stolen, private)
    shutil.rmtree(stolen.path)
    almost = photograph.copy()
    almost[0, 0, 0] ^= 1
    require_no_photograph(with_pixels(world.store, tmp_path, almost), private)


def test_people_who_are_private_in_another_fold_are_public_here(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: dict[str, int] = {}
    look = lambda evidence, private: compared.update({evidence.key: len(private)})  # noqa: E731
    monkeypatch.setattr("mibench.bundles.pack.require_no_photograph", look)
    one, other = (needs_of(planned_cell(record, world.protocol, world.registry, Memo())) for record in world.records)
    own, theirs = ({node.key for node in need.packed if node.stage == "reconstruct"} for need in (one, other))
    collected([one, replace(other, private=())], world.store, judges=False)
    assert {key for key, images in compared.items() if images} == own
    assert {key for key, images in compared.items() if not images} == theirs - own != set()


def test_an_image_of_one_tone_is_no_photograph(world: Any, tmp_path: Path) -> None:
    black = with_pixels(world.store, tmp_path, 0)
    require_no_photograph(black, {b""} | fingerprints([]))
