"""Who is in FaceScrub, without their names: digests that folder names are compared with.

The k-th line of ``facescrub.names`` is of class k: 265 actors by name, then 265 actresses, as in the released code of
the papers. It holds the first 16 hexadecimal digits of the SHA-256 of the name as the official list writes it (``_``
for spaces, Unicode NFC), and of its letters alone (no accents, lower case), by which other spellings are found.
"""

from __future__ import annotations

import hashlib
import unicodedata
from contextlib import suppress
from functools import cache, lru_cache
from importlib.resources import files

PEOPLE, ACTORS = 530, 265
NAMES_SHA256 = "b29ec0990bdc2bcd15e75fc0d87c67d0686cbbf61691ed582667703adfb031b7"
"""Of all names in the order of classes, joined by line ends."""


@lru_cache(maxsize=4096)
def class_of(folder: str) -> tuple[int, str] | None:
    """Return the class that a folder's name is of, and the name; ``None`` if it is no person of FaceScrub.

    Found are names in either Unicode form, with spaces, with ``Jr``, ``Jr_`` or ``Jr.``, without accents, and names
    whose UTF-8 was taken for another encoding by a tool that unpacked the archive.
    """
    exact, loose = _lines()
    for name in _readings(folder):
        if (number := exact.get(_short(name))) is not None:
            return number, name
    for name in _readings(folder):
        if (number := loose.get(_short(_letters(name)))) is not None:
            return number, name
    return None


def names_digest(names: list[str]) -> str:
    """Return the digest of all names, to be compared with ``NAMES_SHA256``."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _readings(folder: str) -> list[str]:
    """Return what a folder's name may stand for, in NFC with ``_`` for spaces."""
    raw, found = folder.encode("utf-8", "surrogateescape"), [folder]
    for wrong in ("cp437", "cp850", "latin-1", "cp1252"):
        with suppress(UnicodeError):
            found.append(folder.encode(wrong).decode("utf-8"))  # UTF-8 that was read as something else
        with suppress(UnicodeError):
            found.append(raw.decode(wrong))  # something else that was taken for UTF-8
    return [unicodedata.normalize("NFC", name).strip().replace(" ", "_") for name in dict.fromkeys(found)]


def _letters(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(letter for letter in plain if letter.isascii() and letter.isalpha())


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


@cache
def _lines() -> tuple[dict[str, int], dict[str, int]]:
    lines = (files(__package__) / "facescrub.names").read_text(encoding="ascii").splitlines()
    pairs = [line.split() for line in lines]
    return ({pair[0]: k for k, pair in enumerate(pairs)}, {pair[1]: k for k, pair in enumerate(pairs)})
