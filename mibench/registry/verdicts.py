"""What is known of plugins from a look at a safe distance, remembered until a file of theirs changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mibench.registry.entry_points import EntryPointRef
from mibench.registry.packages import sources_of

BAD_FOR_S = 3600.0
"""A plugin that was refused gets another chance after this time: what it needs may be there by then."""

SLOW_S = 1.0
"""A plugin that takes longer to be listed is remarked on; all of mibench's own together take a tenth of that."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one look.

    Attributes:
        trouble: why the plugin must not be imported in this process; empty if it may.
        phase: what it was doing then.
        seconds: how long its import and its hooks took.
        heavy: large packages that it imports.
        writes: whether it writes to standard output.
        missing: kind, name and reason of every component whose class does not exist.
        files: files that the verdict rests on, with size in bytes and time of change in ns.
        looked_at: when the look was taken, in seconds since 1970.
    """

    trouble: str = ""
    phase: str = ""
    seconds: float = 0.0
    heavy: tuple[str, ...] = ()
    writes: bool = False
    missing: tuple[tuple[str, str, str], ...] = ()
    files: dict[str, list[int]] = field(default_factory=dict)
    looked_at: float = 0.0

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Verdict:
        """Read what was written as JSON; unknown fields are left out."""
        fields = {name: known[name] for name in cls.__dataclass_fields__ if name in known}
        fields["heavy"] = tuple(known.get("heavy", ()))
        fields["missing"] = tuple((kind, name, reason) for kind, name, reason in known.get("missing", ()))
        return cls(**fields)

    def holds(self) -> bool:
        """Tell whether nothing has changed since."""
        bad = self.trouble or self.missing or self.seconds > SLOW_S
        return (
            (not bad or 0 <= time.time() - self.looked_at < BAD_FOR_S)
            and bool(self.files)
            and state_of(self.files) == self.files
        )


def recall(source: EntryPointRef) -> Verdict | None:
    """Return what is known of a plugin; ``None`` if a look is due."""
    files = own_files(source)
    place = _place(source, files)
    try:
        known = json.loads(place.read_text(encoding="utf-8")) if place else None
        verdict = known and Verdict.from_json(known)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return verdict if verdict and verdict.holds() and set(files) <= set(verdict.files) else None


def remember(source: EntryPointRef, verdict: Verdict) -> None:
    """Keep a verdict. Where nothing can be kept, without a home or on a read-only disk, the next look is taken anew."""
    place = _place(source, own_files(source))
    if place is None or not verdict.files:
        return
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        number, draft = tempfile.mkstemp(dir=place.parent, prefix=".draft-")
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(asdict(verdict), file)
        Path(draft).replace(place)


def forget_refusals() -> None:
    """Give every refused plugin another chance."""
    folder = _folder()
    for place in folder.glob("*.json") if folder else ():
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
            verdict = Verdict.from_json(json.loads(place.read_text(encoding="utf-8")))
            if verdict.trouble or verdict.missing:
                place.unlink()


def own_files(source: EntryPointRef) -> list[str]:
    """Return the Python files of the package that an entry point names, without importing it."""
    top = source.value.partition(":")[0].strip().partition(".")[0]
    return sorted(str(path) for _, path in sources_of(top)) if top.isidentifier() else []


def state_of(files: Iterable[str]) -> dict[str, list[int]]:
    """Return size and time of change of those files that are there."""
    found: dict[str, list[int]] = {}
    for name in files:
        with contextlib.suppress(OSError, ValueError):
            state = os.stat(name)  # noqa: PTH116 - thousands of times at each start
            found[name] = [state.st_size, state.st_mtime_ns]
    return found


def _place(source: EntryPointRef, files: list[str]) -> Path | None:
    folder = _folder()
    if folder is None or not files:
        return None
    text = json.dumps([*asdict(source).values(), files[0], sys.version, sys.prefix, __file__])
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _folder() -> Path | None:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mibench" / "plugins"
    except RuntimeError:
        return None
