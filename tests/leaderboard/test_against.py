"""A board against an earlier state, in a git repository that the test makes: nothing vanishes silently."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, make_record

from mibench.api.errors import UsageError
from mibench.leaderboard import add_records
from mibench.leaderboard.against import changed_since, published
from mibench.leaderboard.chosen import chosen_entries
from mibench.leaderboard.earlier import earlier_state
from mibench.leaderboard.withdraw import withdraw
from mibench.results.io import load_record, save_record

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
TEXTS = {"tiny@1.0": PROTOCOL_TEXT}
SAID = {"reason": "wrong data", "by": "A. Referee", "date": "2026-11-29"}
ENTRY = "tiny/1.0/entries/atat/"


def git(folder: Path, *words: str) -> str:
    own = [
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "core.autocrlf=false",
    ]
    return subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture()
def boards(tmp_path: Path) -> Path:
    """Return the leaderboards folder of a repository whose branch ``main`` has two entries."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet")
    (repository / "README.md").write_text("a repository")
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "-m", "first")
    folder = repository / "leaderboards"
    add_records([save_record(make_record(seed=seed), tmp_path / "run") for seed in (0, 1)], folder, TEXTS)
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "-m", "two entries")
    return folder


def entry(boards: Path, seed: int = 0) -> Path:
    return next(path for path in (boards / ENTRY).iterdir() if load_record(path).cell.seed == seed)


def found(boards: Path, against: str = "main") -> list[tuple[str, str]]:
    return [(one.path.relative_to(boards).as_posix(), finding.id)
            for one in changed_since(earlier_state(against, boards), boards) for finding in one.findings]  # fmt: skip


def delete(boards: Path) -> None:
    entry(boards).unlink()


def edit(boards: Path) -> None:
    path = entry(boards)
    path.write_text(path.read_text(encoding="utf-8").replace("mibench run", "mibench walk"), encoding="utf-8")


def thaw(boards: Path) -> None:
    path = boards / "tiny/1.0/protocol.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("[0, 1, 2]", "[0, 1]"), encoding="utf-8")


def raze(boards: Path) -> None:
    shutil.rmtree(boards / "tiny")


def reformat(boards: Path) -> None:
    path = entry(boards)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (boards / "tiny/1.0/protocol.yaml").write_text("# a comment\n" + PROTOCOL_TEXT, encoding="utf-8")
    (boards / "tiny/1.0/board.csv").write_text("")


def add(boards: Path) -> None:
    add_records([save_record(make_record(seed=2), boards.parent.parent / "more")], boards)


def take(boards: Path) -> None:
    [(board, entries)] = chosen_entries([str(entry(boards))], boards).items()
    withdraw(boards, board, entries, **SAID)


def take_and_replace(boards: Path) -> None:
    old = load_record(entry(boards))
    take(boards)
    mended = make_record(leakage=0.4, key=old.cell.key)
    add_records([save_record(mended, boards.parent.parent / "mended")], boards)
    assert entry(boards).is_file()


@pytest.mark.parametrize(
    ("change", "expected"),
    [(delete, ["MB820"]), (edit, ["MB821"]), (thaw, ["MB822"]), (raze, ["MB820", "MB820", "MB822"]),
     (reformat, []), (add, []), (take, []), (take_and_replace, [])],
    ids=lambda value: getattr(value, "__name__", None) or "-".join(value) or "nothing",
)  # fmt: skip
def test_changes_since_a_branch(boards: Path, change: Callable[[Path], None], expected: list[str]) -> None:
    change(boards)
    assert [rule for _, rule in found(boards)] == expected
    git(boards, "add", "-A")
    git(boards, "commit", "--quiet", "--allow-empty", "-m", "changed")
    assert found(boards, "main") == []
    assert [rule for _, rule in found(boards, "HEAD~1")] == expected


def test_a_withdrawal_does_not_vanish_either(boards: Path) -> None:
    take(boards)
    git(boards, "add", "-A")
    git(boards, "commit", "--quiet", "-m", "withdrawn")
    [folder] = (boards / "tiny/1.0/withdrawn").iterdir()
    notice, [record] = folder / "notice.json", list((folder / "entries").rglob("*.json"))
    text = notice.read_text(encoding="utf-8")
    notice.write_text(text.replace("wrong data", "no reason"), encoding="utf-8")
    assert [rule for _, rule in found(boards)] == ["MB823"]
    notice.write_text(text, encoding="utf-8")
    content = record.read_bytes()
    record.unlink()
    assert [rule for _, rule in found(boards)] == ["MB823"]
    record.write_bytes(content)
    shutil.rmtree(folder)
    assert [rule for _, rule in found(boards)] == ["MB823", "MB823"]


