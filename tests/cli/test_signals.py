"""What the command line says when it is ended from outside."""

import signal

import click
import pytest

from mibench.cli import main as entry


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_answered_with_one_line_and_its_code(mibench, pretence, monkeypatch, number, code):
    def run(*_arguments):
        signal.raise_signal(number)

    monkeypatch.setattr("mibench.session.run.run", run)
    ended = mibench("run", "--quiet")
    assert ended.code == code
    assert ended.err == f"Ended by {number.name}. The same command continues where this one stopped.\n"
    assert ended.out == ""
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_terminal_that_is_gone_changes_nothing(mibench, pretence, monkeypatch):
    def gone(*_arguments, **_more):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(click, "echo", gone)
    monkeypatch.setattr("mibench.session.run.run", lambda *_: signal.raise_signal(signal.SIGHUP))
    assert entry.main(["run", "--quiet"]) == 129
