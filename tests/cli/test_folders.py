"""Options that name folders, homes that are not there, and what is found without either."""

import errno
import os
import pwd
from pathlib import Path

import pytest

from mibench.cli.terminal import short_path


@pytest.mark.parametrize("option", ["--store", "--output", "--publish"])
def test_an_empty_name_is_refused_and_makes_no_folder(mibench, pretence, monkeypatch, tmp_path, option):
    monkeypatch.chdir(tmp_path)
    ended = mibench("run", option, "")
    assert ended.code == 2
    assert "expected a folder, got an empty" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["store", "output", "publish"])
@pytest.mark.parametrize("where", ["option", "matrix"])
def test_a_home_is_found_in_options_and_matrix_files(mibench, pretence, monkeypatch, tmp_path, field, where):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "matrix.yaml").write_text(f"{field}: ~/folder\n")
    words = [f"--{field}=~/folder"] if where == "option" else ["--matrix", str(tmp_path / "matrix.yaml")]
    assert mibench("run", "--dry-run", *words).code == 0
    assert getattr(pretence.requests[-1], field) == tmp_path / "folder"


def test_an_empty_name_in_a_matrix_file_is_refused(mibench, pretence, tmp_path):
    (tmp_path / "matrix.yaml").write_text("store: ''\n")
    ended = mibench("run", "--dry-run", "--matrix", str(tmp_path / "matrix.yaml"))
    assert ended.code == 2
    assert "expected a folder, got an empty" in ended.err


@pytest.fixture()
def homeless(monkeypatch):
    def unknown(_user):
        raise KeyError("no such user")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("MIBENCH_STORE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_without_a_home_paths_are_written_out(homeless, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "a") == "a"
    assert short_path(Path("/elsewhere/a")) == "/elsewhere/a"


def test_without_a_home_the_header_asks_for_a_store(mibench, pretence, homeless):
    ended = mibench("run", "--dry-run")
    assert ended.code == 2
    assert "Choose one with --store or MIBENCH_STORE" in ended.err
    assert mibench("run", "--dry-run", "--store", "/somewhere").code == 0


def test_without_a_home_the_doctor_says_what_to_do(homeless):
    from mibench.cli.checkup import check_store

    check = check_store(None)
    assert (check.name, check.status) == ("store", "broken")
    assert "--store" in check.fix


def test_a_folder_that_is_gone_has_no_short_name(monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert short_path(Path("a")) == "a"
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("code", "helps"), [(errno.ENOSPC, "Free some space"), (errno.EROFS, "Write to another disk")])
def test_what_a_disk_refuses_is_no_bug(mibench, pretence, code, helps):
    pretence.error = OSError(code, os.strerror(code), "board.csv")
    ended = mibench("run", "--quiet")
    assert ended.code == 1
    assert ended.err.startswith(f"Error: board.csv: {os.strerror(code)}. {helps}")
    assert "bug" not in ended.err
