"""``kill -9`` at any moment loses at most the work since the last checkpoint, and changes no byte of the result."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mibench.protocol.request import Request
from mibench.session.run import run
from mibench.store.artifact import read_artifact
from mibench.store.store import Store

KILLER = Path(__file__).parent / "killer.py"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store in which everything was made without interruption."""
    import fake_plugin

    root = tmp_path_factory.mktemp("finished")
    request = Request(
        protocols=("toy",), defenses=("noisy",), attacks=("guess",), device="cpu", store=root / "store", output=root
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBENCH_THREADS", "1")
        assert run(request, fake_plugin.registry()).exit_code == 0
    return root / "store"


def _artifacts(root, stage):
    folders = (root / "artifacts" / stage).glob("*")
    return {folder.name: read_artifact(folder) for folder in folders if not folder.name.startswith(".")}


CASES = [("prior", "linear"), ("evaluator", "judge"), ("target", "noisy"), ("reconstruct", "guess on noisy")]


IDS = [stage for stage, _ in CASES]


@pytest.fixture(scope="module")
def killed(finished, tmp_path_factory):
    """What happened to each case, by stage: the store, the uninterrupted artifact and the killer's report."""
    cases, originals = [], []
    for stage, label in CASES:
        root = tmp_path_factory.mktemp(stage) / "store"
        shutil.copytree(finished, root)
        (key,) = [key for key, made in _artifacts(finished, stage).items() if label in made.meta["label"]]
        originals.append(read_artifact(finished / "artifacts" / stage / key))
        shutil.rmtree(root / "artifacts" / stage / key)
        # What needs it goes as well, so that a plan asks for it.
        shutil.rmtree(root / "artifacts" / "reconstruct")
        shutil.rmtree(root / "artifacts" / "measure")
        cases.append((str(root), stage, label))
    command = [sys.executable, str(KILLER), "1", json.dumps(cases)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    reports = [json.loads(line) for line in ended.stdout.splitlines()]
    roots = [Path(root) for root, _, _ in cases]
    return dict(zip(IDS, zip(roots, originals, reports, strict=True), strict=True))


@pytest.mark.parametrize("stage", IDS)
def test_a_killed_stage_continues_and_ends_with_the_same_bytes(killed, stage):
    root, original, report = killed[stage]
    assert report["done"]
    assert report["killed"] >= 1
    assert max(report["firsts"]) > min(report["firsts"])  # later tries began where earlier ones had stopped
    again = Store(root).get(stage, original.key)
    assert again.files == original.files
    assert again.content == original.content
    assert not (root / "work" / original.key).exists()
