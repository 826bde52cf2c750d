"""A store of its own in which a bundle is measured: nothing of a bundle gets into the user's store, nor back."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from mibench.store.artifact import Artifact
from mibench.store.store import Store

PLACE = "regrade"


def place_in(store: Store) -> Path:
    """Return the folder below a store in which bundles are measured; made if need be."""
    place = store.root / PLACE
    place.mkdir(exist_ok=True)
    return place


def put(store: Store, artifact: Artifact) -> None:
    """Let a store hold an artifact of another place: its files are linked, or copied where that is impossible.

    Raises:
        OSError: if neither is possible.
    """
    home = store.root / "artifacts" / artifact.stage / artifact.key
    if home.exists():
        return
    home.parent.mkdir(parents=True, exist_ok=True)
    draft = home.parent / f".{artifact.key[:12]}.{secrets.token_hex(4)}"
    try:
        shutil.copytree(artifact.path, draft, copy_function=_link)
        draft.rename(home)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, place)
