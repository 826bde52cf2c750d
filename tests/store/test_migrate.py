"""Taking a store to a new layout: in place, resumable, alone, nothing is lost. Layout 2 is made up by these tests."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import store_factory
from store_factory import node, put

from mibench.api import StoreError
from mibench.store import layout
from mibench.store.artifact import MANIFEST, read_artifact, write_manifest
from mibench.store.layout import Marker, Step, read_marker
from mibench.store.migrate import migrate_store
from mibench.store.store import Store

COUNT = 7


def sharded(manifest: Mapping[str, Any]) -> PurePosixPath:
    return PurePosixPath(manifest["stage"], manifest["key"][:2], manifest["key"])


SHARD = Step(place=sharded, manifest=lambda raw: {**raw, "notes": []})


@pytest.fixture()
def root(tmp_path: Path) -> Path:
    """A store of the first layout, as it was before there were markers, with a checkpoint and a draft."""
    store = Store(tmp_path / "store")
    for n in range(COUNT):
        put(store, node(n), f"content {n}")
    (store.work(node(99).key) / "half.pt").write_text("x")
    (store.root / layout.MARKER).unlink()
    return store.root


@pytest.fixture()
def second(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    del root  # made before, as a store of the first layout
    monkeypatch.setattr(layout, "LAYOUT", 2)
    monkeypatch.setitem(layout.STEPS, 1, SHARD)
    yield


def contents(root: Path) -> dict[str, str]:
    """Return the bytes of every artifact by key, wherever it lies; each must be whole."""
    found = {}
    for manifest in (root / "artifacts").rglob(MANIFEST):
        artifact = read_artifact(manifest.parent)
        assert {"a.txt": hashlib.sha256(artifact.file("a.txt").read_bytes()).hexdigest()} == artifact.files
        found[artifact.key] = artifact.file("a.txt").read_text()
    return found


EXPECTED = {node(n).key: f"content {n}" for n in range(COUNT)}


@pytest.mark.usefixtures("second")
def test_every_artifact_has_its_new_place(root: Path) -> None:
    assert migrate_store(root) == (1, 2, COUNT, 0)
    assert contents(root) == EXPECTED
    for key in EXPECTED:
        manifest = json.loads((root / "artifacts" / "gold" / key[:2] / key / MANIFEST).read_text())
        assert (manifest["store_version"], manifest["notes"]) == (2, [])
    assert read_marker(root) == Marker(2)
    assert (root / "work" / node(99).key / "half.pt").exists()
    assert migrate_store(root) == (2, 2, 0, 0)


@pytest.mark.usefixtures("second")
def test_a_store_of_an_older_layout_is_refused_with_the_command(root: Path) -> None:
    with pytest.raises(StoreError, match=f"has layout 1, and this mibench uses layout 2.*store migrate --store {root}"):
        Store(root)
    assert contents(root) == EXPECTED


def test_a_newer_layout_is_refused_and_nothing_is_set_aside(root: Path) -> None:
    (root / layout.MARKER).write_text('{"layout": 2}')
    with pytest.raises(StoreError, match=r"has layout 2, and this mibench knows layouts up to 1\. Update with"):
        Store(root)
    with pytest.raises(StoreError, match="has layout 2"):
        migrate_store(root)


def test_an_artifact_of_a_newer_layout_is_no_damage(root: Path) -> None:
    store, folder = Store(root), root / "artifacts" / "gold" / node(0).key
    raw = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**raw, "store_version": 2}))
    with pytest.raises(StoreError, match="has store layout 2"):
        store.find("gold", node(0).key)
    assert folder.is_dir()
    assert not list((root / "damaged").iterdir())


@pytest.mark.parametrize("text", ["", "[]", '{"layout": "1"}', '{"layout": 0}', '{"layout": true}', "{}"])
def test_a_marker_that_says_nothing_is_refused(root: Path, text: str) -> None:
    (root / layout.MARKER).write_text(text)
    with pytest.raises(StoreError, match="does not say which layout the store has"):
        Store(root)


def test_a_new_store_says_its_layout_and_one_without_a_marker_is_of_the_first(root: Path, tmp_path: Path) -> None:
    assert json.loads((Store(tmp_path / "new").root / layout.MARKER).read_text()) == {"layout": 1}
    assert Store(root).find("gold", node(0).key) is not None
    assert migrate_store(root) == (1, 1, 0, 0)


@pytest.mark.usefixtures("second")
def test_layers_of_an_older_layout_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shipped" / "prior-x"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("weights")
    write_manifest(folder, key=node().key, stage="gold", payload=node().payload, meta={})
    raw = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**raw, "store_version": 1}))
    found = Store(tmp_path / "new", [tmp_path / "shipped"]).find("gold", node().key)
    assert found is not None
    assert found.file("a.txt").read_text() == "weights"


@pytest.mark.usefixtures("second")
def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(root: Path) -> None:
    lost = root / "artifacts" / "gold" / node(3).key
    (lost / MANIFEST).write_text("{")
    assert migrate_store(root) == (1, 2, COUNT - 1, 1)
    assert contents(root) == {key: text for key, text in EXPECTED.items() if key != node(3).key}
    [kept] = (root / "damaged").glob("*/artifact/a.txt")
    assert kept.read_text() == "content 3"


@pytest.mark.usefixtures("second")
def test_a_dry_run_writes_nothing(root: Path) -> None:
    before = sorted(root.rglob("*"))
    assert migrate_store(root, dry_run=True) == (1, 2, COUNT, 0)
    assert sorted(root.rglob("*")) == before


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no store"):
        migrate_store(tmp_path)
    assert list(tmp_path.iterdir()) == []


HEAD = """
import os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from store_factory import node
from mibench.store import layout, migrate
from mibench.store.store import Store
root = Path(sys.argv[1])
"""
KILLED = """
from store.test_migrate import SHARD
layout.LAYOUT, layout.STEPS[1] = 2, SHARD
left = int(sys.argv[3])
def dying(function):
    def call(*given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return function(*given)
    return call
migrate.write_atomic, migrate.Path.rename = dying(migrate.write_atomic), dying(migrate.Path.rename)
migrate.write_marker = dying(migrate.write_marker)
migrate.migrate_store(root)
"""
USER = """
store = Store(root)
with store.lock(node(0).key):
    print("held", flush=True)
    sys.stdin.readline()
try:
    with store.lock(node(1).key):
        print("used", flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""
HELPERS = str(Path(store_factory.__file__).parent)


def command(script: str, root: Path, *more: str) -> list[str]:
    return [sys.executable, "-c", HEAD + script, str(root), HELPERS, *more]


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("at", [0, 1, 2, 5, 8, 2 * COUNT, 2 * COUNT + 1])
def test_a_migration_that_was_killed_continues(root: Path, at: int) -> None:
    """The marker is written first; then each artifact takes a manifest and a rename; the marker is written last."""
    killed = subprocess.run(command(KILLED, root, str(at)), capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == -9, killed.stderr
    assert contents(root) == EXPECTED
    if at:
        with pytest.raises(StoreError, match="is being taken from layout 1 to 2, or that was interrupted"):
            Store(root)
    done = migrate_store(root)
    assert (done.after, done.artifacts, done.aside) == (2, COUNT, 0)
    assert {path.parent for path in (root / "artifacts").rglob(MANIFEST)} == {
        root / "artifacts" / "gold" / key[:2] / key for key in EXPECTED
    }
    assert contents(root) == EXPECTED


@pytest.mark.usefixtures("second")
def test_a_store_in_use_is_refused_and_a_user_that_comes_later_stops(root: Path) -> None:
    user = subprocess.Popen(command(USER, root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    assert user.stdin is not None
    assert user.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=r"another process uses the store .*Nothing was changed"):
        migrate_store(root)
    assert read_marker(root) == Marker(1)
    layout.write_marker(root, Marker(1, 2))  # as a migration does, before it looks at locks
    told = user.communicate("\n", timeout=60)[0]
    assert told.startswith("StoreError the store")
    assert migrate_store(root) == (1, 2, COUNT, 0)
