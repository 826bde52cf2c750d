"""YAML as mibench reads it: version 1.2's plain scalars, each key once, of a bounded size and depth.

PyYAML follows version 1.1, in which ``yes`` is true, ``010`` is 8 and ``1:30`` is 90, and of two equal keys the last
one wins. A file that freezes numbers must not be read that way.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from mibench.api.errors import UsageError
from mibench.api.plain import DEEPEST, check_plain

MAX_BYTES = 1_000_000
"""Size of a file; protocols and matrices have a few thousand bytes."""

MAX_VALUES = 20_000
"""Values in a file, those that aliases repeat included."""

_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (re.compile(r"(?:~|null|Null|NULL|)"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)"), list("tTfF")),
    "int": (re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)"), list("-+0123456789")),
    "float": (
        re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"),
        list("-+.0123456789"),
    ),
    "merge": (re.compile(r"<<"), ["<"]),
}  # fmt: skip
_BASES = {"0o": 8, "0x": 16}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")


class _Resolver(BaseResolver):
    """Which plain scalar is what: the core schema of YAML 1.2, and the merge key."""


for _name, (_pattern, _first) in _SCALARS.items():
    _Resolver.add_implicit_resolver(_TAG + _name, re.compile(_pattern.pattern + r"\Z"), _first)


def _null(loader: SafeConstructor, node: ScalarNode) -> None:
    _text(node, "null")


def _bool(loader: SafeConstructor, node: ScalarNode) -> bool:
    return _text(node, "bool").lower() == "true"


def _int(loader: SafeConstructor, node: ScalarNode) -> int:
    text = _text(node, "int")
    if _LEADING_ZERO.match(text):
        raise _error(
            f"{text!r} begins with a zero; write the number without it, 0o17 in base 8, or text in quotes", node
        )
    try:
        return int(text[2:], _BASES[text[:2]]) if text[:2] in _BASES else int(text)
    except ValueError:  # more digits than Python converts
        raise _error("a number has thousands of digits; expected one that fits into 64 bits", node) from None


def _float(loader: SafeConstructor, node: ScalarNode) -> float:
    text = _text(node, "float").lower()
    if _LEADING_ZERO.match(text):
        raise _error(f"{text!r} begins with a zero; write the number without it, or text in quotes", node)
    return float(text.replace(".inf", "inf") if "inf" in text else text.replace(".nan", "nan"))


def _text(node: ScalarNode, name: str) -> str:
    text = str(node.value)
    if not _SCALARS[name][0].fullmatch(text):
        raise _error(f"{text!r} is no {name}", node)
    return text


def _no_such_tag(loader: SafeConstructor, node: Node) -> None:
    raise _error(f"the tag {node.tag!r} is not known here; leave it out", node)


def _check(node: Node, sizes: dict[Node, int]) -> int:
    """Return how many values a node stands for when all aliases are written out, and refuse doubtful keys."""
    if node in sizes:
        if not sizes[node]:
            raise _error("an alias stands inside of what it names", node)
        return sizes[node]
    sizes[node], size = 0, 1
    if isinstance(node, MappingNode):
        _check_keys(node)
        size += sum(_check(value, sizes) for _, value in node.value)
    elif isinstance(node, SequenceNode):
        size += sum(_check(item, sizes) for item in node.value)
    if size > MAX_VALUES:
        raise _error(f"more than {MAX_VALUES} values, with aliases written out", node)
    sizes[node] = size
    return size


def _check_keys(node: MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode) or key.tag not in (_TAG + "str", _TAG + "merge"):
            raise _error("a key is not text; write it in quotes", key)
        line = key.start_mark.line + 1
        if key.value in seen:
            raise _error(f"the key {key.value!r} is given twice, first in line {seen[key.value]}", key)
        seen[key.value] = line


def _error(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


class _Loader(Reader, Scanner, Parser, Composer, SafeConstructor, _Resolver):
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        _TAG + "null": _null,
        _TAG + "bool": _bool,
        _TAG + "int": _int,
        _TAG + "float": _float,
        _TAG + "str": SafeConstructor.construct_yaml_str,
        _TAG + "seq": SafeConstructor.construct_yaml_seq,
        _TAG + "map": SafeConstructor.construct_yaml_map,
        None: _no_such_tag,
    }

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        _Resolver.__init__(self)
        self._depth = self._values = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._depth, self._values = self._depth + 1, self._values + 1
        if self._values > 2 * MAX_VALUES:  # keys and values
            raise _error(f"more than {MAX_VALUES} values", self.event())
        if self._depth > DEEPEST:
            raise _error(f"lists and mappings are nested more than {DEEPEST} levels deep", self.event())
        made: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return made

    def event(self) -> Any:
        return super().peek_event()  # type: ignore[no-untyped-call]

    def get_single_node(self) -> Node | None:
        root: Node | None = super().get_single_node()
        if root is not None:
            _check(root, {})
        return root


def parse_yaml(text: str, source: str) -> Any:
    """Return what a YAML text says, as plain mappings with text keys, lists and scalars.

    Args:
        text: one document.
        source: what messages call it.

    Raises:
        UsageError: if it is not valid, has a key twice or one that is not text, is too large or too deep, or holds a
            number that is not finite or needs more than 64 bits.
    """
    if len(text) > MAX_BYTES:
        raise UsageError(f"{source} has {len(text)} characters; expected at most {MAX_BYTES}.")
    try:
        loader = _Loader(text)
        found = loader.get_single_data()
    except yaml.YAMLError as error:
        raise UsageError(f"{source} is not valid YAML: {_told(error)}") from None
    except RecursionError:
        raise UsageError(f"{source} is not valid YAML: lists and mappings are nested too deeply") from None
    check_plain(found, source)
    return found


def _told(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return " ".join(str(error).split())
    parts = ", ".join(part for part in (error.context, error.problem) if part)
    return f"{parts} (line {mark.line + 1}, column {mark.column + 1})"
