"""Looking around is quick: help and listings import nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "torchvision", "pandas", "numpy", "pydantic", "rich")
PROBE = (
    "import json, sys; from mibench.cli.main import main; code = main(sys.argv[1:]); "
    f"print(json.dumps([code, [m for m in {HEAVY!r} if m in sys.modules]]), file=sys.stderr)"
)
BUDGET_S = 1.5
"""Three times what is promised for a quiet machine, because tests run on busy ones."""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["list"], ["list", "--json"], ["list", "defenses"], ["run", "--help"]]
)
def test_looking_around_is_light_and_quick(arguments, record_property):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] < BUDGET_S:
            break
    code, imported = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert imported == []
    record_property("seconds", round(min(seconds), 3))
    assert min(seconds) < BUDGET_S, f"{arguments} took {min(seconds):.2f} s"


def test_the_installed_command_returns_exit_codes():
    done = subprocess.run(
        [sys.executable, "-m", "mibench.cli.main", "show", "defense", "atta"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Unknown defense 'atta'. Did you mean 'atat'?")
    assert done.stdout == ""
