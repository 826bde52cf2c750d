"""Executor ``local``: worker processes make the same bytes as one process, and one that dies takes nobody along."""

import json

import fake_plugin
import pytest


def _contents(root):
    manifests = root.glob("artifacts/*/*/manifest.json")
    return {path.parent.name: json.loads(path.read_text())["content"] for path in manifests}


@pytest.mark.slow
def test_workers_make_the_same_bytes_and_survive_a_kill(toy_run, tmp_path, monkeypatch):
    # Workers find their plugins as users do: installed ones.
    monkeypatch.setenv("PYTHONPATH", fake_plugin.install(tmp_path / "site"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here = toy_run(defenses=("noisy",), store=tmp_path / "inline")
    there = toy_run(
        defenses=("noisy", "deadly", "broken", "quitting"), store=tmp_path / "local", executor="local", workers=2
    )
    status = {record.cell.defense: record.status for record in there.records}
    assert status == {"plain": "done", "noisy": "done", "deadly": "failed", "broken": "failed", "quitting": "failed"}
    errors = dict(there.failures)
    assert len(errors) == 3
    assert "its worker process died (signal 9)" in errors["deadly · tiny · seed 3"]
    assert "run the same command to continue" in errors["deadly · tiny · seed 3"]
    assert errors["broken · tiny · seed 3"].startswith("RuntimeError: this defense is broken")
    quitting = errors["quitting · tiny · seed 3"]
    assert quitting.startswith("defense 'quitting' tried to end the program instead of raising an error: SystemExit: 0")
    assert there.exit_code == 1
    assert _contents(tmp_path / "inline") == _contents(tmp_path / "local")
    assert [r.digest for r in there.records[:2]] == [r.digest for r in here.records]
