"""Templates to text. What comes from a record or a plugin is escaped; a page runs only its own two scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mibench.base.version import __version__
from mibench.results.display import printable

MOST_LETTERS = 2000
"""Letters of a line of foreign text that a page shows."""


def render(template: str, *, root: str, **content: Any) -> str:
    """Return a page.

    Args:
        template: its file.
        root: the way from the page to the root of the site: empty, ``../`` and so on.
        **content: what the template names.
    """
    scripts = [_asset("site.js"), *([_asset("board.js")] if "data" in content else [])]
    style = _asset("style.css")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts))}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template(template).render(
        root=root, version=__version__, policy=policy, style=style, scripts=scripts, **content
    )  # fmt: skip


def as_script(data: Any) -> str:
    """Return data as JSON that no parser of HTML takes for anything else."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


@cache
def _asset(name: str) -> str:
    return files("mibench.site").joinpath("templates", name).read_text(encoding="utf-8")


def _clean(value: Any) -> Any:
    """Take from text what no page should hold: control characters, marks that turn text around, endless lines."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(printable(line, MOST_LETTERS) for line in value.split("\n"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mibench.site"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
