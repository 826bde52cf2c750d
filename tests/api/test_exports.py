"""``mibench.api`` offers what plugins need: one list, equal for people, for Python and for type checkers."""

import ast
import importlib
from pathlib import Path

import pytest

import mibench.api

ROOT = Path(__file__).parents[2]
PLUGIN_FILES = sorted(ROOT.glob("plugins/*/mibench_*/**/*.py"))


def imported_for_type_checkers():
    """Return module -> names of the block under TYPE_CHECKING."""
    tree = ast.parse(Path(mibench.api.__file__).read_text(encoding="utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert all(alias.asname == alias.name for alias in node.names), "`as` marks what is offered"
        found[node.module.removeprefix("mibench.api.")] = sorted(alias.name for alias in node.names)
    return found


def test_type_checkers_and_python_see_the_same_names():
    at_run_time = {module: sorted(names.split()) for module, names in mibench.api._NAMES.items()}
    assert imported_for_type_checkers() == at_run_time
    assert mibench.api.__all__ == sorted({name for names in at_run_time.values() for name in names})


@pytest.mark.parametrize("name", mibench.api.__all__)
def test_every_name_is_the_one_of_its_module(name):
    home = importlib.import_module(f"mibench.api.{mibench.api._MODULE_OF[name]}")
    assert getattr(mibench.api, name) is getattr(home, name)


def deep_imports(path):
    """Yield what a file imports of mibench from anywhere but ``mibench.api``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "mibench" and name != "mibench.api")


def test_plugins_import_from_the_api_only():
    assert len(PLUGIN_FILES) > 100
    deep = {path.relative_to(ROOT).as_posix(): found for path in PLUGIN_FILES if (found := list(deep_imports(path)))}
    assert deep == {}, "import from mibench.api; a name that plugins need and it lacks is added there"


def test_plugins_import_names_that_are_offered():
    private = {}
    for path in PLUGIN_FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "mibench.api":
                missing = {alias.name for alias in node.names} - {*mibench.api.__all__, "params"}
                if missing:
                    private[path.relative_to(ROOT).as_posix()] = missing
    assert private == {}
