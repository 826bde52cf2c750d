"""Descriptors in a process of their own: what is an answer, what is not, and that all is as before afterwards."""

import io
import os
import subprocess
import sys

import pytest

from mibench.execute.streams import answer, aside

DIVIDED = """
import os
from mibench.execute.streams import divided
os.write(1, b"before\\n")
with divided(for_good=False):
    print("answer")
    os.write(1, b"a library's noise\\n")
print("after", flush=True)
os.write(1, b"and after\\n")
os.write(2, b"stderr\\n")
"""
LOST = """
import sys
from mibench.execute.streams import divided
with divided(for_good=False):
    for _ in range(3):
        print("x" * 100_000, file=sys.stderr)
print("reached the end")
"""


def test_descriptors_are_as_before_after_a_division():
    done = subprocess.run([sys.executable, "-c", DIVIDED], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nanswer\nafter\nand after\n"
    assert done.stderr == "a library's noise\nstderr\n"


def test_a_closed_stderr_stops_nothing():
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-c", LOST]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=write, text=True, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stdout) == (0, "reached the end\n")


def test_the_answer_is_the_stream_that_was_there_before_it_stood_aside(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with aside():
        sys.stdout.write("noise\n")
        with aside():
            print("answer", file=answer())
        print("more", file=answer())
    print("end", file=answer())
    assert answer() is sys.stdout
    assert (out.getvalue(), err.getvalue()) == ("answer\nmore\nend\n", "noise\n")
    other = io.StringIO()
    monkeypatch.setattr(sys, "stdout", other)
    assert answer() is other


@pytest.mark.parametrize(("closed", "out"), [("1>&-", ""), ("2>&-", "reached the end\n"), ("1>&- 2>&-", "")])
def test_closed_streams_are_no_reason_to_stop(closed, out, tmp_path):
    program = LOST + "\nopen('ended', 'w').close()"
    command = ["bash", "-c", f'"$0" -c "$1" {closed}', sys.executable, program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == out
    assert (tmp_path / "ended").exists()
