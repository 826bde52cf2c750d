"""A z-buffer in numpy: which triangle does each pixel see, and where on that triangle.

Shapes: V vertices, T triangles, P covered pixels, N triangles of one size class, K side of its bounding boxes.
Screen coordinates are pixels, x to the right and y down; the centre of pixel (row, column) is (column + .5, row + .5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mibench_datasets.rendered_faces.head import Floats, Ints

_BOX_SIDES = (1, 2, 3, 4, 6, 9, 14, 24, 48)
_EDGE = 1e-5
"""Slack of the inside test, so that a pixel centre on an edge shared by two triangles belongs to at least one."""


@dataclass(frozen=True)
class Fragments:
    """What the covered pixels show.

    Attributes:
        pixels_P: flat index (row * side + column) of each covered pixel, ascending.
        corners_P3: the vertices of the nearest triangle.
        weights_P3: barycentric weights of those vertices in screen space, sum 1.
        depth_P: nearness, larger is nearer.
    """

    pixels_P: Ints
    corners_P3: Ints
    weights_P3: Floats
    depth_P: Floats

    def interpolate(self, values_VC: Floats) -> Floats:
        """Return per-vertex values at the pixels: float32 (P, C)."""
        corners_P3C = values_VC[self.corners_P3]
        result: Floats = np.einsum("pk,pkc->pc", self.weights_P3, corners_P3C)
        return result


def rasterise(screen_V3: Floats, triangles_T3: Ints, side: int, *, two_sided: bool = False) -> Fragments:
    """Find the nearest triangle at every pixel centre.

    Interpolation is affine in screen space, which is exact for depth given as 1 / distance and good enough for other
    values as long as triangles are small.

    Args:
        screen_V3: screen x, screen y and nearness of the vertices.
        triangles_T3: vertex indices, counter-clockwise seen from outside.
        side: image side in pixels.
        two_sided: whether triangles that show their inside are drawn too.
    """
    corners_T33 = screen_V3[triangles_T3]
    x_T3, y_T3 = corners_T33[:, :, 0], corners_T33[:, :, 1]
    area_T = (x_T3[:, 1] - x_T3[:, 0]) * (y_T3[:, 2] - y_T3[:, 0]) - (x_T3[:, 2] - x_T3[:, 0]) * (
        y_T3[:, 1] - y_T3[:, 0]
    )
    drawn_T = (np.abs(area_T) if two_sided else -area_T) > 1e-9  # y points down: outside is clockwise, area < 0
    # Three corners at once: numpy reduces short axes slowly.
    a_T2, b_T2, c_T2 = (corners_T33[:, corner, :2] for corner in range(3))
    least_T2, most_T2 = np.minimum(np.minimum(a_T2, b_T2), c_T2), np.maximum(np.maximum(a_T2, b_T2), c_T2)
    low_T2 = np.clip(np.ceil(least_T2 - 0.5), 0, side).astype(np.int64)
    high_T2 = np.clip(np.floor(most_T2 - 0.5), -1, side - 1).astype(np.int64)
    box_T2 = high_T2 - low_T2 + 1
    drawn_T &= (box_T2[:, 0] > 0) & (box_T2[:, 1] > 0)
    chosen = np.flatnonzero(drawn_T)
    found = list(_cover(corners_T33[chosen], low_T2[chosen], high_T2[chosen], area_T[chosen]))
    if not found:
        return Fragments(np.empty(0, np.int64), *_nothing())
    triangle, column, row, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    triangle = chosen[triangle]
    depth = np.einsum("nk,nk->n", weights, corners_T33[triangle, :, 2])
    nearest = _nearest(row * side + column, depth, side)
    return Fragments(
        pixels_P=row[nearest] * side + column[nearest],
        corners_P3=triangles_T3[triangle[nearest]],
        weights_P3=weights[nearest],
        depth_P=depth[nearest],
    )


def _cover(
    corners_T33: Floats, low_T2: Ints, high_T2: Ints, area_T: Floats
) -> Iterator[tuple[Ints, Ints, Ints, Floats]]:
    """Yield (triangle, column, row, weights) of all pixel centres inside triangles, by size class."""
    reach_T2 = high_T2 - low_T2
    extent_T = np.maximum(reach_T2[:, 0], reach_T2[:, 1]) + 1
    smaller = 0
    for box in sorted({*_BOX_SIDES, int(extent_T.max(initial=1))}):
        members_N = np.flatnonzero((extent_T > smaller) & (extent_T <= box))
        smaller = box
        if len(members_N):
            yield _cover_class(members_N, corners_T33, low_T2, high_T2, area_T, box)


def _cover_class(
    members_N: Ints, corners_T33: Floats, low_T2: Ints, high_T2: Ints, area_T: Floats, box: int
) -> tuple[Ints, Ints, Ints, Floats]:
    """Test the pixels of ``box`` x ``box`` bounding boxes; coordinates are relative to the box, for precision."""
    origin_N2 = low_T2[members_N]
    local_N32 = corners_T33[members_N, :, :2] - (origin_N2[:, None] + 0.5).astype(np.float32)
    x, y = local_N32[:, :, 0], local_N32[:, :, 1]
    step_K = np.arange(box, dtype=np.float32)
    weights = []
    for i, j in ((1, 2), (2, 0)):
        slope_x, slope_y = (y[:, i] - y[:, j]) / area_T[members_N], (x[:, j] - x[:, i]) / area_T[members_N]
        start = (x[:, i] * y[:, j] - x[:, j] * y[:, i]) / area_T[members_N]
        weights.append(
            start[:, None, None] + slope_y[:, None, None] * step_K[:, None] + slope_x[:, None, None] * step_K
        )
    first_NKK, second_NKK = weights
    inside_NKK = (first_NKK >= -_EDGE) & (second_NKK >= -_EDGE) & (first_NKK + second_NKK <= 1 + _EDGE)
    member, row, column = np.nonzero(inside_NKK)
    row_abs, column_abs = row + origin_N2[member, 1], column + origin_N2[member, 0]
    triangle = members_N[member]
    within = (row_abs <= high_T2[triangle, 1]) & (column_abs <= high_T2[triangle, 0])
    first, second = first_NKK[inside_NKK][within], second_NKK[inside_NKK][within]
    weights_n3 = np.stack([first, second, 1 - first - second], axis=1)
    return triangle[within], column_abs[within], row_abs[within], weights_n3


def _nearest(pixel: Ints, depth: Floats, side: int) -> Ints:
    """Return, for each covered pixel in ascending order, the index of its nearest candidate (ties: the last)."""
    buffer = np.full(side * side, -np.inf, np.float32)
    np.maximum.at(buffer, pixel, depth)
    front = np.flatnonzero(depth == buffer[pixel])
    winner = np.full(side * side, -1, np.int64)
    winner[pixel[front]] = front
    return winner[winner >= 0]


def _nothing() -> tuple[Ints, Floats, Floats]:
    return np.empty((0, 3), np.int64), np.empty((0, 3), np.float32), np.empty(0, np.float32)