def test_an_attestation_does_not_vanish_either(boards: Path) -> None:
    said = boards / "tiny/1.0/attestations/2026-01-02-ran-01234567.json"
    said.parent.mkdir()
    said.write_text('{"by": "somebody"}', encoding="utf-8")
    git(boards, "add", "-A")
    git(boards, "commit", "--quiet", "-m", "attested")
    assert found(boards) == []
    said.write_text('{"by": "nobody"}', encoding="utf-8")
    assert [rule for _, rule in found(boards)] == ["MB824"]
    said.unlink()
    assert [rule for _, rule in found(boards)] == ["MB824"]


@pytest.mark.parametrize("where", [".gitattributes", "leaderboards/.gitattributes", ".git/info/attributes"])
def test_attributes_hide_nothing_and_change_nothing(boards: Path, where: str) -> None:
    whole = earlier_state("main", boards).files
    before = {name: content for name, content in whole.items() if name.startswith("tiny/")}
    (boards / ENTRY / "plain.json").write_bytes(b'{"a": "$Format:%H$ $Id$"}\n')
    place = boards.parent / where
    place.parent.mkdir(exist_ok=True)
    place.write_text("* export-ignore export-subst ident text eol=crlf\n", encoding="utf-8")
    git(boards, "add", "-A")
    git(boards, "commit", "--quiet", "-m", "attributes")
    files = earlier_state("main", boards).files
    assert before
    assert {name: files[name] for name in before} == before
    assert files[ENTRY + "plain.json"] == b'{"a": "$Format:%H$ $Id$"}\n'
    delete(boards)
    assert "MB820" in [rule for _, rule in found(boards)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_odd_names_are_read_and_links_and_foreign_repositories_are_not(boards: Path, tmp_path: Path) -> None:
    odd = ["a\nb.json", 'q"\t.json', "ä ö.json", "-x.json", os.fsdecode(b"\xff.json")]
    for name in odd:
        (boards / ENTRY / name).write_text(repr(name), encoding="utf-8")
    (tmp_path / "secret").write_text("outside", encoding="utf-8")
    (boards / ENTRY / "link.json").symlink_to(tmp_path / "secret")
    (boards / ENTRY / "folder").symlink_to(tmp_path)
    (boards / ENTRY / "empty.json").write_bytes(b"")
    other = boards / "tiny/1.0/entries/other"
    other.mkdir()
    git(other, "init", "--quiet")
    (other / "own.json").write_text("{}")
    git(other, "add", "-A")
    git(other, "commit", "--quiet", "-m", "foreign")
    git(boards, "add", "-A")
    git(boards, "commit", "--quiet", "-m", "odd")
    files = earlier_state("main", boards).files
    assert {name: files.get(ENTRY + name) for name in odd} == {name: repr(name).encode() for name in odd}
    assert files[ENTRY + "empty.json"] == b""
    assert not [name for name in files if "link" in name or "folder" in name or "other" in name]


def test_a_missing_object_is_told(boards: Path) -> None:
    name = git(boards, "rev-parse", "main:leaderboards/tiny/1.0/protocol.yaml").strip()
    (boards.parent / ".git/objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(UsageError, match=f"lacks the object {name}; fetch it"):
        earlier_state("main", boards)


def test_a_folder_is_an_earlier_state_too(boards: Path, tmp_path: Path) -> None:
    shutil.copytree(boards, tmp_path / "before")
    delete(boards)
    assert [rule for _, rule in found(boards, str(tmp_path / "before"))] == ["MB820"]


def test_an_earlier_state_without_boards_is_empty(boards: Path) -> None:
    state = earlier_state("HEAD~1", boards)
    assert published(state) == 0
    assert published(earlier_state("main", boards)) == 2
    assert found(boards, "HEAD~1") == []


@pytest.mark.parametrize("asked", ["no-such-branch", "--upload-pack=x", "main:README.md"])
def test_what_is_no_state_is_refused(boards: Path, asked: str) -> None:
    with pytest.raises(UsageError, match="--against"):
        earlier_state(asked, boards)


def test_outside_of_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "alone").mkdir()
    with pytest.raises(UsageError, match="not a git repository"):
        earlier_state("main", tmp_path / "alone")
