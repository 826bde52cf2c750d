"""The store: atomic commits, damage, layers, and two processes at once."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import store_factory
from store_factory import node, put

from mibench.api import StoreError
from mibench.store.artifact import MANIFEST, write_manifest
from mibench.store.store import Store, default_root


def test_commit_then_find(tmp_path):
    store = Store(tmp_path)
    assert store.find("gold", node().key) is None
    artifact = put(store, node())
    assert artifact.file("a.txt").read_text() == "hello"
    assert artifact.files["a.txt"] == hashlib.sha256(b"hello").hexdigest()
    assert Store(tmp_path).find("gold", node().key).content == artifact.content


def test_nothing_half_written_is_visible(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.commit("gold", node().key, node().payload, {}) as draft:
        (draft / "a.txt").write_text("half")
        1 / 0  # noqa: B018
    assert store.find("gold", node().key) is None
    assert list((tmp_path / "artifacts" / "gold").iterdir()) == []


@pytest.mark.parametrize("how", ["bytes", "missing", "manifest", "payload", "not json"])
def test_damage_is_detected_and_set_aside(tmp_path, how):
    store = Store(tmp_path)
    artifact = put(store, node())
    manifest = artifact.path / MANIFEST
    raw = json.loads(manifest.read_text())
    if how == "bytes":
        artifact.file("a.txt").write_text("hellO")
    elif how == "missing":
        artifact.file("a.txt").unlink()
    elif how == "manifest":
        raw["files"]["a.txt"] = "0" * 64
        manifest.write_text(json.dumps(raw))
    elif how == "payload":
        raw["payload"]["n"] = 2
        manifest.write_text(json.dumps(raw))
    else:
        manifest.write_text("{")
    fresh = Store(tmp_path)
    assert fresh.find("gold", node().key) is None
    assert list((tmp_path / "damaged").glob("*/reason.txt"))
    assert put(fresh, node()).file("a.txt").read_text() == "hello"


def test_checkpoints_survive_until_the_commit(tmp_path):
    store = Store(tmp_path)
    (store.work(node().key) / "half.pt").write_text("x")
    assert (Store(tmp_path).work(node().key) / "half.pt").exists()
    put(store, node())
    assert not (tmp_path / "work" / node().key).exists()


def test_lower_layers_are_read_and_never_written(tmp_path):
    layer = tmp_path / "shipped"
    folder = layer / "prior-x"
    folder.mkdir(parents=True)
    (folder / "w.txt").write_text("weights")
    write_manifest(folder, key=node().key, stage="gold", payload=node().payload, meta={})
    store = Store(tmp_path / "root", [layer])
    artifact = store.find("gold", node().key)
    assert artifact.file("w.txt").read_text() == "weights"
    assert store.is_shipped(artifact)
    (folder / "w.txt").write_text("tampered")
    with pytest.raises(StoreError, match="checksum"):
        Store(tmp_path / "root", [layer]).find("gold", node().key)


def test_the_store_says_when_it_cannot_write(tmp_path):
    place = tmp_path / "file"
    place.write_text("not a folder")
    with pytest.raises(StoreError, match="--store"):
        Store(place)


def test_get_names_what_is_missing(tmp_path):
    with pytest.raises(StoreError, match=node().key[:12]):
        Store(tmp_path).get("gold", node().key)


RACER = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[3]]
from store_factory import node, put
from mibench.store.store import Store
root, name = Path(sys.argv[1]), sys.argv[2]
store, wanted = Store(root), node()
(root / f"{name}.ready").touch()
while len(list(root.glob("*.ready"))) < 2:
    time.sleep(0.001)
with store.lock(wanted.key):
    made = store.find("gold", wanted.key) is None
    if made:
        put(store, wanted, name)
print(made)
"""


def test_two_processes_share_a_store(tmp_path):
    begin = [sys.executable, "-c", RACER, str(tmp_path)]
    helpers = str(Path(store_factory.__file__).parent)
    racers = [subprocess.Popen([*begin, name, helpers], stdout=subprocess.PIPE, text=True) for name in ("one", "two")]
    assert sorted(racer.communicate(timeout=300)[0].strip() for racer in racers) == ["False", "True"]
    assert Store(tmp_path).find("gold", node().key) is not None


def test_default_root_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("MIBENCH_STORE", str(tmp_path))
    assert default_root() == tmp_path


def test_a_copied_artifact_under_another_key_is_refused(tmp_path):
    store = Store(tmp_path)
    artifact = put(store, node())
    other = node(2)
    shutil.copytree(artifact.path, artifact.path.parent / other.key)
    assert store.find("gold", other.key) is None


def test_a_store_says_whether_anything_can_be_added(tmp_path):
    store = Store(tmp_path / "store")
    store.require_writable()
    shutil.rmtree(store.root / "locks")
    (store.root / "locks").write_text("no folder any more")
    with pytest.raises(StoreError, match=r"cannot write to the store .* Choose another with --store"):
        store.require_writable()
