"""A z-buffer in torch, without derivatives: which triangle does each pixel of each image see?

Shapes: V vertices, T triangles, B images, N triangles drawn in some image, M pixels of their bounding boxes, S side in
pixels. Screen coordinates are pixels as in ``rendered_faces.rasterise``, whose tests of what is inside these are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_EDGE = 1e-5


class Layer(NamedTuple):
    """What the pixels of a batch of images see of some triangles.

    Attributes:
        pixels_F: flat index ((image * S + row) * S + column) of each covered pixel, ascending.
        triangles_F: the nearest triangle there.
        weights_2F: barycentric weights of its first two corners.
        nearness_F: 1 / distance, float32.
    """

    pixels_F: Tensor
    triangles_F: Tensor
    weights_2F: Tensor
    nearness_F: Tensor

    def at(self, rows: Tensor) -> Layer:
        """Return these pixels of it."""
        return Layer(self.pixels_F[rows], self.triangles_F[rows], self.weights_2F[:, rows], self.nearness_F[rows])


class _Boxes(NamedTuple):
    """Triangles with pixels in their bounding boxes: index, image, lowest pixel and width of the box; (N,) each."""

    triangle: Tensor
    image: Tensor
    column: Tensor
    row: Tensor
    width: Tensor
    pixels: Tensor


@torch.no_grad()
def nearest(screen_3VB: Tensor, corners_3T: Tensor, side: int, *, two_sided: bool = False) -> Layer:
    """Find the nearest triangle at every pixel centre.

    Args:
        screen_3VB: screen x, screen y and nearness of the vertices.
        corners_3T: vertex indices, counter-clockwise seen from outside.
        side: S.
        two_sided: whether triangles that show their inside are drawn too.
    """
    corners_33TB = screen_3VB[:, corners_3T]  # (axis, corner, T, B)
    boxes, area = _boxes(corners_33TB[:2], side, two_sided=two_sided)
    corners_33N = corners_33TB[:, :, boxes.triangle, boxes.image]
    weights, depths = _planes(corners_33N, area, boxes)
    owner_M, column_M, row_M = _pixels(boxes)
    first_M = _at(weights[0], owner_M, column_M, row_M)
    second_M = _at(weights[1], owner_M, column_M, row_M)
    inside_M = (first_M >= -_EDGE) & (second_M >= -_EDGE) & (first_M + second_M <= 1 + _EDGE)
    kept = inside_M.nonzero()[:, 0]
    owner_M, first_M, second_M = owner_M[kept], first_M[kept], second_M[kept]
    nearness_M = (first_M * depths[0][owner_M] + second_M * depths[1][owner_M] + depths[2][owner_M]).float()
    row_M, column_M = row_M[kept] + boxes.row[owner_M], column_M[kept] + boxes.column[owner_M]
    pixel_M = (boxes.image[owner_M] * side + row_M) * side + column_M
    pixels_F, front_F = _front(pixel_M, nearness_M, screen_3VB.shape[2] * side * side)
    return Layer(
        pixels_F, boxes.triangle[owner_M[front_F]], torch.stack([first_M[front_F], second_M[front_F]]),
        nearness_M[front_F],
    )  # fmt: skip


def _boxes(corners_23TB: Tensor, side: int, *, two_sided: bool) -> tuple[_Boxes, Tensor]:
    """Return the triangles that may cover a pixel centre, and twice their signed areas (N,)."""
    (x0, x1, x2), (y0, y1, y2) = corners_23TB
    area_TB = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    drawn_TB = (area_TB.abs() if two_sided else -area_TB) > 1e-9
    low_2TB = (corners_23TB.amin(1) - 0.5).ceil().clamp(0, side)
    high_2TB = (corners_23TB.amax(1) - 0.5).floor().clamp(-1, side - 1)
    size_2TB = high_2TB - low_2TB + 1
    drawn_TB &= (size_2TB > 0).all(0)
    triangle, image = drawn_TB.nonzero(as_tuple=True)
    column, row = low_2TB[:, triangle, image].long()
    width, height = size_2TB[:, triangle, image].long()
    return _Boxes(triangle, image, column, row, width, width * height), area_TB[triangle, image]


def _planes(
    corners_33N: Tensor, area: Tensor, boxes: _Boxes
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], tuple[Tensor, Tensor, Tensor]]:
    """Return the first two weights as (start, slope along x, slope along y) in the box, and nearness in the weights."""
    x = corners_33N[0] - (boxes.column + 0.5)
    y = corners_33N[1] - (boxes.row + 0.5)
    weights = [
        ((x[i] * y[j] - x[j] * y[i]) / area, (y[i] - y[j]) / area, (x[j] - x[i]) / area) for i, j in ((1, 2), (2, 0))
    ]
    near = corners_33N[2]
    return weights, (near[0] - near[2], near[1] - near[2], near[2])


def _pixels(boxes: _Boxes) -> tuple[Tensor, Tensor, Tensor]:
    """Return owner, column and row in its box of every pixel of every box."""
    count = len(boxes.pixels)
    owner_M = torch.repeat_interleave(torch.arange(count, device=boxes.pixels.device), boxes.pixels)
    first = boxes.pixels.cumsum(0) - boxes.pixels
    within_M = (torch.arange(len(owner_M), device=owner_M.device) - first[owner_M]).int()
    width_M = boxes.width.int()[owner_M]
    row_M = within_M // width_M
    return owner_M, within_M - row_M * width_M, row_M


def _at(plane: tuple[Tensor, Tensor, Tensor], owner_M: Tensor, column_M: Tensor, row_M: Tensor) -> Tensor:
    start, along_x, along_y = (part[owner_M] for part in plane)
    return start + along_y * row_M + along_x * column_M


def _front(pixel_M: Tensor, nearness_M: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Return the covered pixels, ascending, and the nearest candidate of each; of equals the last one."""
    # The bits of a positive float order like the number: one maximum finds depth and candidate, and none is a race.
    key_M = (nearness_M.view(torch.int32).long() << 32) | torch.arange(len(pixel_M), device=pixel_M.device)
    buffer = torch.zeros(pixels, dtype=torch.int64, device=pixel_M.device).scatter_reduce_(0, pixel_M, key_M, "amax")
    covered_F = buffer.nonzero()[:, 0]
    return covered_F, buffer[covered_F] & 0xFFFFFFFF
