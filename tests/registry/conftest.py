"""Fake distributions on ``sys.path``, as pip would leave them."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., str]

GOOD = """
    from mibench.api import DefenseSpec, hookimpl

    @hookimpl
    def mibench_defenses():
        yield DefenseSpec(name="good", factory="{module}_defense:Good", summary="works")
"""


@pytest.fixture()
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture()
def install(site: Path) -> Install:
    """Return ``install(distribution, source, **other modules)``, which gives the name of the plugin's module."""

    def _install(distribution: str, source: str, *, entry: str | None = None, **others: str) -> str:
        module = f"fake_{distribution.replace('-', '_')}"
        (site / f"{module}.py").write_text(textwrap.dedent(source.replace("{module}", module)))
        for name, text in others.items():
            (site / f"{module}_{name}.py").write_text(textwrap.dedent(text))
        info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry or f"[mibench]\nplugin = {module}\n")
        importlib.invalidate_caches()
        return module

    return _install


@pytest.fixture()
def good(install: Install) -> str:
    return install("good-dist", GOOD, defense="class Good:\n    pass\n")
