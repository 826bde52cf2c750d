"""Whole runs that are ended from outside: what they say, and what they leave."""

import os
import signal
import subprocess
import sys
import time

import fake_plugin
import pytest

COMMAND = ["run", "--protocol", "toy", "--defense", "busy", "--attack", "guess", "--device", "cpu", "--quiet"]


class Ended:
    """A run in the middle of a training, as its user sees it."""

    def __init__(self, folder, executor):
        self.store, self.busy = folder / "store", folder / "busy"
        folder.mkdir()
        (folder / "random.py").write_text("raise RuntimeError('imported from the working folder')")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([fake_plugin.install(folder / "site"), *sys.path]),
            "FAKE_BUSY": str(self.busy),
            "MIBENCH_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        words = [*COMMAND, "--store", "store", "--output", "output", "--executor", executor, "--workers", "2"]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mibench", *words],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def until_busy(self):
        """Wait until the training runs, and return the process in which it does."""
        for _ in range(1800):
            if self.busy.exists():
                return int(self.busy.read_text())
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)
        raise AssertionError("it never began")

    def drafts(self):
        return [path.name for path in self.store.glob("artifacts/*/.*")]


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture()
def started(tmp_path):
    runs = []

    def start(executor):
        runs.append(Ended(tmp_path / f"run{len(runs)}", executor))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_terminated_run_says_how_to_go_on_and_leaves_nothing_half_done(started, executor):
    run = started(executor)
    worker = run.until_busy()
    assert run.drafts()
    run.process.terminate()
    _, errors = run.process.communicate(timeout=300)
    assert run.process.returncode == 143
    assert errors == "Ended by SIGTERM. The same command continues where this one stopped.\n"
    assert not alive(worker)
    assert run.drafts() == []


@pytest.mark.slow
def test_workers_end_with_a_run_that_is_killed_and_with_ctrl_c(started):
    killed, interrupted = started("local"), started("local")
    worker = killed.until_busy()
    killed.process.kill()
    # The pipe of messages closes when the last worker has ended.
    _, errors = killed.process.communicate(timeout=300)
    assert errors == ""
    assert killed.drafts() == []
    for _ in range(100):
        if not alive(worker):
            break
        time.sleep(0.1)
    assert not alive(worker)
    worker = interrupted.until_busy()
    os.killpg(interrupted.process.pid, signal.SIGINT)  # as a terminal does
    _, errors = interrupted.process.communicate(timeout=300)
    assert interrupted.process.returncode == 130
    assert errors.strip() == "Interrupted. The same command continues where this one stopped."
    assert not alive(worker)
    assert interrupted.drafts() == []
