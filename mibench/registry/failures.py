"""What went wrong with a plugin: said in one line, kept for listings, and raised only where it matters."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Literal

from mibench.api.specs import Kind

Phase = Literal["entry-point", "import", "hooks", "collect", "spec", "name", "artifacts", "factory", "watch"]
DISABLE_VARIABLE = "MIBENCH_DISABLE_PLUGINS"


@dataclass(frozen=True)
class PluginFailure:
    """One thing that a plugin did wrong.

    Attributes:
        distribution: the pip distribution that brings the plugin.
        version: its version.
        entry_point: name of the entry point, as ``name = value``.
        file: where it went wrong, as ``path:line`` if the line is known; may be empty.
        phase: what mibench was doing: reading the entry point, importing, checking hooks, collecting specs, checking
            a spec, settling names, finding artifacts, looking for the class of a component, or calling a life-cycle
            hook.
        reason: one line for people.
        kind: the kind of component that was lost; ``None`` if it may be any.
        names: names of the components that were lost; empty if unknown.
    """

    distribution: str
    version: str
    entry_point: str
    file: str
    phase: Phase
    reason: str
    kind: Kind | None = None
    names: tuple[str, ...] = ()

    def may_provide(self, kind: str, name: str) -> bool:
        """Tell whether a component may be missing because of this failure."""
        if self.phase in {"watch", "artifacts"}:
            return False
        return self.kind in {None, kind} and (not self.names or name in self.names)

    def __str__(self) -> str:
        where = f" ({self.file})" if self.file else ""
        return f"{self.distribution} {self.version}: {self.reason}{where}"


def describe_error(error: BaseException) -> str:
    """Return an exception as one line, ``Type: message``, without its traceback."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r})"
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def place_of(error: BaseException, *, otherwise: str = "") -> str:
    """Return ``path:line`` where an exception began, leaving out the import system and mibench's own loader."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_loader(frame.filename)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else otherwise


def _is_loader(path: str) -> bool:
    normal = path.replace("\\", "/")
    return "<frozen" in normal or "/importlib/" in normal or "/mibench/registry/" in normal or "/pluggy/" in normal


def pip_hint(distribution: str) -> str:
    """Return what a user can do about a broken distribution."""
    return (
        f"Reinstall it with `pip install --force-reinstall {distribution}`, remove it with "
        f"`pip uninstall {distribution}`, or leave it out with {DISABLE_VARIABLE}={distribution}."
    )
