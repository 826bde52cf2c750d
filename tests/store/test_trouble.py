"""Stores on real disks: what is in the way, cannot be read, does not fit, or belongs to somebody else."""

import errno
import logging
import multiprocessing
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from store_factory import node, put

from mibench.api import StoreError
from mibench.store.artifact import MANIFEST
from mibench.store.store import Store


def fail(store, error):
    with store.commit("gold", node().key, node().payload, {}):
        raise error


def occupy(place, how):
    """Put something else where an artifact's folder belongs."""
    if how == "stage":
        place.parent.write_text("a file where the stage's folder belongs")
        return
    place.parent.mkdir(parents=True)
    if how == "file":
        place.write_text("a file")
    elif how == "dangling link":
        place.symlink_to(place.parent / "nowhere")
    elif how == "circle":
        place.symlink_to(place)
    elif how == "empty folder":
        place.mkdir()
    elif how == "manifest is a folder":
        (place / MANIFEST).mkdir(parents=True)
    elif how == "manifest is a list":
        place.mkdir()
        (place / MANIFEST).write_text(
            '{"store_version": 1, "key": 1, "stage": 1, "payload": 1, "files": [], "content": 1}'
        )
    else:
        place.mkdir()
        (place / MANIFEST).write_text("[" * 100_000)


WAYS = [
    "file",
    "dangling link",
    "circle",
    "empty folder",
    "manifest is a folder",
    "manifest is a list",
    "deep",
    "stage",
]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("looked", [True, False])
def test_what_stands_where_an_artifact_belongs_is_set_aside(tmp_path, how, looked):
    store = Store(tmp_path)
    occupy(tmp_path / "artifacts" / "gold" / node().key, how)
    if looked:
        assert store.find("gold", node().key) is None
    assert put(store, node()).file("a.txt").read_text() == "hello"
    assert len(list((tmp_path / "damaged").glob("*/reason.txt"))) == 1
    assert Store(tmp_path).find("gold", node().key) is not None


def test_a_link_to_an_artifact_is_one(tmp_path):
    store = Store(tmp_path / "store")
    made = put(store, node()).path
    shutil.move(made, tmp_path / "elsewhere")
    made.symlink_to(tmp_path / "elsewhere")
    assert Store(tmp_path / "store").find("gold", node().key).file("a.txt").read_text() == "hello"


def test_files_where_checkpoints_and_locks_belong_are_set_aside(tmp_path):
    store = Store(tmp_path)
    key = node().key
    (tmp_path / "work" / key).write_text("a file")
    assert store.work(key).is_dir()
    for occupied in (Path.mkdir, lambda place: place.symlink_to("nowhere")):
        lock = tmp_path / "locks" / f"{key}.lock"
        lock.unlink(missing_ok=True)
        occupied(lock)
        with store.lock(key):
            assert lock.is_file()
            assert not lock.is_symlink()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("what", ["read_text", "open"])
def test_what_cannot_be_read_is_not_taken_for_damaged(tmp_path, monkeypatch, code, what):
    put(Store(tmp_path), node())

    def refuse(self, *_args, **_more):
        raise OSError(code, os.strerror(code), str(self))

    fresh = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, what, refuse)
        with pytest.raises(StoreError, match=r"cannot read .*Nothing was changed") as caught:
            fresh.find("gold", node().key)
    assert list((tmp_path / "damaged").iterdir()) == []
    assert fresh.find("gold", node().key).file("a.txt").read_text() == "hello"
    if code == errno.EACCES:
        assert f"belongs to {tmp_path.owner()} with mode" in str(caught.value)
        assert f"chmod -R g+rwX {tmp_path}" in str(caught.value)


