"""Refuse text files with spaces at line ends, without a last newline, with Windows line ends, or that cannot be read.

Usage: python scripts/check_text_files.py [FILE...]      (all files that git knows by default)
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

SUFFIXES = {".cff", ".cfg", ".css", ".html", ".ini", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
NAMES = {".editorconfig", ".gitignore", "LICENSE", "justfile", "run"}
LARGEST = 2**20


def problems(path: Path) -> Iterator[str]:
    """Yield what is wrong with a file, a sentence each."""
    data = path.read_bytes()
    if path.suffix not in SUFFIXES and path.name not in NAMES:
        return
    if len(data) > LARGEST:
        yield f"{path}: {len(data)} bytes of text; expected at most {LARGEST}"
    if b"\r" in data:
        yield f"{path}: Windows line ends; expected plain newlines"
    if data and (not data.endswith(b"\n") or data.endswith(b"\n\n")):
        yield f"{path}: expected one newline at the end"
    for number, line in enumerate(data.split(b"\n"), 1):
        if line != line.rstrip():
            yield f"{path}:{number}: space at the end of the line"
        if line.startswith((b"<<<<<<< ", b">>>>>>> ")):
            yield f"{path}:{number}: a conflict that nobody resolved"
    try:
        if path.suffix == ".toml":
            tomllib.loads(data.decode())
        elif path.suffix in {".yaml", ".yml", ".cff"}:
            list(yaml.safe_load_all(data))
    except (ValueError, yaml.YAMLError) as error:
        yield f"{path}: cannot be read: {error}"


def main(names: list[str]) -> int:
    """Print what is wrong and return the exit code."""
    if not names:
        listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True).stdout.decode()
        names = [name for name in listed.split("\0") if name]
    files = [path for name in names if (path := Path(name)).is_file() and not path.is_symlink()]
    found = [problem for path in files for problem in problems(path)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
