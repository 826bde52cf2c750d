"""A cell of the toy protocol that was run, its store, and a way to pack and to measure it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mibench.bundles.manifest import Manifest
from mibench.bundles.pack import pack, read_records
from mibench.bundles.regrade import Means, Regraded, regrade
from mibench.plan.memo import Memo
from mibench.protocol.load import LoadedProtocol, load_protocol
from mibench.registry.registry import Registry
from mibench.results.record import Record
from mibench.store.store import Store


@dataclass
class World:
    """What was run, and where."""

    paths: list[Path]
    records: list[Record]
    store: Store
    registry: Registry
    protocol: LoadedProtocol

    def pack(self, out: Path, **settings: Any) -> Manifest:
        memo = Memo()
        return pack(read_records(self.paths), self.protocol, self.store, self.registry, memo, out, **settings)

    def regrade(self, bundle: Path, store: Path, **settings: Any) -> list[Regraded]:
        return regrade(bundle, Means(Store(store), self.registry, device="cpu"), **settings)


@pytest.fixture()
def world(toy_run: Any, toy_registry: Registry, tmp_path: Path) -> World:
    """Return a defended and an undefended cell of the toy protocol."""
    done = toy_run(defenses=("noisy",))
    paths, store = list(done.record_paths), Store(tmp_path / "store")
    return World(paths, list(done.records), store, toy_registry, load_protocol(toy_registry, "toy"))


@pytest.fixture()
def bundle(world: World, tmp_path: Path) -> Path:
    """Return a bundle of both as a folder."""
    world.pack(tmp_path / "bundle")
    return tmp_path / "bundle"
