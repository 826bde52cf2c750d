"""What ``scripts/gpu_matrix.sh`` calls, and in which order."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts/gpu_matrix.sh"
FAKE = '#!/bin/sh\necho "$@" >> "$CALLS"\ncase "$*" in *bido*) exit 1;; esac\n'


def called(tmp_path, *words, **variables):
    program = tmp_path / "bin" / "mibench"
    program.parent.mkdir(exist_ok=True)
    program.write_text(FAKE)
    program.chmod(0o755)
    calls = tmp_path / "calls"
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CALLS": str(calls), "MIBENCH_OUT": str(tmp_path / "out"), **variables}
    ended = subprocess.run(["bash", str(SCRIPT), *words], env=environment, capture_output=True, text=True, timeout=300)
    return ended, calls.read_text().splitlines() if calls.is_file() else []


def test_the_papers_claim_comes_first_and_a_failure_stops_nothing(tmp_path):
    ended, calls = called(tmp_path, "facescrub224", "dogs224", MIBENCH_SEEDS="0 1")
    assert calls[0].startswith("run --protocol facescrub224 -d none -d atat -a ppa --seed 0 --seed 1 --device cuda")
    assert calls[1].startswith("run --protocol dogs224 -d none -d atat -a ppa")
    assert "-a if-gmi" in calls[2]
    assert len(calls) == len(set(calls)) == 2 * (1 + 2 + 7 + 14 + 2 * 3)
    assert sum("bido" in call for call in calls) == 6
    assert ended.returncode == 1
    assert "6 calls failed" in ended.stderr
    outputs = [call.split("--output ")[1].split()[0] for call in calls]
    assert len(set(outputs)) == len(outputs)


def test_a_plan_runs_nothing(tmp_path):
    ended, calls = called(tmp_path, "--plan")
    assert ended.returncode == 0
    assert [call.split()[2] for call in calls] == ["facescrub224", "celeba224", "dogs224"]
    assert all(call.endswith("--dry-run") for call in calls)


def test_no_cell_is_started_when_the_time_is_up(tmp_path):
    ended, calls = called(tmp_path, MIBENCH_HOURS="0")
    assert (ended.returncode, calls) == (0, [])
    assert "the same command continues" in ended.stderr
