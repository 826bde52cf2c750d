"""Values of the surface at pixels, differentiable in the vertices.

Shapes: V vertices, B images, S side in pixels, M pixels, C values of each vertex.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mibench_datasets.head_model.scene import Seen
from mibench_datasets.head_model.sums import pick


class Points(NamedTuple):
    """Pixels of a batch of images, and the triangles that they show.

    Attributes:
        vertex_3M: vertices of the triangle.
        entry_3M: the same in a table of V x B entries: vertex * B + image.
        column_M: column of the pixel.
        row_M: row of the pixel.
    """

    vertex_3M: Tensor
    entry_3M: Tensor
    column_M: Tensor
    row_M: Tensor


def points(seen: Seen, corners_3T: Tensor, pixel_M: Tensor, side: int) -> Points:
    """Look up pixels.

    Args:
        seen: what they show.
        corners_3T: vertices of all triangles.
        pixel_M: their numbers.
        side: S.
    """
    vertex_3M = corners_3T.index_select(1, seen.triangle_N.index_select(0, pixel_M))
    row_M = pixel_M // side
    entry_3M = vertex_3M * seen.images + row_M // side
    return Points(vertex_3M, entry_3M, pixel_M - row_M * side, row_M % side)


def screen(at: Points, table_CVB: Tensor) -> Tensor:
    """Return screen x and y of the corners, relative to the pixels: (2, 3, M)."""
    corners_23M = pick(table_CVB[:2].flatten(1), at.entry_3M.flatten()).unflatten(1, (3, -1))
    apart_23M: Tensor = corners_23M - (torch.stack([at.column_M, at.row_M])[:, None] + 0.5)
    return apart_23M


def weights(corners_23M: Tensor) -> Tensor:
    """Return the barycentric weights of the first two corners at the origin: (2, M)."""
    (x0, x1, x2), (y0, y1, y2) = corners_23M
    first, second, third = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
    weights_2M: Tensor = torch.stack([first, second]) / (first + second + third)
    return weights_2M


def interpolate(corners_C3M: Tensor, weights_2M: Tensor) -> Tensor:
    """Return values between those of the corners: (C, M)."""
    a, b, c = corners_C3M.unbind(1)
    return c + weights_2M[0] * (a - c) + weights_2M[1] * (b - c)
