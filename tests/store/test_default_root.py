"""Where the store is, if nobody says."""

import pwd
from pathlib import Path

import pytest

from mibench.api.errors import UsageError
from mibench.store.store import default_root


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.delenv("MIBENCH_STORE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, ".cache/mibench"),
        ({"MIBENCH_STORE": "~/store"}, "store"),
        ({"MIBENCH_STORE": ""}, ".cache/mibench"),
        ({"MIBENCH_STORE": "  "}, ".cache/mibench"),
        ({"XDG_CACHE_HOME": "~/cache"}, "cache/mibench"),
        ({"XDG_CACHE_HOME": ""}, ".cache/mibench"),
        ({"XDG_CACHE_HOME": "not/absolute"}, ".cache/mibench"),
    ],
)
def test_variables(monkeypatch, tmp_path, variables, folder):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_root() == tmp_path / folder


def test_without_a_home_another_folder_is_asked_for(monkeypatch):
    def unknown(_user):
        raise KeyError("no such user")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UsageError, match="Choose one with --store or MIBENCH_STORE"):
        default_root()
    monkeypatch.setenv("MIBENCH_STORE", "/data/store")
    assert default_root() == Path("/data/store")
