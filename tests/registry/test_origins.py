"""Where distributions came from, by the note of their installer (PEP 610), and what of it others are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mibench.registry.origins import origin_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SSH, THERE = "git+ssh://host.example/x@", "a folder or file on the submitter's machine"
VCS = {"url": "https://token:secret@host.example/me/mine.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}


@pytest.fixture()
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, stated: Any) -> None:
    folder = site / "some_defense-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: some-defense\nVersion: 1.2\nProject-URL: Source, https://host.example/me\n"
        "Project-URL: Bad, javascript:alert(1)\n"
    )
    if stated is not None:
        (folder / "direct_url.json").write_text(stated if isinstance(stated, str) else json.dumps(stated))


@pytest.mark.parametrize(
    ("stated", "where", "public"),
    [
        (None, "pip install some-defense==1.2", True),
        (VCS, f"pip install git+https://host.example/me/mine.git@{COMMIT}", True),
        ({"url": "https://host.example/x.whl", "archive_info": {}}, "pip install https://host.example/x.whl", True),
        ({"url": "ssh://git@host.example/x", "vcs_info": {"vcs": "git"}}, f"pip install {SSH}", False),
        ({"url": "file:///elsewhere/mine", "dir_info": {"editable": True}}, THERE, False),
        ({"url": "file:///repo%20of%20all/plugins/x", "dir_info": {}}, "in this repository", True),
        ("{", "not installed here", False),
    ],
    ids=["index", "git", "archive", "ssh", "folder", "own", "damaged"],
)  # fmt: skip
def test_the_note_of_the_installer_is_read(site: Path, stated: Any, where: str, public: bool) -> None:
    install(site, stated)
    made = origin_of("some-defense", Path("/repo of all"))
    assert (made.where, made.public) == (where, public)
    assert "secret" not in made.where
    assert "elsewhere" not in made.where
    if made.version:
        assert (made.version, made.links) == ("1.2", ("https://host.example/me",))


def test_what_is_not_installed_is_said_to_be(site: Path) -> None:
    assert origin_of("no-such-distribution", site).where == "not installed here"
