"""Folders that people name, with and without a home."""

import pwd
from pathlib import Path

import pytest

from mibench.api.errors import UsageError
from mibench.api.folders import home_folder, named_folder


@pytest.fixture()
def homeless(monkeypatch):
    """As in a container with a user that no file lists."""

    def unknown(_user):
        raise KeyError("no such user")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_home_is_found_without_a_shell(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_folder("~/store", "--store") == tmp_path / "store"
    assert named_folder(Path("~"), "--store") == tmp_path
    assert named_folder("a/~", "--store") == Path("a/~")
    assert home_folder() == tmp_path


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_no_folder(name):
    with pytest.raises(UsageError, match="--store: expected a folder, got an empty name"):
        named_folder(name, "--store")


def test_without_a_home(homeless):
    assert home_folder() is None
    assert named_folder("store", "--store") == Path("store")
    with pytest.raises(UsageError, match="--store: '~/store' begins with a home folder that is not known"):
        named_folder("~/store", "--store")
    with pytest.raises(UsageError, match="not known"):
        named_folder("~nobody-of-this-name/store", "--store")
