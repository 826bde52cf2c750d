"""Standard output carries the answer and nothing else, and no stream that is closed, narrow or deaf fails a command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mibench.cli.main import main
from mibench.execute.streams import SPELL, answer, aside, divided

MIBENCH = [sys.executable, "-m", "mibench"]

NOISE = """
import atexit, os, subprocess, sys
def noise(word):
    print("print", word, flush=True)
    sys.__stdout__.write(f"dunder {word}\\n")
    os.write(1, f"raw {word}\\n".encode())
    subprocess.run([sys.executable, "-c", f"print('child {word}')"], check=True)
"""
WAYS = ["child", "dunder", "print", "raw"]

PLUGIN = (
    NOISE
    + """
from mibench.api import DatasetSpec, hookimpl
noise("import")
@hookimpl
def mibench_datasets():
    noise("hook")
    yield DatasetSpec(name="loud", factory="fake_loud.part:Loud", summary="s")
"""
)
PART = """
from dataclasses import dataclass
from fake_loud import atexit, noise
noise("factory")
atexit.register(print, "print exit")
@dataclass(frozen=True, kw_only=True)
class Loud:
    def missing(self):
        noise("work")
        return []
"""

PRETENCE = (
    NOISE
    + """
from types import ModuleType, SimpleNamespace
from mibench.cli.main import main
def run(request, registry, plan=None):
    noise("stage")
    return SimpleNamespace(records=[], record_paths=[], failures=[("a cell", "sad")], planned=plan, report=None,
                           published=[], exit_code=1)
