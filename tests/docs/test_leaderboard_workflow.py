"""The workflow of the boards: its steps are taken from the file and run, in clones of a repository made here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from record_factory import PROTOCOL_TEXT, make_record

from mibench.leaderboard import add_records
from mibench.results.io import load_record, save_record
from mibench.site.serve import server

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".github/workflows/leaderboard.yml"
TEXTS = {"tiny@1.0": PROTOCOL_TEXT}
needs_tools = pytest.mark.skipif(not all(map(shutil.which, ("git", "bash", "curl"))), reason="needs git, bash and curl")


def workflow() -> dict[Any, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def steps(job: str) -> list[dict[str, Any]]:
    return workflow()["jobs"][job]["steps"]  # type: ignore[no-any-return]


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(repository: Path, words: str) -> str:
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "-m", words)
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture()
def repository(tmp_path: Path) -> Path:
    """Return a repository with a board of two entries on ``main``."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    publish(folder, 0, 1)
    commit(folder, "two entries")
    return folder


def publish(repository: Path, *seeds: int) -> None:
    records = [save_record(make_record(seed=seed), repository.parent / "run") for seed in seeds]
    add_records(records, repository / "leaderboards", TEXTS)


class Runner:
    """What runs a job's steps: checkouts become clones, what installs is left out, commands run as they are."""

    def __init__(self, folder: Path, repository: Path, known: dict[str, str]) -> None:
        self.folder, self.repository, self.known = folder, repository, known
        (folder / "bin").mkdir(parents=True)
        program = folder / "bin/mibench"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mibench "$@"\n')
        program.chmod(0o755)
        path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "MIBENCH_STORE": str(folder / "store")}

    def said(self, text: str) -> str:
        return re.sub(r"\$\{\{ *(.*?) *\}\}", lambda found: self.known[found[1]], text)

    def run(self, job: str) -> subprocess.CompletedProcess[str]:
        """Run the steps of a job up to the first that fails, and return the last one."""
        done: subprocess.CompletedProcess[str] | None = None
        for step in steps(job):
            if step.get("uses", "").startswith("actions/checkout@"):
                git(self.folder, "clone", "--quiet", str(self.repository), step["with"]["path"])
                git(self.folder / step["with"]["path"], "checkout", "--quiet",
                    self.said(step["with"].get("ref", self.known["head"])))  # fmt: skip
            elif "run" in step and not step["name"].startswith("Install"):
                own = {name: self.said(value) for name, value in step.get("env", {}).items()}
                done = subprocess.run(
                    ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", self.said(step["run"])],
                    cwd=self.folder, env={**self.environment, **own}, capture_output=True, text=True, timeout=300,
                )  # fmt: skip
                if done.returncode:
                    return done
        assert done is not None
        return done


def pull(repository: Path, folder: Path) -> Runner:
    """Return a runner for the pull request that brings what lies in the working tree."""
    base = git(repository, "rev-parse", "main")
    git(repository, "switch", "--quiet", "-c", "mine")
    known = {"github.event.pull_request.base.sha": base, "head": commit(repository, "mine")}
    return Runner(folder, repository, known)


@needs_tools
@pytest.mark.slow
def test_a_sound_pull_request_passes_and_is_shown(repository: Path, tmp_path: Path) -> None:
    publish(repository, 2)
    runner = pull(repository, tmp_path / "work")
    done = runner.run("check")
    assert done.returncode == 0, done.stderr
    assert "2 to 3 records" in (runner.folder / "site/changes.html").read_text(encoding="utf-8")


@needs_tools
@pytest.mark.slow
def test_a_pull_request_that_deletes_an_entry_fails(repository: Path, tmp_path: Path) -> None:
    board = repository / "leaderboards/tiny/1.0"
    gone = next(path for path in board.rglob("entries/*/*.json") if load_record(path).cell.seed == 1)
    gone.unlink()
    kept = next(board.rglob("entries/*/*.json"))
    add_records([kept], repository / "leaderboards")  # makes the table anew, so that only the deletion is wrong
    done = pull(repository, tmp_path / "work").run("check")
    assert done.returncode == 1
    assert f"{gone.name}: MB820" in done.stdout
    assert "1 refused" in done.stdout


@needs_tools
@pytest.mark.slow
def test_publishing_keeps_the_history_of_the_site(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    with server(tmp_path / "web", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        known = {
            "steps.pages.outputs.base_url": f"http://127.0.0.1:{running.server_port}",
            "github.server_url": "https://host.example",
            "github.repository": "some/boards",
            "head": "main",
        }
        first = Runner(tmp_path / "one", repository, known)
        assert (done := first.run("publish")).returncode == 0, done.stderr
        shutil.copytree(first.folder / "site", tmp_path / "web", dirs_exist_ok=True)
        publish(repository, 2)
        commit(repository, "one more")
        second = Runner(tmp_path / "two", repository, known)
        assert (done := second.run("publish")).returncode == 0, done.stderr
        running.shutdown()
    told = (second.folder / "site/changes.html").read_text(encoding="utf-8")
    assert "2 to 3 records" in told
    assert "the board begins with 1 rows" in told
    [row] = (second.folder / "site/tiny/1.0/rows").iterdir()
    assert "https://host.example/some/boards/blob/main/leaderboards/tiny/1.0/entries/" in row.read_text("utf-8")


def test_the_workflow_asks_for_little_and_executes_nothing_of_a_pull_request() -> None:
    text, content = FILE.read_text(encoding="utf-8"), workflow()
    assert "secrets." not in text
    assert "pull_request_target" not in text
    assert content["permissions"] == {"contents": "read"}
    assert "permissions" not in content["jobs"]["check"]
    for job in content["jobs"]:
        for step in steps(job):
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", step.get("uses", "a/b@v1"))
            assert "${{" not in step.get("run", ""), "text from outside reaches a shell as a variable alone"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
    commands = [step["run"] for step in steps("check") if "run" in step]
    assert not any("--project head" in command or "cd head" in command for command in commands)
