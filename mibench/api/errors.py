"""The errors that mibench shows to people: what was expected, what was got, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK, EXIT_FAILED_CELLS, EXIT_USAGE, EXIT_PLUGIN, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class MibenchError(Exception):
    """Base of all errors that are explained to the user without a traceback."""

    exit_code = EXIT_FAILED_CELLS


class UsageError(MibenchError):
    """The request itself is wrong: an unknown name, an unknown key, a value of the wrong type or range."""

    exit_code = EXIT_USAGE


class PluginError(MibenchError):
    """A plugin that this request needs could not be loaded or broke its contract."""

    exit_code = EXIT_PLUGIN


class DataError(MibenchError):
    """Files that a dataset, prior or embedder needs are missing or not what they claim to be."""


class StoreError(MibenchError):
    """An artifact in the store is damaged or cannot be written."""


class AccessError(MibenchError):
    """An attack asked its target for more than its declared access grants."""


class BudgetError(MibenchError):
    """An attack spent more queries than its budget allows."""


class ClassFailed(MibenchError):
    """An attack cannot deliver anything for one class (no finite candidate, say); the others are attacked all the same.

    A failed class counts as one without a single success, and the record is flagged.
    """


def suggestion(wrong: str, available: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest available name, or an empty string.

    >>> suggestion("atta", ["atat", "none"])
    " Did you mean 'atat'?"
    """
    close = difflib.get_close_matches(wrong, list(available), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown(what: str, wrong: str, available: Iterable[str]) -> UsageError:
    """Build the error for a name that does not exist, with a suggestion and the list of what does.

    >>> print(unknown("defense", "atta", ["none", "atat"]))
    Unknown defense 'atta'. Did you mean 'atat'? Available: atat, none.
    """
    names = sorted(available)
    listed = ", ".join(names) if names else "nothing is installed"
    return UsageError(f"Unknown {what} {wrong!r}.{suggestion(wrong, names)} Available: {listed}.")
