"""The standard streams: stdout belongs to the answer of a command, and nothing that reads them can fail the work.

Whatever else is written in the process (by a plugin, a library, a subprocess) goes to stderr. A stream that was closed
becomes the null device, a reader that goes away is forgotten, and a character that the encoding lacks is spelled with
one that it has.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from mibench.api.errors import MibenchError

SPELL = "mibench-spell"
"""Name of the error handler for encodings, after which columns still stand under each other."""

_LACKING = "·•↓↑→ε±×−–—‘’“”…≤≥≈"
_SPELLED = dict(zip(_LACKING, ".*v^>e~x---''\"\".<>~", strict=True))
_answers: list[TextIO] = []


def answer() -> TextIO:
    """Return the stream that a command's answer belongs to; :data:`sys.stdout` unless that stands aside."""
    return _answers[-1] if _answers else sys.stdout


@contextmanager
def aside() -> Iterator[None]:
    """Send what Python code prints to stderr meanwhile; :func:`answer` stays what it was."""
    _answers.append(answer())
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _answers.pop()


@contextmanager
def divided(*, for_good: bool) -> Iterator[None]:
    """Keep descriptor 1 for what is written to :data:`sys.stdout`; whoever writes to it directly writes to stderr.

    Streams that were replaced by somebody else (a test, a notebook) stay as they are.

    Args:
        for_good: leave it so at the end, because the process ends and what is printed on its way out is no answer.

    Raises:
        MibenchError: at the end, if the answer could not be written (a full disk, say).
    """
    before = {name: vars(sys)[name] for name in ("stdout", "stderr", "__stdout__", "__stderr__")}
    prepare()
    saved = _divert() if _is_ours(sys.stdout, 1) else None
    try:
        yield
    finally:
        if for_good:
            sys.stdout = sys.stderr if saved else sys.stdout
        else:
            vars(sys).update(before)
        if saved:
            _end(saved, before["stdout"], for_good=for_good)


def prepare() -> None:
    """Open what was closed, and let nothing that is written to stderr raise."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # the lowest free number is taken, so that no file of ours gets it and is printed into
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = _text(os.dup(1), None, forgive=True)
    if sys.stderr is None or _is_ours(sys.stderr, 2):
        sys.stderr = _text(2, sys.stderr, forgive=True)
    for name in ("stdout", "stderr"):  # code that wants to be heard in any case uses these
        if vars(sys)[f"__{name}__"] is None:
            vars(sys)[f"__{name}__"] = vars(sys)[name]


class _Descriptor(io.FileIO):
    """A descriptor to write to; once that fails, it leads to the null device."""

    forgive = False

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            _nullify(self.fileno())
            if self.forgive or isinstance(error, BrokenPipeError):
                return memoryview(data).nbytes
            raise MibenchError(f"The answer cannot be written to standard output: {error.strerror}.") from error


def _divert() -> TextIO:
    """Give ``sys.stdout`` a descriptor of its own, and lead descriptor 1 to stderr."""
    sys.stdout.flush()
    sys.stdout = _text(os.dup(1), sys.stdout, forgive=False)
    os.dup2(2, 1)
    vars(sys).update(__stdout__=_text(1, sys.stderr, forgive=True), __stderr__=sys.stderr)
    return sys.stdout


def _end(saved: TextIO, before: TextIO, *, for_good: bool) -> None:
    try:
        saved.flush()
    finally:
        if not for_good:
            before.flush()  # what was printed into it meanwhile is no answer
            os.dup2(saved.fileno(), 1)
            saved.close()


def _is_ours(stream: TextIO | None, descriptor: int) -> bool:
    """Tell whether a stream is what Python made of a descriptor. A console on Windows takes text, not bytes."""
    try:
        ours = stream is not None and stream.fileno() == descriptor
        return ours and not (sys.platform == "win32" and stream is not None and stream.isatty())
    except (AttributeError, OSError, ValueError):
        return False


def _text(descriptor: int, like: TextIO | None, *, forgive: bool) -> TextIO:
    raw = _Descriptor(descriptor, "w", closefd=descriptor > 2)
    raw.forgive = forgive
    encoding = getattr(like, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=SPELL, line_buffering=True)


def _nullify(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor, inheritable=descriptor <= 2)
    os.close(null)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks, one character by one."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_near, error.object[error.start : error.end])), error.end


def _near(char: str) -> str:
    known = _SPELLED.get(char) or unicodedata.normalize("NFKD", char)[:1]
    return known if known.isascii() else "?"


codecs.register_error(SPELL, _spell)
