"""How protocols are named: as folders and addresses of boards can be, and each in one way."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
"""A name that becomes a file's: that of a protocol, and those of the components of a cell."""
NAME_IN_WORDS = "up to 64 lower-case letters, digits, '.', '_', '+' and '-'"
VERSION = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
"""``major.minor``; each of the two is written in one way."""


def _a_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"expected {NAME_IN_WORDS}, a letter or digit first, got {text!r}; rename it")
    return text


def _a_version(text: str) -> str:
    if not VERSION.fullmatch(text):
        raise ValueError(f"expected a version like '1.0', two numbers of up to six digits, no zero first, got {text!r}")
    return text


def _an_id(text: str) -> str:
    name, _, version = text.partition("@")
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise ValueError(f"expected a protocol like 'orl64@1.0', got {text!r}")
    return text


Name = Annotated[str, AfterValidator(_a_name)]
Version = Annotated[str, AfterValidator(_a_version)]
Id = Annotated[str, AfterValidator(_an_id)]
"""``name@version``."""
