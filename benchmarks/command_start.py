"""How long the command line takes before it answers, in multiples of what an empty Python process takes.

``python benchmarks/command_start.py``: medians of alternating starts of processes, so that a busy machine slows both.
Listings and help import nothing heavy (``tests/cli/test_start.py``); the last line says what torch alone would add.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

ANSWERS = (["--help"], ["--version"], ["list"], ["list", "--json"], ["list", "defenses"], ["run", "--help"])
COMMANDS = {f"mibench {' '.join(words)}": ["-m", "mibench.cli.main", *words] for words in ANSWERS}


def seconds(arguments: Sequence[str]) -> float:
    """Return how long a Python process with these arguments lives."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    repetitions = parser.parse_args().repetitions
    print("| command | seconds | empty processes |\n|---|---|---|")
    for name, arguments in {**COMMANDS, "import torch": ["-c", "import torch"]}.items():
        pairs = [(seconds(arguments), seconds(["-c", "pass"])) for _ in range(repetitions)]
        own, empty = (median(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {own:.2f} | {own / empty:.1f} |")


if __name__ == "__main__":
    main()
