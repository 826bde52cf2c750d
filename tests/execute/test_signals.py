"""Signals that ask for an end, and workers that outlive nobody."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mibench.execute.signals import Stopped, stoppable

SIGNALS = [signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_raised_once_and_then_lets_the_cleaning_up_alone(number):
    before = signal.getsignal(number)
    cleaned = False
    with pytest.raises(Stopped) as caught, stoppable():
        try:
            signal.raise_signal(number)
            pytest.fail("nothing was raised")
        finally:
            for other in SIGNALS:
                signal.raise_signal(other)
            cleaned = True
    assert cleaned
    assert caught.value.exit_code == 128 + number
    assert caught.value.args == (number,)
    assert caught.value.name == number.name
    assert not isinstance(caught.value, Exception)
    assert signal.getsignal(number) is before


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_are_left_alone():
    seen = []

    def body():
        with stoppable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


WORKER = """
import sys
from mibench.execute.lifeline import Orders, end_with_parent
from mibench.execute.signals import Stopped, stoppable

def serve():  # a function, as the real worker has one: see stoppable()
    for order in Orders(0):
        print("at work:", order, flush=True)
        while order == "compute":
            sum(range(1000))

try:
    with stoppable(("SIGTERM",)):
        if "tied" in sys.argv:
            end_with_parent()
        serve()
except Stopped as stopped:
    sys.exit(stopped.exit_code)
"""

PARENT = """
import subprocess, sys, time
command = [sys.executable, "-c", sys.argv[1], *sys.argv[3:]]
worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
worker.stdin.write(b"compute\\n")
worker.stdin.flush()
print(worker.stdout.readline().decode().strip(), worker.pid, flush=True)
if sys.argv[2] == "open":  # somebody else still holds the pipe, so that it does not close
    holder = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, pass_fds=[worker.stdin.fileno()])
    print(holder.pid, flush=True)
time.sleep(60)
"""


def start_worker(*words):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_an_idle_worker_ends_by_itself_when_its_input_closes():
    ended = subprocess.run([sys.executable, "-c", WORKER], input=b"one\ntwo\n", capture_output=True, timeout=20)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.splitlines() == [b"at work: one", b"at work: two"]


@pytest.mark.parametrize("how", ["closed", "told"])
def test_a_worker_that_computes_ends_when_its_input_closes_or_it_is_told(how):
    worker = start_worker()
    worker.stdin.write(b"compute\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == b"at work: compute\n"
    if how == "told":
        worker.terminate()  # the thread still waits for input: that must not crash the end
    _, errors = worker.communicate(timeout=20)
    assert (worker.returncode, errors) == (143, b"")


def gone(process):
    """Tell whether a process has ended, waiting a while for it."""
    for _ in range(100):
        try:
            with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("pipe", ["closing", "open"])
def test_a_worker_that_computes_ends_when_its_parent_is_killed(pipe):
    words = ["tied"] if pipe == "open" else []
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, WORKER, pipe, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    *said, worker = parent.stdout.readline().split()
    holder = parent.stdout.readline() if pipe == "open" else None
    assert said == ["at", "work:", "compute"]
    parent.kill()
    try:
        assert gone(worker)
        parent.wait()
    finally:
        if holder:
            os.kill(int(holder), signal.SIGKILL)
    with parent.stdout, parent.stderr:
        assert parent.stderr.read() == ""
