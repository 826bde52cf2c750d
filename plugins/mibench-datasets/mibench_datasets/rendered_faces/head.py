"""The head model: a mesh, what its parts are, and how sliders bend it.

Source: the MakeHuman base mesh and its morph targets (CC0 1.0), extracted by ``scripts/extract_head.py``.

Shapes: V vertices, T triangles, S sliders, M macro shapes (ethnicity x sex x age), E expression units, 3 of x y z.
Units are decimetres; x points to the subject's left, y up, z out of the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]

_EXTRACT = "makehuman_head_cc0.npz"


@dataclass(frozen=True)
class Head:
    """The mesh and its morphs.

    Attributes:
        vertices_V3: the base mesh, to which all displacements are added.
        template_V3: the average face. Colouring happens in its coordinates, so that a brow stays on the brow ridge
            whatever the sliders do.
        triangles_T3: vertex indices, counter-clockwise seen from outside.
        parts_T: index into ``part_names`` for each triangle.
        part_names: ``skin``, ``eye-l``, ``eye-r``, ``teeth``, ``tongue``, ``hair``.
        regions_V3: weights in [0, 1] of lips, ears and eyelids.
        slider_names: names of the S shape sliders, ``folder/morph``.
        slider_two_sided_S: whether a slider goes both ways, [-1, 1], or one way, [0, 1].
        plus_SV3: displacement at slider +1.
        minus_SV3: displacement at slider -1; zero for one-sided sliders.
        macro_names: ``ethnicity-sex-age`` of the M macro shapes.
        macros_MV3: displacement of each macro shape; an identity mixes them with weights that sum to 1.
        expression_names: names of the E expression units.
        expressions_EV3: displacement at expression weight 1.
    """

    vertices_V3: Floats
    template_V3: Floats
    triangles_T3: Ints
    parts_T: Ints
    part_names: tuple[str, ...]
    regions_V3: Floats
    slider_names: tuple[str, ...]
    slider_two_sided_S: NDArray[np.bool_]
    plus_SV3: Floats
    minus_SV3: Floats
    macro_names: tuple[str, ...]
    macros_MV3: Floats
    expression_names: tuple[str, ...]
    expressions_EV3: Floats

    def triangles_of(self, *names: str) -> Ints:
        """Return the triangles of the named parts: int64 (n, 3)."""
        return self.triangles_T3[np.isin(self.parts_T, [self.part_names.index(name) for name in names])]

    def shape(self, sliders_S: Floats, macros_M: Floats) -> Floats:
        """Return the vertices of an identity with a neutral expression: float32 (V, 3).

        Args:
            sliders_S: slider positions in [-1, 1].
            macros_M: weights of the macro shapes, non-negative, sum 1.
        """
        moved_V3 = np.tensordot(macros_M, self.macros_MV3, 1)
        moved_V3 += np.tensordot(np.maximum(sliders_S, 0), self.plus_SV3, 1)
        moved_V3 += np.tensordot(np.maximum(-sliders_S, 0), self.minus_SV3, 1)
        return self.vertices_V3 + moved_V3


@cache
def load_head() -> Head:
    """Read the head model that this package ships; the result is shared and must not be written to."""
    with (files(__package__) / _EXTRACT).open("rb") as stream, np.load(stream, allow_pickle=False) as extract:
        arrays = {name: extract[name] for name in extract.files}
    morphs_NV3, minus_S = arrays["morphs"].astype(np.float32), arrays["slider_minus"]
    two_sided_S = minus_S >= 0
    macros_MV3 = arrays["macros"].astype(np.float32)
    regions_V3 = np.stack([arrays[name] for name in ("lips", "ears", "eyelids")], axis=1)
    return Head(
        vertices_V3=arrays["vertices"],
        template_V3=arrays["vertices"] + macros_MV3.mean(0),
        triangles_T3=arrays["triangles"].astype(np.int64),
        parts_T=arrays["parts"].astype(np.int64),
        part_names=tuple(arrays["part_names"].tolist()),
        regions_V3=np.divide(regions_V3, 255, dtype=np.float32),
        slider_names=tuple(arrays["slider_names"].tolist()),
        slider_two_sided_S=two_sided_S,
        plus_SV3=morphs_NV3[arrays["slider_plus"]],
        minus_SV3=morphs_NV3[minus_S] * two_sided_S[:, None, None],
        macro_names=tuple(arrays["macro_names"].tolist()),
        macros_MV3=macros_MV3,
        expression_names=tuple(arrays["expression_names"].tolist()),
        expressions_EV3=arrays["expressions"].astype(np.float32),
    )


def vertex_normals(vertices_V3: Floats, triangles_T3: Ints) -> Floats:
    """Return area-weighted unit normals, outward: float32 (V, 3); zero where a vertex has no triangle."""
    a, b, c = (vertices_V3[triangles_T3[:, corner]] for corner in range(3))
    u, v = b - a, c - a
    face_3T = (
        u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1],
        u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2],
        u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0],
    )
    corners = triangles_T3.T.ravel()
    summed = [np.bincount(corners, np.tile(axis, 3), minlength=len(vertices_V3)) for axis in face_3T]
    normals_V3 = np.stack(summed, axis=1)
    length_V1 = np.linalg.norm(normals_V3, axis=1, keepdims=True)
    result: Floats = (normals_V3 / np.maximum(length_V1, 1e-12)).astype(np.float32)
    return result


def hollowness(vertices_V3: Floats, normals_V3: Floats, triangles_T3: Ints) -> Floats:
    """Return how far each vertex lies below its neighbours, as a fraction of their distance: float32 (V,).

    A cheap stand-in for ambient occlusion: positive in eye sockets and beside the nose, negative on ridges.
    """
    start = triangles_T3[:, [0, 1, 2]].T.ravel()
    end = triangles_T3[:, [1, 2, 0]].T.ravel()
    edge = vertices_V3[end] - vertices_V3[start]
    reach = np.linalg.norm(edge, axis=1)
    rise = np.einsum("ek,ek->e", edge, normals_V3[start])
    count = len(vertices_V3)
    degree = np.maximum(np.bincount(start, minlength=count), 1)
    hollow = np.bincount(start, rise, minlength=count) / np.maximum(np.bincount(start, reach, minlength=count), 1e-9)
    for _ in range(2):
        hollow = 0.5 * hollow + 0.5 * np.bincount(start, hollow[end], minlength=count) / degree
    return hollow.astype(np.float32)
