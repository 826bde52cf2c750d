"""What the check of text files refuses, and that the files of this repository pass."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/check_text_files.py"


def check(*files, folder=ROOT):
    command = [sys.executable, str(SCRIPT), *map(str, files)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.py", b"x = 1 \n", "a.py:1: space at the end"),
        ("a.py", b"x = 1", "one newline at the end"),
        ("a.py", b"x = 1\n\n", "one newline at the end"),
        ("a.py", b"x = 1\r\n", "Windows line ends"),
        ("a.md", b"<<<<<<< ours\n", "a.md:1: a conflict"),
        ("a.toml", b"x = \n", "cannot be read"),
        ("a.yaml", b"x: [1\n", "cannot be read"),
        ("a.txt", b"x" * 2**20 + b"\n", "expected at most"),
    ],
)
def test_it_refuses(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    ended = check(name, folder=tmp_path)
    assert ended.returncode == 1
    assert message in ended.stdout


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.py", b""),
        ("a.py", b"x = 1\n"),
        ("a.png", b"\r\n\r\n"),
        ("a.yaml", b"a: 1\n---\nb: 2\n"),
        ("a.toml", b"x = 1\n"),
    ],
)
def test_it_accepts(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    ended = check(name, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_this_repository_passes():
    if not (ROOT / ".git").exists():
        pytest.skip("not a working copy of the repository")
    ended = check()
    assert ended.stdout == ""
    assert ended.returncode == 0
