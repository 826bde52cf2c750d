"""The folder of a run: new or chosen, never shared with a run that goes on, and explained when its disk is full."""

import errno
import os
from datetime import datetime
from pathlib import Path

import pytest

from mibench.api.errors import MibenchError, UsageError
from mibench.base.files import write_atomic
from mibench.session import output
from mibench.session.output import explaining, output_folder


@pytest.fixture()
def one_second(monkeypatch, tmp_path):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(output, "datetime", Clock)
    monkeypatch.chdir(tmp_path)


def test_runs_of_the_same_second_have_folders_of_their_own(one_second):
    with output_folder(None) as first, output_folder(None) as second:
        assert first == Path("mibench-runs/2026-01-02T03-04-05")
        assert second == Path("mibench-runs/2026-01-02T03-04-05_2")
    with output_folder(None) as third:
        assert third == Path("mibench-runs/2026-01-02T03-04-05_3")


def test_a_chosen_folder_is_one_run_s_while_it_goes_on_and_then_anybody_s(tmp_path):
    with output_folder(tmp_path / "a" / "b") as folder:
        (folder / "report.html").write_text("mine")
        with pytest.raises(UsageError, match="belongs to another run that still goes on"), output_folder(folder):
            pytest.fail("two runs wrote to one folder")
        with output_folder(tmp_path / "c"):
            pass
    with output_folder(tmp_path / "a" / "b") as folder:
        assert (folder / "report.html").read_text() == "mine"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match=r"cannot write to .*Choose another with --output"),
        output_folder(tmp_path / "file"),
    ):
        pytest.fail("a file is no folder")


@pytest.mark.parametrize("option", ["--output", "--publish"])
def test_a_full_disk_is_explained(tmp_path, monkeypatch, option):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    folders = {"--output": None, "--publish": None, option: tmp_path}
    with pytest.raises(MibenchError, match="No space left on device") as caught, explaining(folders):
        write_atomic(tmp_path / "records" / "a.json", "{}")
    assert f"choose another with {option}" in str(caught.value)
    assert "stays in the store" in str(caught.value)
    assert "MB free" in str(caught.value)
    assert caught.value.exit_code == 1


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), explaining({"--output": tmp_path / "output", "--publish": None}):
        (tmp_path / "elsewhere").read_text()


def test_work_that_is_done_survives_a_full_disk_for_results(toy_run, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "output" / "report.html"))

    with monkeypatch.context() as patch:
        patch.setattr("mibench.session.run.write_report", full)
        with pytest.raises(MibenchError, match=r"cannot write .*report\.html: No space left on device"):
            toy_run()
    again = toy_run()
    assert again.planned.to_run == []
    assert again.report.is_file()
