"""Where an installed distribution came from: what others need to know to install it too."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit


class Origin(NamedTuple):
    """Where a distribution can be installed from.

    Attributes:
        distribution: its name.
        version: the installed one; empty if it is not installed.
        where: in words; never a path of this machine.
        public: whether that is a place that others can reach, as far as an installation tells.
        links: addresses that its project file names.
    """

    distribution: str
    version: str
    where: str
    public: bool
    links: tuple[str, ...] = ()


def origin_of(distribution: str, repository: Path) -> Origin:
    """Return where a distribution came from, as its installer noted it (PEP 610).

    Args:
        distribution: its name.
        repository: folder of the repository whose own distributions need no place of their own.
    """
    try:
        found = metadata.distribution(distribution)
        stated = json.loads(found.read_text("direct_url.json") or "null")
    except (metadata.PackageNotFoundError, ValueError):
        return Origin(distribution, "", "not installed here", public=False)
    links = tuple(dict.fromkeys(link for link in _links(found) if link.startswith(("https://", "http://"))))
    if not isinstance(stated, dict):
        return Origin(distribution, found.version, f"pip install {distribution}=={found.version}", True, links)
    return Origin(distribution, found.version, *_noted(stated, repository), links)


def _links(found: metadata.Distribution) -> list[str]:
    home = found.metadata.get_all("Home-page") or []
    urls = [line.partition(",")[2].strip() for line in found.metadata.get_all("Project-URL") or []]
    return [*map(str, home), *urls]


def _noted(stated: dict[str, Any], repository: Path) -> tuple[str, bool]:
    """Return what the note of an installer says, and whether others can reach it."""
    parts = urlsplit(str(stated.get("url", "")))
    if parts.scheme == "file":
        if Path(unquote(parts.path)).resolve().is_relative_to(repository.resolve()):
            return "in this repository", True
        return "a folder or file on the submitter's machine", False
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # no password
    version = stated.get("vcs_info")
    commit = f"@{version.get('commit_id', '')}" if isinstance(version, dict) else ""
    kind = f"{version.get('vcs', 'git')}+" if isinstance(version, dict) else ""
    return f"pip install {kind}{bare}{commit}", parts.scheme == "https"
