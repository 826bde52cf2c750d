"""What a component says about where it comes from."""

from __future__ import annotations

from pathlib import Path

from mibench.registry.registered import Registered


def paper_of(entry: Registered) -> str | None:
    """Return the BibTeX of a component: what its spec holds, or the file beside the plugin that it names."""
    paper = entry.spec.paper
    if not paper or not paper.endswith(".bib"):
        return paper
    folder = Path(entry.file).resolve().parent
    path = (folder / paper).resolve()
    return path.read_text(encoding="utf-8") if path.is_relative_to(folder) and path.is_file() else paper
