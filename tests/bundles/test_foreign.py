"""A bundle is foreign data: whatever is wrong about it, it is refused in words, and nothing is written outside."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mibench.api.errors import MibenchError
from mibench.bundles.contents import read_contents
from mibench.bundles.files import opened
from mibench.bundles.manifest import BundleError

Damage = Callable[[Path], None]


def first(bundle: Path, pattern: str) -> Path:
    return sorted(bundle.glob(pattern))[0]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def edit(bundle: Path, change: Callable[[Any], None]) -> None:
    raw = json.loads((bundle / "bundle.json").read_text())
    change(raw)
    (bundle / "bundle.json").write_text(json.dumps(raw))


def link(bundle: Path) -> None:
    path = first(bundle, "artifacts/target-*/weights.safetensors")
    content = path.read_bytes()
    (bundle.parent / "outside").write_bytes(content)
    path.unlink()
    path.symlink_to(bundle.parent / "outside")


def move(bundle: Path, name: str) -> None:
    def change(raw: Any) -> None:
        raw["files"][name] = raw["files"].pop("README.txt")

    edit(bundle, change)


def swap(bundle: Path) -> None:
    """Give one artifact the key of another, with manifests that are sound by themselves."""

    def change(raw: Any) -> None:
        one, other = raw["artifacts"][:2]
        one["key"], other["key"] = other["key"], one["key"]

    edit(bundle, change)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda b: flip(first(b, "artifacts/reconstruct-*/evidence.safetensors")), "is not what the manifest says"),
        (lambda b: flip(first(b, "records/*")), "is not what the manifest says"),
        (lambda b: first(b, "artifacts/target-*/weights.safetensors").unlink(), "lacks artifacts/target"),
        (lambda b: (b / "more.txt").write_text("x"), "holds 'more.txt', which its manifest does not list"),
        (link, "is a link or no plain file"),
        (lambda b: move(b, "../README.txt"), "names the file '../README.txt'; expected a path inside"),
        (lambda b: move(b, "/etc/README.txt"), "names the file '/etc/README.txt'"),
        (lambda b: move(b, "a\\README.txt"), "expected a path inside the bundle"),
        (lambda b: move(b, ".hidden"), "expected a path inside the bundle"),
        (lambda b: move(b, "PROTOCOL.YAML"), "are one file on some systems"),
        (lambda b: edit(b, lambda raw: raw.update(version=2)), "bundle.json is not that of a bundle: version"),
        (lambda b: edit(b, lambda raw: raw.update(more=1)), "bundle.json is not that of a bundle: more"),
        (lambda b: (b / "bundle.json").write_text("{"), "bundle.json is not that of a bundle"),
        (lambda b: (b / "bundle.json").unlink(), "is no bundle: it has no bundle.json"),
        (lambda b: edit(b, lambda raw: raw["files"]["README.txt"].update(size=2**37)), "bundle.json is not"),
        (swap, "is damaged: it was stored for key"),
        (lambda b: edit(b, lambda raw: raw.update(protocol_digest="0" * 64)), "is not toy@1.0 as its manifest states"),
        (lambda b: edit(b, lambda raw: raw["records"][0].update(digest="0" * 64)), "was edited: its digest does not"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused(bundle: Path, tmp_path: Path, damage: Damage, told: str) -> None:
    damage(bundle)
    with pytest.raises(MibenchError) as refused, opened(bundle, tmp_path) as (manifest, folder):
        read_contents(manifest, folder)
    assert told in str(refused.value)


def rewrite(archive: Path, change: Callable[[str, bytes], tuple[str | zipfile.ZipInfo, bytes]]) -> None:
    with zipfile.ZipFile(archive) as old:
        parts = [change(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in parts:
            new.writestr(name, content)


def as_link(name: str, content: bytes) -> tuple[str | zipfile.ZipInfo, bytes]:
    told = zipfile.ZipInfo(name)
    told.external_attr = 0o120777 << 16
    return (told, b"/etc/passwd") if name == "README.txt" else (name, content)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda name, content: (name.replace("README", "../README"), content), "lacks README.txt"),
        (lambda name, content: (name, content + b"0" * 9_000_000 if name == "README.txt" else content), "is not what"),
        (lambda name, content: (name, content[:-1] + b"x" if name == "README.txt" else content), "is not what"),
        (as_link, "is a link, a folder or encrypted"),
        (lambda name, content: ("other.json" if name == "bundle.json" else name, content), "is no bundle"),
    ],
)
def test_a_damaged_archive_is_refused(world: Any, tmp_path: Path, change: Any, told: str) -> None:
    rewrite(tmp_path / "bundle.zip", change)
    room = tmp_path / "room"
    room.mkdir()
    with pytest.raises(BundleError) as refused, opened(tmp_path / "bundle.zip", room):
        pass
    assert told in str(refused.value)
    assert not list(room.iterdir())
    assert not (tmp_path / "README.txt").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(BundleError, match="is no zip archive"), opened(tmp_path / "cut.zip", tmp_path):
        pass


def test_reconstructions_of_another_run_are_refused(world: Any, bundle: Path, tmp_path: Path) -> None:
    """A bundle whose every digest fits is still compared with what its records state."""
    from mibench.bundles.pack import pack, read_records
    from mibench.plan.memo import Memo
    from mibench.results.io import save_record, seal

    record = world.records[1]
    forged = seal(record.model_copy(update={"inputs": {**record.inputs, "reconstructions": "1" * 64}}))
    paths = [save_record(forged, tmp_path / "forged")]
    with pytest.raises(BundleError, match="another reconstructions"):
        pack(read_records(paths), world.protocol, world.store, world.registry, Memo(), tmp_path / "b")
