"""A leaderboards folder as it was: in another folder, or at a commit, branch or tag of its git repository."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mibench.api.errors import UsageError

SECONDS = 120


class Earlier(NamedTuple):
    """An earlier state.

    Attributes:
        name: what it was asked for by.
        files: content by path below the leaderboards folder, with slashes.
    """

    name: str
    files: Mapping[str, bytes]


def earlier_state(asked: str, folder: Path) -> Earlier:
    """Read an earlier state of a leaderboards folder.

    Args:
        asked: a folder that exists, else what git calls a commit: ``main``, ``origin/main``, ``HEAD~1``, ``v1.0``.
        folder: the leaderboards folder now; for git, it lies in a repository.

    Raises:
        UsageError: if there is neither.
    """
    if Path(asked).is_dir():
        return Earlier(asked, _in_folder(Path(asked)))
    return Earlier(asked, _in_git(asked, folder))


def _in_folder(root: Path) -> dict[str, bytes]:
    found = root.glob("*/*/**/*")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found if path.is_file()}


def _in_git(asked: str, folder: Path) -> dict[str, bytes]:
    if asked.startswith("-"):
        raise UsageError(f"--against {asked!r}: expected a folder, or a commit, branch or tag")
    below = os.fsdecode(_git(folder, "rev-parse", "--show-prefix")).rstrip("\n")
    try:
        commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{asked}^{{commit}}")
    except UsageError:
        raise UsageError(
            f"--against {asked!r}: no such folder, and no commit, branch or tag of the git repository around {folder}."
            " In a shallow clone, fetch it first: git fetch origin main"
        ) from None
    name = f"{commit.decode().strip()}:{below.rstrip('/')}"
    try:
        _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    except UsageError:
        return {}  # the folder is younger than that commit
    top = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel")).rstrip("\n"))
    return _committed(top, name)


def _committed(top: Path, tree: str) -> dict[str, bytes]:
    """Return the files of a tree as they were committed: attributes leave none out and change none.

    Links, and repositories within the repository, are no files.
    """
    objects = {}
    for line in _git(top, "ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]:
        told, _, path = line.partition(b"\t")
        mode, _, name = told.split()
        if mode.startswith(b"100"):
            objects[os.fsdecode(path)] = name
    asked = list(dict.fromkeys(objects.values()))
    answer = io.BytesIO(_git(top, "cat-file", "--batch", given=b"".join(name + b"\n" for name in asked)))
    content = {name: _blob(answer, name.decode()) for name in asked}
    return {path: content[name] for path, name in objects.items()}


def _blob(answer: io.BytesIO, name: str) -> bytes:
    """Read the next object from what ``git cat-file --batch`` answered: a line that ends with its size, its content."""
    told = answer.readline().split()
    if told[1:2] != [b"blob"]:
        raise UsageError(f"--against: the git repository lacks the object {name}; fetch it first: git fetch origin")
    return answer.read(int(told[2]) + 1)[:-1]


def _git(folder: Path, *words: str, given: bytes = b"") -> bytes:
    """Return what git answers to words and what it is given.

    Raises:
        UsageError: if it is not installed, or says no.
    """
    program = shutil.which("git")
    if program is None:
        raise UsageError("--against a commit needs git, which was not found; give a folder with the earlier state")
    asked = [program, "-C", str(folder.resolve()), *words]
    done = subprocess.run(asked, input=given, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603 - git
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(f"git {words[0]} in {folder}: {said[0] if said else 'failed'}")
    return done.stdout
