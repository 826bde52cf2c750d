"""Whether the class that a spec names can exist, found without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

_DYNAMIC = {"globals", "setattr", "exec", "vars", "__getattr__", "__dict__"}
_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def problem_of(factory: str) -> str:
    """Return why ``"module:Class"`` cannot be imported; empty if it can, or if only importing it could tell."""
    module, _, name = factory.partition(":")
    try:
        found = _find(module)
    except (ImportError, ValueError, AttributeError, OSError):
        return ""
    if isinstance(found, str):
        return found and f"there is no module {found!r}"
    if not found.origin or not found.origin.endswith(".py"):
        return ""
    try:
        tree = ast.parse(Path(found.origin).read_bytes())
    except (OSError, ValueError):
        return ""
    except SyntaxError as error:
        return f"{found.origin}:{error.lineno} is not Python: {error.msg}"
    if name in set(_bound(tree)) or _is_dynamic(tree):
        return ""
    return f"the module {module!r} has no {name!r}"


def _find(module: str) -> ModuleSpec | str:
    """Find a module through its parents, which :func:`find_spec` would import; or the name of what is missing.

    The name is empty where a parent decides itself where its modules are.
    """
    first, *rest = module.split(".")
    spec, name = find_spec(first), first
    for part in rest:
        if spec is None:
            return name
        if spec.submodule_search_locations is None:
            return f"{name}.{part}"
        name, parent = f"{name}.{part}", spec
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations or []))
        if spec is None and _has_own_path(parent):
            return ""
    return name if spec is None else spec


def _has_own_path(parent: ModuleSpec) -> bool:
    if not parent.origin or not parent.origin.endswith(".py"):
        return True
    try:
        text = Path(parent.origin).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    return "__path__" in text or "sys.modules" in text


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a module's own statements bind, those inside ``if`` and ``try`` included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        elif isinstance(child, ast.alias):
            yield (child.asname or child.name).partition(".")[0]
        if not isinstance(child, _SCOPES):
            yield from _bound(child)


def _is_dynamic(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Name | ast.Attribute | ast.alias | ast.Global):
            names = node.names if isinstance(node, ast.Global) else [_name(node)]
            if isinstance(node, ast.Global) or _DYNAMIC & set(names) or "*" in names:
                return True
    return False


def _name(node: ast.FunctionDef | ast.Name | ast.Attribute | ast.alias) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else node.name
