"""Commands leave files only where the documentation says, and talk to nobody."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

WATCH = """
import os, sys
def _tell(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"}:
        with open(os.environ["CONNECTIONS"], "a") as log:
            log.write(f"{event} {arguments[:2]}\\n")
sys.addaudithook(_tell)
"""
SMOKE = ["run", "--protocol", "smoke", "-d", "none", "--device", "cpu"]


def command(*arguments):
    return [sys.executable, "-m", "mibench", *arguments]


CASES = {
    "list": command("list"),
    "show": command("show", "attack", "ppa"),
    "doctor": command("doctor"),
    "embedder": [sys.executable, "-c", "import mibench_models.sface, kornia, opacus, pyautoattack, torchvision"],
    "run": command(*SMOKE, "--executor", "local", "--workers", "1"),
}


@pytest.mark.parametrize("case", [*list(CASES)[:-1], pytest.param("run", marks=pytest.mark.slow)])
def test_a_command_leaves_no_traces_and_makes_no_connection(case, tmp_path):
    home, site, here = (tmp_path / name for name in ("home", "site", "here"))
    for folder in (home, site, here):
        folder.mkdir()
    (site / "sitecustomize.py").write_text(WATCH)
    connections = tmp_path / "connections"
    unset = {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MIBENCH_STORE", "ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK"}
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {
        "HOME": str(home),
        "CONNECTIONS": str(connections),
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        "MIBENCH_STORE": str(tmp_path / "store"),
    }
    ended = subprocess.run(CASES[case], cwd=here, env=environment, capture_output=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    files = {path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir()}
    assert {name for name in files if not name.startswith(".cache/mibench/plugins/")} == set()
    assert {path.name for path in here.iterdir()} <= {"mibench-runs"}
    assert not connections.exists(), connections.read_text()


def test_the_watch_sees_a_connection(tmp_path):
    """Else the tests above would prove nothing."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    code = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CONNECTIONS": str(tmp_path / "log")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert "socket.connect" in (tmp_path / "log").read_text()
