"""Answers of components that a plan has asked before, kept beside the store so that it need not import them again.

A file of answers holds for one state of the installed code: its name is the fingerprint of all packages and of the
sources of all plugins, and it lists the digests of whatever else was imported to find the answers. If any of that
changes, nothing in it is read.
"""

from __future__ import annotations

import contextlib
import json
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mibench.api.files import sha256_of_file
from mibench.base.canonical import digest
from mibench.base.files import write_atomic

KEPT = 8
"""Files of answers that stay, so that environments which share a store do not take turns in forgetting."""


class Memo:
    """Questions with the answers that they had.

    Args:
        folder: where the answers lie; ``None`` keeps them for this process only.
        fingerprint: of the installed code.
        known: top packages that the fingerprint covers.

    Attributes:
        changed: whether there are answers that have not been written yet.
    """

    def __init__(self, folder: Path | None = None, fingerprint: str = "", known: frozenset[str] = frozenset()) -> None:
        self._path = folder / f"{fingerprint[:32]}.json" if folder else None
        self._known = known
        self._answers = dict(_read(self._path)) if self._path else {}
        self.changed = False

    def ask(self, question: Mapping[str, Any], answer: Callable[[], Any]) -> Any:
        """Return the remembered answer of a question, else find it.

        Args:
            question: plain JSON that says everything that the answer depends on beside the installed code.
            answer: finds it, as plain JSON; ``None`` and errors are not remembered.
        """
        try:
            key = digest(question)
        except (TypeError, ValueError):  # what is not JSON is for the component itself to refuse
            return answer()
        if key not in self._answers:
            found = answer()
            if found is None:
                return None
            self._answers[key] = json.loads(json.dumps(found))
            self.changed = True
        return self._answers[key]

    def save(self) -> None:
        """Write new answers beside those that other processes have added; a store that cannot be written stays."""
        if self._path is None or not self.changed:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            answers = {**_read(self._path), **self._answers}
            imported = {str(path): sha256_of_file(path) for path in _imported(self._known)}
            content = {"answers": answers, "imported": imported}
            write_atomic(self._path, json.dumps({**content, "digest": digest(content)}) + "\n")
            self.changed = False
            _forget(self._path.parent)


def _read(path: Path) -> Mapping[str, Any]:
    """Return the answers of a file; none if it is damaged or something that was imported for them has changed."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        content = {"answers": raw["answers"], "imported": raw["imported"]}
        changed = raw["digest"] != digest(content) or any(
            sha256_of_file(Path(name)) != expected for name, expected in raw["imported"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    found: Mapping[str, Any] = raw["answers"]
    return {} if changed else found


def _imported(known: frozenset[str]) -> Iterator[Path]:
    """Yield the sources of imported modules that no fingerprint covers: they lie in no installed distribution."""
    installed = {Path(place).resolve() for place in sysconfig.get_paths().values()}
    installed |= {Path(entry).resolve() for entry in sys.path if entry and Path(entry).name.endswith("-packages")}
    for name, module in sorted(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if not isinstance(place, str) or not place.endswith(".py") or name.partition(".")[0] in {*known, "__main__"}:
            continue
        path = Path(place).resolve()
        if path.is_file() and not any(path.is_relative_to(folder) for folder in installed):
            yield path


def _forget(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[KEPT:]:
        path.unlink(missing_ok=True)
