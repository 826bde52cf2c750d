"""Figures, alike in all studies: made with matplotlib, readable in print, in grey and for colour-blind people."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from numpy.typing import ArrayLike

from mibench.api import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's palette, which colour-blind people can tell apart."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Every colour has a marker of its own, so that grey prints say the same."""
WIDTH, HEIGHT = 6.4, 4.2
_STYLE: Any = {
    "svg.hashsalt": "mibench",
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def canvas(panels: int = 1) -> tuple[Canvas, list[Any]]:
    """Return an empty figure and its axes, side by side."""
    with mpl.rc_context(_STYLE):
        figure = Canvas(figsize=(WIDTH * (1 + 0.6 * (panels - 1)), HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, panels, squeeze=False)
    return figure, list(axes[0])


def finished(figure: Canvas, title: str, description: str) -> Figure:
    """Return a figure as SVG and PNG; the same figure gives the same bytes."""
    svg, png = io.BytesIO(), io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    return Figure(title=title, description=description, svg=svg.getvalue(), png=png.getvalue())


def scatter(axes: Any, x: ArrayLike, y: ArrayLike, groups: Sequence[str], names: Sequence[str] = ()) -> None:
    """Draw points with a colour and a marker for each group, and names beside them if there are any."""
    known = list(dict.fromkeys(groups))
    across, up = np.asarray(x, float), np.asarray(y, float)
    for number, group in enumerate(known):
        own = [place for place, one in enumerate(groups) if one == group]
        axes.scatter(
            across[own],
            up[own],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            label=group or "other",
            s=36,
        )
    for a, b, name in zip(across, up, names, strict=False):
        axes.annotate(name, (a, b), xytext=(4, 3), textcoords="offset points", fontsize=7)
    if len(known) > 1:
        axes.legend(fontsize=8, frameon=False)


def forest(
    axes: Any, rows: Sequence[tuple[str, float, tuple[float, float] | None]], *, group: Sequence[str] = ()
) -> None:
    """Draw estimates with intervals, one line each from the top down, and a line at 0."""
    known = list(dict.fromkeys(group))
    for place, (_, value, interval) in enumerate(rows):
        number = known.index(group[place]) if group else 0
        colour = COLOURS[number % len(COLOURS)]
        axes.plot([value], [-place], MARKERS[number % len(MARKERS)], color=colour)
        if interval:
            axes.plot(interval, [-place, -place], "-", color=colour)
    for number, name in enumerate(known):
        axes.plot([], [], MARKERS[number % len(MARKERS)], color=COLOURS[number % len(COLOURS)], label=name)
    if len(known) > 1:
        axes.legend(fontsize=8, frameon=False)
    axes.axvline(0, color="#888888", linewidth=1, linestyle="--")
    axes.set_yticks([-place for place in range(len(rows))], [name for name, _, _ in rows], fontsize=8)
