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
        steep_F: how fast the weights change from pixel to pixel: 1 / width of a triangle that is seen edge on.
    """

    pixels_F: Tensor
    triangles_F: Tensor
    weights_2F: Tensor
    nearness_F: Tensor
    steep_F: Tensor


class _Boxes(NamedTuple):
    """Triangles with pixel centres in their bounding boxes, (N,) each.

    Attributes:
        triangle: index of the triangle.
        image: index of the image.
        area: twice the signed area.
        column: of the lowest pixel.
        row: of the lowest pixel.
        width: pixels of a row.
        pixels: pixels of the box.
        corners_33N: screen x, screen y and nearness of the corners.
    """

    triangle: Tensor
    image: Tensor
    area: Tensor
    column: Tensor
    row: Tensor
    width: Tensor
    pixels: Tensor
    corners_33N: Tensor


@torch.no_grad()
def nearest(screen_3VB: Tensor, corners_3T: Tensor, side: int, *, two_sided: bool = False) -> Layer:
    """Find the nearest triangle at every pixel centre.

    Args:
        screen_3VB: screen x, screen y and nearness of the vertices.
        corners_3T: vertex indices, counter-clockwise seen from outside.
        side: S.
        two_sided: whether triangles that show their inside are drawn too.
    """
    corners_33TB = screen_3VB.index_select(1, corners_3T.flatten()).unflatten(1, (3, -1))
    boxes = _boxes(corners_33TB, side, two_sided=two_sided)
    owner_M, column_M, row_M = _pixels(boxes)
    plane_6N = _planes(boxes)
    plane_6M = plane_6N.index_select(1, owner_M)
    first_M = plane_6M[0] + plane_6M[1] * column_M + plane_6M[2] * row_M
    second_M = plane_6M[3] + plane_6M[4] * column_M + plane_6M[5] * row_M
    inside_M = (first_M >= -_EDGE) & (second_M >= -_EDGE) & (first_M + second_M <= 1 + _EDGE)
    kept = inside_M.nonzero()[:, 0]
    owner_M, first_M, second_M = (
        owner_M.index_select(0, kept),
        first_M.index_select(0, kept),
        second_M.index_select(0, kept),
    )
    near_3M = boxes.corners_33N[2].index_select(1, owner_M)
    nearness_M = first_M * near_3M[0] + second_M * near_3M[1] + (1 - first_M - second_M) * near_3M[2]
    corner_N = (boxes.image * side + boxes.row) * side + boxes.column
    pixel_M = corner_N.index_select(0, owner_M) + row_M.index_select(0, kept) * side + column_M.index_select(0, kept)
    pixels_F, front_F = _front(pixel_M, nearness_M.float(), screen_3VB.shape[2] * side * side)
    owner_F = owner_M.index_select(0, front_F)
    return Layer(
        pixels_F=pixels_F,
        triangles_F=boxes.triangle.index_select(0, owner_F),
        weights_2F=torch.stack([first_M.index_select(0, front_F), second_M.index_select(0, front_F)]),
        nearness_F=nearness_M.index_select(0, front_F).float(),
        steep_F=_steepness(plane_6N).index_select(0, owner_F),
    )


def _boxes(corners_33TB: Tensor, side: int, *, two_sided: bool) -> _Boxes:
    """Return the triangles that may cover a pixel centre."""
    (x0, x1, x2), (y0, y1, y2) = corners_33TB[:2]
    area_TB = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    drawn_TB = (area_TB.abs() if two_sided else -area_TB) > 1e-9
    low_2TB = (corners_33TB[:2].amin(1) - 0.5).ceil().clamp(0, side)
    high_2TB = (corners_33TB[:2].amax(1) - 0.5).floor().clamp(-1, side - 1)
    size_2TB = high_2TB - low_2TB + 1
    drawn_TB &= (size_2TB[0] > 0) & (size_2TB[1] > 0)
    drawn_N, images = drawn_TB.flatten().nonzero()[:, 0], drawn_TB.shape[1]
    box_4N = torch.cat([low_2TB, size_2TB]).flatten(1).index_select(1, drawn_N).long()
    triangle = drawn_N // images
    return _Boxes(
        triangle=triangle,
        image=drawn_N - triangle * images,
        area=area_TB.flatten().index_select(0, drawn_N),
        column=box_4N[0],
        row=box_4N[1],
        width=box_4N[2],
        pixels=box_4N[2] * box_4N[3],
        corners_33N=corners_33TB.flatten(2).flatten(0, 1).index_select(1, drawn_N).unflatten(0, (3, 3)),
    )


def _planes(boxes: _Boxes) -> Tensor:
    """Return the first two weights as (start, slope along x, slope along y) in the box: (6, N)."""
    x = boxes.corners_33N[0] - (boxes.column + 0.5)
    y = boxes.corners_33N[1] - (boxes.row + 0.5)
    rows = []
    for i, j in ((1, 2), (2, 0)):
        rows += [x[i] * y[j] - x[j] * y[i], y[i] - y[j], x[j] - x[i]]
    return torch.stack(rows) / boxes.area


def _steepness(plane_6N: Tensor) -> Tensor:
    """Return the largest slope of a weight: (N,)."""
    _, x0, y0, _, x1, y1 = plane_6N
    slopes = torch.stack(
        [x0.square() + y0.square(), x1.square() + y1.square(), (x0 + x1).square() + (y0 + y1).square()]
    )
    return slopes.amax(0).sqrt().float()


def _pixels(boxes: _Boxes) -> tuple[Tensor, Tensor, Tensor]:
    """Return owner, column and row in its box of every pixel of every box."""
    device = boxes.pixels.device
    owner_M = torch.repeat_interleave(torch.arange(len(boxes.pixels), device=device), boxes.pixels)
    start_N = boxes.pixels.cumsum(0) - boxes.pixels
    facts_2M = torch.stack([start_N, boxes.width]).int().index_select(1, owner_M)
    within_M = torch.arange(len(owner_M), device=device, dtype=torch.int32) - facts_2M[0]
    row_M = ((within_M + 0.5) / facts_2M[1]).int()  # exact: boxes are small, and integer division is slow
    return owner_M, within_M - row_M * facts_2M[1], row_M


def _front(pixel_M: Tensor, nearness_M: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Return the covered pixels, ascending, and the nearest candidate of each; of equals the last one."""
    # The bits of a positive float order like the number: one maximum finds depth and candidate, and none is a race.
    key_M = (nearness_M.view(torch.int32).long() << 32) | torch.arange(len(pixel_M), device=pixel_M.device)
    buffer = torch.zeros(pixels, dtype=torch.int64, device=pixel_M.device).scatter_reduce_(0, pixel_M, key_M, "amax")
    covered_F = buffer.nonzero()[:, 0]
    return covered_F, buffer.index_select(0, covered_F) & 0xFFFFFFFF
