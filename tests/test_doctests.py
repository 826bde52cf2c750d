"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [ROOT / "mibench", *sorted(ROOT.glob("plugins/*/mibench_*"))]


def with_examples():
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                inside = path.relative_to(package.parent).with_suffix("").parts
                yield ".".join(part for part in inside if part != "__init__")


@pytest.mark.parametrize("module", list(with_examples()))
def test_examples(module):
    tried = doctest.testmod(importlib.import_module(module))
    assert tried.failed == 0
    assert tried.attempted > 0, "the examples stand where doctest does not look"


def test_every_package_can_be_walked():
    assert all(list(pkgutil.iter_modules([str(package)])) for package in PACKAGES)
