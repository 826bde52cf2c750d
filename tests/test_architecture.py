"""The shape of the house: imports point one way, light rooms stay light, no method in the core, all is documented."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mibench
from mibench.api import MetricSpec
from mibench.registry.registry import load_registry

ROOT = Path(mibench.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

ALLOWED = {
    "base": set(),
    "api": set(),
    "results": {"base", "api"},
    "registry": {"api"},
    "protocol": {"base", "api", "registry"},
    "store": {"base", "api"},
    "nodes": {"base", "api", "registry", "protocol"},
    "plan": {"base", "api", "registry", "protocol", "store", "nodes"},
    "training": {"base", "api", "protocol"},
    "stages": {"base", "api", "registry", "protocol", "store", "nodes", "plan", "training"},
    "report": {"base", "results"},
    "leaderboard": {"base", "api", "results", "protocol", "store"},
    "exchange": {"base", "api", "results", "protocol", "leaderboard"},
    "site": {"base", "api", "results", "protocol", "leaderboard", "exchange"},
    "assemble": {
        "base",
        "api",
        "results",
        "report",
        "registry",
        "protocol",
        "store",
        "nodes",
        "plan",
        "stages",
        "leaderboard",
        "site",
    },
    "execute": {"api", "registry", "store", "nodes", "plan", "stages"},
    "session": {
        "api",
        "results",
        "report",
        "registry",
        "protocol",
        "store",
        "plan",
        "stages",
        "leaderboard",
        "assemble",
        "execute",
    },
    "bundles": {
        "base",
        "api",
        "results",
        "registry",
        "protocol",
        "store",
        "nodes",
        "plan",
        "assemble",
        "execute",
    },
    "study": {"base", "api", "results", "registry", "protocol", "store", "plan", "leaderboard", "assemble", "session"},
    "audit": {
        "base",
        "api",
        "results",
        "report",
        "registry",
        "protocol",
        "store",
        "plan",
        "stages",
        "assemble",
        "session",
    },
    "testing": {"api", "registry", "protocol", "store", "nodes", "plan", "training", "stages", "execute"},
    "cli": {
        "base",
        "api",
        "results",
        "registry",
        "protocol",
        "store",
        "plan",
        "assemble",
        "execute",
        "session",
        "audit",
        "bundles",
        "leaderboard",
        "study",
        "exchange",
        "site",
        "testing",
    },
}
"""What each room may import, and no more. A room is above everything it imports."""

TOP = {"__init__": {"base", "results", "protocol", "session", "study"}, "__main__": {"cli"}}
"""The package itself only offers names from other rooms."""

LIGHT = [
    "report",
    "site",
    "exchange",
    "leaderboard",
    "results",
    "registry",
    "protocol",
    "nodes",
    "store",
    "api",
    "base",
]
GENERIC = {"none", "accuracy", "torchvision", "map", "dependency"}
"""Names that mean something else too: a value, a column, a package, a tag of YAML, a group of metrics."""
NAMED = {("protocol/request.py", "ppa"), ("protocol/request.py", "orl64"), ("study/request.py", "faces64")}
"""The default attack and the default protocols of requests, which the readme promises."""


READS_NAMES = {
    "api/column_names.py": "the one place that reads the names of published records, which state nothing else",
    "leaderboard/render.py": "the heading of a column of published tables",
}
"""Modules that spell columns of metrics out, and why."""


def place(path):
    return path.relative_to(ROOT).as_posix()


def room_of(path):
    inside = path.relative_to(ROOT)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imported(path):
    """Yield the rooms that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "mibench" and len(parts) > 1:
                yield parts[1]


def test_the_table_of_rooms_is_complete_and_has_no_circle():
    assert {room_of(path) for path in FILES} == set(ALLOWED) | set(TOP)
    left, placed = dict(ALLOWED), set()
    while left:
        bottom = {room for room, below in left.items() if below <= placed}
        assert bottom, f"a circle among {sorted(left)}"
        placed |= bottom
        left = {room: below for room, below in left.items() if room not in bottom}


@pytest.mark.parametrize("room", [*ALLOWED, *TOP])
def test_imports_point_one_way(room):
    allowed = {**ALLOWED, **TOP}[room] | {room}
    wrong = {place(path): set(imported(path)) - allowed for path in FILES if room_of(path) == room}
    assert {name: rooms for name, rooms in wrong.items() if rooms} == {}


def test_only_the_testing_kit_imports_pytest_and_nothing_imports_a_plugin():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                top = name.partition(".")[0]
                assert not top.startswith("mibench_"), f"{place(path)} imports {name}"
                assert top != "pytest", f"{place(path)} imports pytest"