def test_a_damaged_artifact_that_cannot_be_moved_counts_as_missing_and_stops_work_before_it_begins(
    tmp_path, monkeypatch, caplog
):
    store = Store(tmp_path)
    put(store, node()).file("a.txt").write_text("hellO")

    def refuse(*_args):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "damaged"))

    monkeypatch.setattr(shutil, "move", refuse)
    monkeypatch.setattr(os, "rename", refuse)
    fresh = Store(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert fresh.find("gold", node().key) is None
        assert fresh.find("gold", node().key) is None
    (said,) = caplog.messages
    assert "a.txt does not have the checksum" in said
    assert "cannot be set aside: Read-only file system" in said
    draft = fresh.commit("gold", node().key, node().payload, {})
    with pytest.raises(StoreError, match=r"cannot save the gold artifact .* Read-only file system"):
        draft.__enter__()  # before any work


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_during_a_stage_is_explained(tmp_path, code):
    store = Store(tmp_path)
    with pytest.raises(
        StoreError, match=f"cannot save the gold artifact {node().key[:12]}: {os.strerror(code)}"
    ) as caught:
        fail(store, OSError(code, os.strerror(code)))
    assert "choose another with --store" in str(caught.value).lower()
    assert "the same command then continues" in str(caught.value)
    assert (" MB free in " in str(caught.value)) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert list((tmp_path / "artifacts" / "gold").iterdir()) == []


def test_a_stage_that_misses_a_file_of_its_own_is_not_told_that_the_store_is_to_blame(tmp_path):
    store = Store(tmp_path / "store")
    for error in (FileNotFoundError(errno.ENOENT, "no", "x.png"), PermissionError(errno.EACCES, "no", "/data/x.png")):
        with pytest.raises(type(error)) as caught, store.commit("gold", node().key, node().payload, {}):
            raise error
        assert caught.value is error


def test_a_checkpoint_of_somebody_else_that_cannot_be_read_is_explained(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="belongs to"), store.commit("gold", node().key, node().payload, {}):
        raise PermissionError(errno.EACCES, "Permission denied", str(store.work(node().key)))


@pytest.fixture()
def umask():
    """Set the umask for the length of a test."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


def modes(root):
    return {
        path.relative_to(root).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in root.rglob("*")
        if not path.is_symlink()
    }


@pytest.mark.parametrize(
    ("mask", "folder", "file"), [(0o002, 0o775, 0o664), (0o077, 0o700, 0o600), (0o022, 0o755, 0o644)]
)
def test_the_umask_decides_who_shares_a_store(tmp_path, umask, mask, folder, file):
    umask(mask)
    store = Store(tmp_path / "store")
    with store.lock(node().key), store.commit("gold", node().key, node().payload, {}) as draft:
        (store.work(node().key) / "checkpoint").write_text("x")
        (draft / "inner").mkdir(mode=0o700)
        for name in ("a.txt", "inner/b.txt"):  # as tempfile and some libraries make them
            os.close(os.open(draft / name, os.O_CREAT | os.O_WRONLY, 0o600))
        (store.work(node(2).key) / "checkpoint").write_text("x")
    store.find("gold", node().key).file("a.txt").write_text("damaged")
    assert Store(tmp_path / "store").find("gold", node().key) is None
    put(store, node(3))
    wrong = {}
    for name, mode in modes(tmp_path / "store").items():
        expected = folder if (tmp_path / "store" / name).is_dir() else file
        if mode != expected:
            wrong[name] = oct(mode)
    assert wrong == {}


def _as_user(pipe, uid, umask, folder, numbers):
    os.setgroups([])
    os.setgid(5000)
    os.setuid(uid)
    os.umask(umask)
    done = []
    try:
        store = Store(folder)
        store.require_writable()
        store.tidy()
        for number in numbers:
            with store.lock(node(number).key):
                found = store.find("gold", node(number).key)
                done.append("found" if found else "made")
                if not found:
                    put(store, node(number))
    except BaseException as error:
        done.append(f"{type(error).__name__}: {error}")
    pipe.send(done)


def as_user(uid, folder, *numbers, umask=0o002):
    """Ask for artifacts as another user, in a process that imports nothing any more."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_as_user, args=(there, uid, umask, folder, numbers))
    process.start()
    assert here.poll(30)
    done = here.recv()
    process.join()
    return done


@pytest.fixture()
def shared():
    """A folder of a group, which other users reach; only root can play them."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "store"
        folder.mkdir()
        os.chown(folder, -1, 5000)
        folder.chmod(0o2775)
        yield folder


def test_two_users_of_a_group_share_a_store(shared, tmp_path):
    put(Store(tmp_path), node())  # so that all is imported
    tmp_path.owner()
    assert as_user(6001, shared, 1, 2) == ["made", "made"]
    (shared / "artifacts" / "gold" / node(2).key / "a.txt").write_text("damaged")
    assert as_user(6002, shared, 1, 2, 3) == ["found", "made", "made"]
    assert as_user(6001, shared, 1, 2, 3) == ["found"] * 3
    # One who does not share: the others are told, and nothing of it is touched.
    assert as_user(6001, shared, 4, umask=0o077) == ["made"]
    (refused,) = as_user(6002, shared, 4)
    assert refused.startswith("StoreError: cannot read")
    assert "belongs to user 6001 with mode 2700, and this is user 6002" in refused
    assert len(list((shared / "damaged").iterdir())) == 1
    # A folder that only its owner may write.
    (shared / "locks").chmod(0o755)
    (refused,) = as_user(6002, shared, 5)
    assert refused.startswith(f"StoreError: cannot write to the store {shared}: Permission denied")
    assert f"chmod -R g+rwX {shared}" in refused
