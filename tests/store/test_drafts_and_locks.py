"""What killed processes leave, and file systems without locks or with folders that nobody may open."""

import errno
import fcntl
import logging
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys

import pytest
from store_factory import node

from mibench.base.files import write_atomic
from mibench.store.locks import Locks
from mibench.store.store import Store


def put(store, node):
    with store.commit(node.stage, node.key, node.payload, {}) as draft:
        (draft / "a.txt").write_text("hello")
    return store.find(node.stage, node.key)


def drafts(root):
    return sorted(path.name for path in root.glob("artifacts/*/.*"))


def _hold(root, pipe, number):
    store = Store(root)
    with store.lock(node(number).key), store.commit("gold", node(number).key, node(number).payload, {}) as draft:
        (draft / "half.txt").write_text("half")
        pipe.send("ready")
        pipe.recv()


@pytest.fixture()
def holding(tmp_path):
    """Return a function that starts a process in the middle of a commit."""
    context, started = multiprocessing.get_context("fork"), []

    def start(number):
        here, there = context.Pipe()
        process = context.Process(target=_hold, args=(tmp_path, there, number))
        process.start()
        assert here.recv() == "ready"
        started.append(process)
        return process, here

    yield start
    for process in started:
        process.kill()
        process.join()


def test_the_draft_of_a_killed_process_goes_when_its_key_is_made_again(tmp_path, holding):
    process, _ = holding(1)
    process.kill()
    process.join()
    assert len(drafts(tmp_path)) == 1
    store = Store(tmp_path)
    with store.lock(node(1).key):
        put(store, node(1))
    assert drafts(tmp_path) == []


def test_drafts_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path, holding):
    dead, _ = holding(1)
    living, pipe = holding(2)
    dead.kill()
    dead.join()
    assert len(drafts(tmp_path)) == 2
    Store(tmp_path).tidy()
    (left,) = drafts(tmp_path)
    assert node(2).key in left
    pipe.send("go on")
    living.join(20)
    assert Store(tmp_path).find("gold", node(2).key) is not None
    assert drafts(tmp_path) == []


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def no_flock(request, monkeypatch):
    def refuse(_descriptor, _operation):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_without_locks_of_the_system_files_take_their_place(tmp_path, no_flock, caplog, recwarn):
    store = Store(tmp_path)
    with caplog.at_level(logging.WARNING):
        store.require_writable()
        store.require_writable()
        with store.lock(node().key):
            (held,) = (tmp_path / "locks").iterdir()
            assert held.read_text().split()[:2] == [str(os.getpid()), socket.gethostname()]
            with Locks(tmp_path / "locks").hold(f"{node().key}.lock", wait=False) as again:
                assert not again
            put(store, node())
    assert list((tmp_path / "locks").iterdir()) == []
    assert "this file system has no locks" in caplog.messages[0]
    assert len(caplog.messages) == 2  # one for each Locks object of this test
    assert list(recwarn) == []


def test_a_file_lock_of_a_dead_process_of_this_host_is_taken_over(tmp_path, no_flock):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    store = Store(tmp_path)
    held = tmp_path / "locks" / f"{node().key}.lock.held"
    held.write_text(f"{int(gone.stdout)}\n{socket.gethostname()}\n")
    with store.lock(node().key):
        assert int(held.read_text().split()[0]) == os.getpid()


def test_a_file_lock_of_another_host_is_respected_and_named(tmp_path, no_flock, caplog, monkeypatch):
    monkeypatch.setattr("mibench.store.locks.PATIENCE_S", 0.05)
    locks = Locks(tmp_path)
    held = tmp_path / "x.held"
    held.write_text("4242\nelsewhere\n")
    real = Locks._acquire

    def acquire(self, lock, timeout):
        if timeout == -1:  # the other one ends while this one waits
            held.unlink()
        return real(self, lock, timeout)

    monkeypatch.setattr(Locks, "_acquire", acquire)
    with caplog.at_level(logging.WARNING), locks.hold("x") as won:
        assert won
    assert f"process 4242 on elsewhere; if that is gone, remove {held}" in caplog.messages[-1]


def test_folders_that_cannot_be_opened_are_not_flushed(tmp_path, monkeypatch):
    """As on Windows."""
    real = os.open

    def refuse(path, *args, **more):
        if os.path.isdir(path):  # noqa: PTH112
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert put(Store(tmp_path / "store"), node()).file("a.txt").read_text() == "hello"
    assert write_atomic(tmp_path / "records" / "a.json", "{}").read_text() == "{}"
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
