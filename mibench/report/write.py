"""Write a report. Everything that comes from a record or a plugin is escaped; the page asks the network for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mibench.base.files import write_atomic
from mibench.base.version import __version__
from mibench.report.gallery import Gallery, strips
from mibench.report.view import section, summaries
from mibench.results.display import printable
from mibench.results.io import label
from mibench.results.record import Record


def write_report(
    path: Path,
    records: Sequence[Record],
    galleries: Sequence[Gallery] = (),
    failures: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write the HTML report of a run: one file, readable without network and without JavaScript.

    Args:
        path: the file to write; it is replaced atomically.
        records: all cells; failed ones are listed with their reason.
        galleries: pictures; each belongs to the record whose label is its title, others come last.
        failures: label and error of what failed beside the failed records.

    Returns:
        ``path``.

    Raises:
        ValueError: for a gallery image that is not HWC uint8 with 1 or 3 channels.
        OSError: if the file cannot be written.
    """
    return write_atomic(path, render_report(records, galleries, failures))


def render_report(
    records: Sequence[Record],
    galleries: Sequence[Gallery] = (),
    failures: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the HTML of :func:`write_report`; equal input gives equal text."""
    done = [record for record in records if record.status == "done"]
    waiting = list(galleries)
    sections = [section(record, _take(waiting, label(record))) for record in done]
    return render_page(
        "report.html",
        summaries=summaries(done),
        sections=sections,
        galleries=[(gallery.title, strips(gallery)) for gallery in waiting],
        failures=_failures(records, failures),
    )


def _take(waiting: list[Gallery], title: str) -> Gallery | None:
    """Remove and return the first gallery of a title; cells that differ in parameters only share one, in order."""
    found = next((place for place, gallery in enumerate(waiting) if gallery.title == title), None)
    return None if found is None else waiting.pop(found)


def _failures(records: Sequence[Record], stated: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    found = [
        (label(record), f"{record.failure.stage}: {record.failure.error}" if record.failure else "no reason was stated")
        for record in records
        if record.status == "failed"
    ]
    return [(printable(name), printable(reason, 2000)) for name, reason in dict.fromkeys([*found, *stated])]


def render_page(template: str, **context: Any) -> str:
    """Return the HTML of one of this room's templates; whatever enters it is escaped."""
    return _environment().get_template(template).render(version=__version__, **context)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mibench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
