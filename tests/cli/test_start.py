"""Looking around is light: help and listings import nothing heavy (benchmarks/command_start.py has the seconds)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "pandas", "numpy", "pydantic", "rich")
PROBE = (
    "import json, sys; from mibench.cli.main import main; code = main(sys.argv[1:]); "
    f"print(json.dumps([code, [m for m in {HEAVY!r} if m in sys.modules]]), file=sys.stderr)"
)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["list"], ["list", "--json"], ["list", "defenses"], ["run", "--help"]]
)
def test_looking_around_is_light(arguments):
    done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []]


def test_the_installed_command_returns_exit_codes():
    done = subprocess.run(
        [sys.executable, "-m", "mibench.cli.main", "show", "defense", "atta"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Unknown defense 'atta'. Did you mean 'atat'?")
    assert done.stdout == ""
