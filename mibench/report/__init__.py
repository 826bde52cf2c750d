"""The report of a run: one self-contained HTML file with numbers, pictures and provenance."""

from mibench.report.gallery import Gallery, GalleryRow
from mibench.report.write import write_report

__all__ = ["Gallery", "GalleryRow", "write_report"]