PROBE = """
import importlib, pkgutil, sys
for room in sys.argv[1:]:
    package = importlib.import_module(f"mibench.{room}")
    names = [package.__name__]
    if room != "api":  # its contracts are loaded on first use
        names += [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    for name in names:
        importlib.import_module(name)
    heavy = {"torch", "torchvision", "kornia", "pandas"} & set(sys.modules)
    if heavy:
        sys.exit(f"{room} imports {heavy}")
"""


def test_light_rooms_import_nothing_heavy():
    ended = subprocess.run([sys.executable, "-c", PROBE, *LIGHT], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr


def component_names():
    registry = load_registry()
    assert registry.failures == []
    kinds = ("dataset", "prior", "defense", "attack", "metric", "model", "protocol")
    return {entry.name for kind in kinds for entry in registry.entries(kind)} - GENERIC


def string_constants(path):
    """Yield the strings of a module that are not documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_the_core_names_no_method():
    names = component_names()
    assert len(names) > 10
    found = {(place(path), text) for path in FILES for text in string_constants(path) if text in names}
    assert found == NAMED


def column_bases():
    """Return how the columns of the metrics are called, without guesses, radii, judges and parts."""
    specs = [entry.spec for entry in load_registry().entries("metric")]
    columns = [column for spec in specs if isinstance(spec, MetricSpec) for column in spec.columns]
    assert len(columns) > 30
    return {re.split("[@/]", column.name)[0] for column in columns} - GENERIC


def test_the_core_names_no_column():
    bases = column_bases()
    assert {"reid", "robust_acc", "attack_acc"} <= bases
    found = {
        (place(path), base)
        for path in FILES
        for text in string_constants(path)
        for base in bases
        if re.search(rf"(?<![a-z0-9_]){base}(?![a-z0-9_])", text)
    }
    assert {where for where, _ in found} == set(READS_NAMES)


def reads_a_payload(node):
    """Tell whether an expression takes something out of a payload: ``payload["x"]``, ``payload.get("x")``."""
    if isinstance(node, ast.Subscript):
        holder = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
        holder = node.func.value
    else:
        return False
    return getattr(holder, "id", getattr(holder, "attr", "")) == "payload"


def test_only_nodes_know_what_is_in_a_payload():
    found = {
        place(path)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if reads_a_payload(node)
    }
    assert {room.partition("/")[0] for room in found} == {"nodes"}


FILES_OF_ARTIFACTS = {"ledger.json", "trace.json", "report.json", "measurements.json", "shared.json"}


def test_only_nodes_name_the_files_of_artifacts():
    named = {
        place(path)
        for path in FILES
        for text in string_constants(path)
        if Path(text).suffix == ".safetensors" or text in FILES_OF_ARTIFACTS
    }
    assert {room.partition("/")[0] for room in named} == {"nodes"}


def public_definitions():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{place(path)} has no docstring"
        yield from _public(tree, place(path))


def _public(node, where):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield f"{where}:{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from _public(child, f"{where}:{child.name}")
        elif isinstance(child, ast.If | ast.Try):
            yield from _public(child, where)


def _decorated(node, name):
    return any(ast.unparse(decorator).endswith(name) for decorator in node.decorator_list)


def test_everything_public_is_documented():
    bare = [
        where
        for where, node in public_definitions()
        if not ast.get_docstring(node) and not _decorated(node, "overload")
    ]
    assert bare == []


def test_everything_public_is_typed():
    untyped = []
    for where, node in public_definitions():
        if isinstance(node, ast.ClassDef):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
        missing = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        if missing or node.returns is None:
            untyped.append((where, missing))
    assert untyped == []


def distributions():
    plugins = sorted((ROOT.parent / "plugins").glob("*/mibench_*"))
    return [ROOT, *(path for path in plugins if (path / "__init__.py").is_file())]


def imports_of(path, modules):
    """Return the modules of a distribution that a module imports, wherever in it, type checking included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= parts & modules or {node.module}
    return found & modules


def circles(graph):
    """Return what is left of a graph when modules that lead nowhere are taken away, again and again."""
    left = dict(graph)
    while leaves := {name for name, below in left.items() if not below & left.keys()}:
        left = {name: below for name, below in left.items() if name not in leaves}
    while tops := left.keys() - set().union(*left.values()):
        left = {name: below for name, below in left.items() if name not in tops}
    return left


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"c", "e"}, "e": set()}
    assert circles(graph) == {"b": {"c"}, "c": {"b"}}
    assert circles({"a": {"b"}, "b": set()}) == {}


@pytest.mark.parametrize("package", distributions(), ids=lambda path: path.name)
def test_no_distribution_has_a_circle_of_imports(package):
    """Imports inside functions and for type checkers count: they hide a circle, they do not open it."""
    files = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(package.rglob("*.py"))
    }
    assert package.name in files
    graph = {name: imports_of(path, files.keys()) - {name} for name, path in files.items()}
    # What a package offers on first use, it imports from below, and nobody below asks it in return.
    assert circles(graph) == {}
