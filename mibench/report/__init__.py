"""The report of a run: one self-contained HTML file with numbers, pictures and provenance."""

from mibench.report.chart import NamedNumber, leakage_chart
from mibench.report.gallery import Gallery, GalleryRow, Strip, strips
from mibench.report.write import render_page, write_report

__all__ = ["Gallery", "GalleryRow", "NamedNumber", "Strip", "leakage_chart", "render_page", "strips", "write_report"]
