"""``mibench data import-NAME``: commands come from what is installed, and listing imports none of it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from mibench.api.hookspecs import hookimpl
from mibench.api.specs import ImporterSpec
from mibench.registry.registry import Registry

PART = """
    from mibench.api import DataError, Imported, Importer

    class Copy(Importer):
        def run(self, source, folder):
            if not source.is_file():
                raise DataError(f"{source} does not exist. Give the path of a note.")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "note.txt").write_text(source.read_text())
            return Imported(folder, "a note", ("read it",))
"""


class Plugin:
    @hookimpl
    def mibench_importers(self):
        yield ImporterSpec(name="note", factory="tiny_importer:Copy", summary="copy FILE, a note")


@pytest.fixture()
def notes(tmp_path, monkeypatch):
    """Install an importer, and make a fresh home folder."""
    (tmp_path / "tiny_importer.py").write_text(textwrap.dedent(PART))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    registry = Registry.from_modules(Plugin())
    assert not registry.failures
    for place in ("imports", "list"):
        monkeypatch.setattr(f"mibench.cli.{place}.load_registry", lambda: registry)
    note = tmp_path / "hello.txt"
    note.write_text("hello")
    yield note
    sys.modules.pop("tiny_importer", None)


def test_the_command_is_listed_without_importing_it(mibench, notes):
    shown = mibench("data", "--help")
    assert shown.code == 0 and "import-note" in shown.out and "Copy FILE, a note." in shown.out
    assert "verify" in shown.out
    assert "importers (1)" in mibench("list", "importers").out
    assert mibench("data", "import-note", "--help").code == 0
    assert "tiny_importer" not in sys.modules
    (row,) = json.loads(mibench("list", "importers", "--json").out)["components"]
    assert (row["kind"], row["factory"]) == ("importer", "tiny_importer:Copy")


def test_it_writes_where_it_is_told_and_says_how_to_use_it(mibench, notes, tmp_path):
    shown = mibench("data", "import-note", str(notes), "--output", str(tmp_path / "out"))
    assert shown.code == 0, shown.err
    assert (tmp_path / "out" / "note.txt").read_text() == "hello"
    assert [line.split()[0] for line in shown.out.splitlines()] == ["found", "wrote", "use"]
    assert str(tmp_path / "out") in shown.out


def test_without_a_folder_it_writes_into_the_home(mibench, notes, tmp_path):
    assert mibench("data", "import-note", str(notes)).code == 0
    assert (tmp_path / "home/.cache/mibench-imported/note/hello/note.txt").read_text() == "hello"


def test_mistakes_are_explained(mibench, notes, tmp_path):
    shown = mibench("data", "import-note", str(tmp_path / "no.txt"), "--output", str(tmp_path / "out"))
    assert (shown.code, shown.err.startswith("Error: ")) == (1, True)
    assert "does not exist. Give the path of a note." in shown.err
    shown = mibench("data", "import-nots", str(notes))
    assert shown.code == 2
    assert "Unknown importer 'nots'. Did you mean 'note'? Available: note." in shown.err
    assert mibench("data", "import-note").code == 2
    assert mibench("data", "nothing").code == 2


def test_the_help_of_data_is_light():
    code = (
        "import sys; from mibench.cli.main import main; code = main(['data', '--help']); "
        "print([m for m in ('torch', 'numpy', 'pydantic', 'rich') if m in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert "import-stylegan" in done.stdout