pretended = ModuleType("mibench.session.run")
pretended.run = run
pretended.plan_request = lambda request, registry: SimpleNamespace(
    protocol_ids=["toy@1"], cells=[], nodes=[], machines=[], resources={}, missing=[], unlisted_seeds=[]
)
sys.modules["mibench.session.run"] = pretended
sys.exit(main())
"""
)


def call(arguments, *, shell=None, **variables):
    """Run a command, by way of a shell if ``shell`` says how; return the ended process."""
    environment = {**os.environ, **variables}
    command = ["sh", "-c", shell, "sh", *arguments] if shell else arguments
    return subprocess.run(command, capture_output=True, env=environment, timeout=300)


@pytest.fixture()
def loud(tmp_path):
    """A plugin that writes wherever it can; return the path to put on ``PYTHONPATH``."""
    package = tmp_path / "fake_loud"
    package.mkdir()
    (package / "__init__.py").write_text(PLUGIN)
    (package / "part.py").write_text(PART)
    info = tmp_path / "fake_loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mibench]\nloud = fake_loud\n")
    return os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])


def test_a_plugin_that_prints_spoils_no_listing(loud):
    ended = call([*MIBENCH, "list", "datasets", "--json"], PYTHONPATH=loud)
    assert "loud" in {entry["name"] for entry in json.loads(ended.stdout)["components"]}
    said = {line for line in ended.stderr.decode().splitlines() if line.endswith(("import", "hook"))}
    assert said == {f"{way} {when}" for way in WAYS for when in ("import", "hook")}


def test_what_a_component_prints_while_it_works_or_at_exit_goes_to_stderr(loud):
    ended = call([*MIBENCH, "data", "prepare", "loud"], PYTHONPATH=loud)
    assert ended.stdout == b"loud: ready, nothing is missing\n", ended.stderr
    said = set(ended.stderr.decode().splitlines())
    assert {f"{way} {when}" for way in WAYS for when in ("factory", "work")} | {"print exit"} <= said


def test_a_run_whose_stages_print_answers_in_pure_json(tmp_path):
    script = tmp_path / "pretence.py"
    script.write_text(PRETENCE)
    ended = call([sys.executable, str(script), "run", "--json", "-d", "none"])
    assert json.loads(ended.stdout)["failures"] == [{"stage": "a cell", "error": "sad"}]
    assert {f"{way} stage" for way in WAYS} <= set(ended.stderr.decode().splitlines())
    assert ended.returncode == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(closed):
    for arguments, code in [(["list", "executors"], 0), (["list", "nonsense"], 2)]:
        ended = call([*MIBENCH, *arguments], shell=f'"$@" {closed}')
        assert ended.returncode == code
        assert b"Traceback" not in ended.stderr
        assert (b"inline" in ended.stdout) == (code == 0 and ">&-" not in closed.replace("2>&-", ""))


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_components_that_write_work_without_streams(loud, closed):
    ended = call([*MIBENCH, "data", "prepare", "loud"], shell=f'"$@" {closed}', PYTHONPATH=loud)
    assert ended.returncode == 0


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """Else what a library prints would be written into the first file that is opened."""
    script = tmp_path / "opens.py"
    script.write_text(
        "import os, sys\nfrom mibench.execute.streams import divided\nwith divided(for_good=True):\n"
        "    mine = open(sys.argv[1], 'w')\n    os.write(1, b'noise')\n    os.write(2, b'noise')\n"
        "    mine.write('mine')\n"
    )
    call([sys.executable, str(script), str(tmp_path / "file")], shell='"$@" <&- >&- 2>&-')
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "ascii:strict", "cp437"])
def test_characters_that_the_encoding_lacks_are_spelled(tmp_path, encoding):
    script = tmp_path / "prints.py"
    script.write_text(
        "import sys\nfrom mibench.cli.terminal import echo, note\nfrom mibench.execute.streams import divided\n"
        "with divided(for_good=True):\n    echo('a · b ↓ ε=.1 ± 2 × ∇ \\udcff')\n    note('ε ↓ …')\n"
    )
    ended = call([sys.executable, str(script)], PYTHONIOENCODING=encoding)
    assert ended.returncode == 0, ended.stderr
    codec = encoding.partition(":")[0]
    shown = ended.stdout.decode(codec).rstrip("\r\n")
    assert len(shown) == len("a · b ↓ ε=.1 ± 2 × ∇ ?")
    assert shown.endswith("? ?")
    if codec == "ascii":
        assert shown == "a . b v e=.1 ~ 2 x ? ?"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("arguments", [["list"], ["show", "protocol", "smoke"], ["--help"], ["run", "--help"]])
def test_commands_work_on_legacy_code_pages(arguments, encoding):
    ended = call([*MIBENCH, *arguments], PYTHONIOENCODING=encoding, LANG="C", LC_ALL="C")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.decode(encoding)


def test_a_reader_of_the_answer_that_goes_away_is_no_error():
    ended = call([*MIBENCH, "list"], shell='("$@"; echo $? >&2) | head -n 1')
    assert ended.stdout.startswith(b"plugins (")
    assert ended.stderr.split() == [b"0"]


def test_a_reader_of_the_messages_that_goes_away_stops_no_run(tmp_path):
    """Half of the messages have nobody to go to; the answer and the exit code are as ever."""
    script = tmp_path / "pretence.py"
    script.write_text(PRETENCE)
    shell = f'("$@" 3>&1 1>&3 2>&1 >"{tmp_path}/answer"; echo $? >"{tmp_path}/code") | true'
    call([sys.executable, str(script), "run", "--json", "-d", "none"], shell=shell)
    assert json.loads((tmp_path / "answer").read_text())["exit_code"] == 1
    assert (tmp_path / "code").read_text().strip() == "1"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_answer_that_cannot_be_written_is_an_error_with_a_reason():
    ended = call([*MIBENCH, "list"], shell='"$@" >/dev/full')
    assert ended.returncode == 1
    assert ended.stderr.decode() == "Error: The answer cannot be written to standard output: No space left on device.\n"


@pytest.mark.parametrize("module", ["typing", "inspect", "click", "json", "importlib", "random", "torch"])
def test_names_in_the_working_folder_shadow_nothing(module, tmp_path, monkeypatch):
    if module == "importlib":
        (tmp_path / module).mkdir()
        (tmp_path / module / "metadata.py").write_text("raise SystemExit('shadow')")
    else:
        (tmp_path / f"{module}.py").write_text("raise SystemExit('shadow')")
    monkeypatch.chdir(tmp_path)
    ended = call([*MIBENCH, "list", "executors"])
    assert b"inline" in ended.stdout, ended.stderr


def test_in_process_the_streams_of_the_caller_come_back(capsys):
    before = sys.stdout, sys.stderr
    assert main(["list", "executors"]) == 0
    assert (sys.stdout, sys.stderr) == before
    assert "inline" in capsys.readouterr().out


def test_what_is_printed_aside_is_not_in_the_answer(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with divided(for_good=False), aside(), aside():
        sys.stdout.write("noise\n")
        answer().write("answer\n")
    assert (out.getvalue(), err.getvalue()) == ("answer\n", "noise\n")


def test_the_spelling_keeps_every_column():
    text = "é Ł ’quoted’ – ∞ 猫"
    assert text.encode("ascii", SPELL) == b"e ? 'quoted' - ? ?"
