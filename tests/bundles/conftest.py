"""A cell of the toy protocol that was run, its store, and a way to pack and to measure it again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_plugin
import pytest

from mibench.bundles.manifest import Manifest
from mibench.bundles.pack import pack, read_records
from mibench.bundles.regrade import Means, Regraded, regrade
from mibench.plan.memo import Memo
from mibench.protocol.load import LoadedProtocol, load_protocol
from mibench.protocol.request import Request
from mibench.registry.registry import Registry
from mibench.results.io import load_record
from mibench.results.record import Record
from mibench.session.run import run
from mibench.store.store import Store


@dataclass
class World:
    """What was run, and where."""

    paths: list[Path]
    store: Store
    registry: Registry
    protocol: LoadedProtocol

    @property
    def records(self) -> list[Record]:
        return [load_record(path) for path in self.paths]

    def pack(self, out: Path, **settings: Any) -> Manifest:
        memo = Memo()
        return pack(read_records(self.paths), self.protocol, self.store, self.registry, memo, out, **settings)

    def regrade(self, bundle: Path, store: Path, **settings: Any) -> list[Regraded]:
        return regrade(bundle, Means(Store(store), self.registry, device="cpu"), **settings)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a defended and an undefended cell of the toy protocol, their store, and bundles of them."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBENCH_THREADS", "1")
        settings = {"protocols": ("toy",), "defenses": ("noisy",), "attacks": ("guess",), "device": "cpu"}
        run(Request(**settings, store=root / "store", output=root / "run"), fake_plugin.registry())
    world = world_in(root)
    world.pack(root / "bundle")
    world.pack(root / "bundle.zip")
    return root


@pytest.fixture()
def world(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return the two cells, in a copy that a test may change."""
    monkeypatch.setenv("MIBENCH_THREADS", "1")
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return world_in(tmp_path)


@pytest.fixture()
def bundle(world: World, tmp_path: Path) -> Path:
    """Return a bundle of both as a folder; an archive of the same lies beside it."""
    return tmp_path / "bundle"


def world_in(root: Path) -> World:
    registry = fake_plugin.registry()
    paths = sorted((root / "run" / "records").glob("*.json"), key=lambda path: "noisy" in path.name)
    return World(paths, Store(root / "store"), registry, load_protocol(registry, "toy"))
