"""The tutorial in docs/audit.md: its files and commands are taken from the page and executed, with small settings."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mibench.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
TEMPLATE = ROOT / "plugins/mibench-datasets/mibench_datasets/protocols/own-model.yaml"
SMALL = {
    "name": "tiny-audit",
    "recipe": {"epochs": 1, "batch": 20},
    "evaluators": [{"name": "cnn", "model": {"name": "smallcnn"}, "recipe": {"epochs": 1, "batch": 20}, "seed": 1000}],
    "attacks": {"ppa": {"name": "ppa", "params": {"pool": 32, "candidates": 4, "final": 4, "steps": 1, "draws": 1}}},
    "suite": ["ppa", "map", "cma", "brep-mi"],
    "floor": {"name": "prior-topconf", "params": {"pool": 32, "final": 4}},
    "lookalike": {"name": "public-nearest", "params": {"public_images": 20, "final": 4}},
    "metrics": [{"name": "accuracy"}, {"name": "re-identification"}],
    "presets": {
        "attack": {
            "brep-mi": {"pool": 600, "final": 2, "steps": 2, "points": 4},
            "map": {"pool": 32, "candidates": 4, "final": 4, "steps": 1, "draws": 1},
            "cma": {"pool": 32, "restarts": 2, "generations": 1, "population": 4, "keep": 4, "final": 4, "draws": 1},
        },
        "defense": {"atat": {"steps": 1}},
        "model": {"foreign-fresh": {}},
    },
}


def files() -> dict[str, str]:
    return dict(re.findall(r"```python\n# ([\w.]+)\n(.*?)```", PAGE, flags=re.DOTALL))


def commands() -> list[list[str]]:
    shown = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)
    return [shlex.split(line.removeprefix("$ ")) for block in shown for line in block.splitlines() if line[:2] == "$ "]


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MIBENCH_THREADS", "1")
    for name, text in files().items():
        Path(name).write_text(text, encoding="utf-8")
    template = {**yaml.safe_load(TEMPLATE.read_text(encoding="utf-8")), **SMALL}
    Path("tiny.yaml").write_text(yaml.safe_dump(template), encoding="utf-8")
    asked = commands()
    assert [words[0] for words in asked] == ["python", "python", "mibench", "mibench", "mibench", "mibench"]
    for program, *words in asked:
        if program == "python":
            subprocess.run([sys.executable, *words], check=True, timeout=300)
            continue
        small = ["--template", "tiny.yaml"] if words[0] == "audit" else []
        assert main([*words, *small, "--device", "cpu"]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "of 20 people are recognised in images that attacks made of the network" in told
    for folder, attacks in (("mibench-audit", 4), ("audit-scores", 2), ("audit-twin", 1)):
        document = json.loads(Path(folder, "audit.json").read_text(encoding="utf-8"))
        assert len(document["attacks"]) == attacks
        assert document["accuracy"] > 0.9
    assert document["twin"]["model"] == "foreign-fresh"
    for name in re.findall(r"^\| `(\S+?)`", PAGE, flags=re.MULTILINE):
        assert Path("mibench-audit", name).exists()
