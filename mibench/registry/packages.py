"""Where installed packages lie and what their sources are, found without importing anything heavy."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_PLACE = re.compile(r"[A-Za-z_][\w.]*:[^:]+")


def path_inside(place: object) -> Path | None:
    """Resolve ``"package:path"``; ``None`` unless it names a file or folder inside that installed package."""
    if not isinstance(place, str) or not _PLACE.fullmatch(place):
        return None
    package, _, inside = place.partition(":")
    for base in package_folders(package):
        path = (base / inside).resolve()
        if path.exists() and path.is_relative_to(base.resolve()):
            return path
    return None


def package_folders(package: str) -> list[Path]:
    """Return the folders of an installed package; empty if it is not a package or not installed."""
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(place) for place in (found.submodule_search_locations or [])] if found else []


def installed_distributions() -> list[str]:
    """Return name, version and time of installation of every distribution, without reading any of them."""
    found = set()
    for entry in filter(None, sys.path):
        with contextlib.suppress(OSError):
            found |= {
                f"{item.name} {item.stat().st_mtime_ns}"
                for item in os.scandir(entry)
                if item.name.endswith((".dist-info", ".egg-info"))
            }
    return sorted(found)


def digest_of_sources(modules: Iterable[str]) -> str:
    """Return one sha256 over the Python sources of the top packages of these modules."""
    return _digest(tuple(sorted({module.partition(".")[0] for module in modules})))


@cache
def _digest(packages: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for package in packages:
        for name, path in sorted(sources_of(package)):
            content = path.read_bytes()
            total.update(f"{name}\0{len(content)}\0".encode())
            total.update(content)
    return total.hexdigest()


def sources_of(package: str) -> list[tuple[str, Path]]:
    """Return the Python files of a top package, each with its path from that package; a plain module has one."""
    folders = package_folders(package)
    if folders:
        return [
            (f"{package}/{path.relative_to(folder).as_posix()}", path)
            for folder in folders
            for path in folder.rglob("*.py")
        ]
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        return []
    is_file = found is not None and found.origin is not None and found.origin.endswith(".py")
    return [(f"{package}.py", Path(found.origin))] if is_file and found and found.origin else []
