"""Draw the README's picture: private faces, and what an attack makes of each defended target.

Usage: python scripts/picture.py OUT.png [--protocol rendered64] [--defense NAME ...] [--store FOLDER]

Run the cells first: mibench run --protocol rendered64 -d none -d atat. Use it with rendered people only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mibench.assemble.galleries import make_gallery
from mibench.assemble.records import make_record
from mibench.plan.cells import expand
from mibench.protocol.request import Request
from mibench.registry.registry import load_registry
from mibench.report import GalleryRow
from mibench.store.store import Store, default_root

PEOPLE, SIDE, MARGIN, LABEL = 10, 96, 4, 150


def main() -> None:
    """Draw one row per defense under a row of private images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--protocol", default="rendered64")
    parser.add_argument("--defense", nargs="+", default=["none", "atat"])
    parser.add_argument("--store", type=Path, default=default_root())
    arguments = parser.parse_args()
    registry = load_registry()
    store = Store(arguments.store, registry.artifact_folders())
    request = Request(protocols=(arguments.protocol,), defenses=tuple(arguments.defense))
    rows: dict[str, list[np.ndarray]] = {}
    for cell in expand(request, registry):
        record = make_record(cell, store, registry)
        gallery = make_gallery(cell, record, store).rows[:PEOPLE]
        rows.setdefault("private", [np.asarray(row.private) for row in gallery])
        value = record.metrics[record.protocol.headline].value
        rows[f"{cell.defense.name}: {value:.0%} re-identified"] = [best(row) for row in gallery]
    draw(rows).save(arguments.out, optimize=True)


def best(row: GalleryRow) -> np.ndarray:
    """Return the attack's first choice."""
    return np.asarray(row.reconstructions[0])


def draw(rows: dict[str, list[np.ndarray]]) -> Image.Image:
    """Lay the rows out with a label before each."""
    step = SIDE + MARGIN
    sheet = Image.new("RGB", (LABEL + PEOPLE * step, len(rows) * step), "white")
    pen = ImageDraw.Draw(sheet)
    for y, (label, images) in enumerate(rows.items()):
        pen.text((4, y * step + SIDE // 2 - 6), label, fill="black")
        for x, pixels in enumerate(images):
            tile = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
            sheet.paste(
                tile.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC), (LABEL + x * step, y * step)
            )
    return sheet


if __name__ == "__main__":
    main()
