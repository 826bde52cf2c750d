"""Records, boards and reports work where torch and pandas are absent."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

CODE = """
import importlib, sys
for name in ("torch", "torchvision", "pandas"):
    sys.modules[name] = None
for name in ("mibench.report", "mibench.results.flags", "mibench.leaderboard", "mibench.exchange", "mibench.site"):
    importlib.import_module(name)
"""


def test_import_without_torch_and_pandas() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=300)


def test_the_template_is_part_of_the_package() -> None:
    assert files("mibench.report").joinpath("templates/report.html").is_file()
    assert version("jinja2")
