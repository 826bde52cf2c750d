"""What the pixels of a batch of images show: solid parts, and long hair where it is nearer.

Shapes: V vertices, T triangles, B images, S side in pixels, N = B * S * S pixels, P pixels of a material in each image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mibench_datasets.head_model.paint import MATERIALS
from mibench_datasets.head_model.visibility import nearest
from mibench_datasets.rendered_faces.appearance import CURTAIN_Z
from mibench_datasets.rendered_faces.head import Head

STEEP = 1.0
"""Barycentric weights that change by more than this from pixel to pixel are not differentiated."""


class Seen(NamedTuple):
    """What each pixel shows; pixels are numbered (image * S + row) * S + column.

    Attributes:
        triangle_N: the triangle there, a column of ``Scene.corners_3T``; any for background.
        material_N: index into ``MATERIALS``, -1 for background.
        nearness_N: 1 / distance, 0 for background; float32.
        steep_N: how fast barycentric weights change from pixel to pixel; 0 for background.
        images: B.
    """

    triangle_N: Tensor
    material_N: Tensor
    nearness_N: Tensor
    steep_N: Tensor
    images: int

    def edge_on(self, pixels: Tensor | slice) -> Tensor:
        """Return which of these pixels show a triangle narrower than a pixel, whose derivatives are all but random."""
        return self.steep_N[pixels] > STEEP


class Patch(NamedTuple):
    """The pixels of one material, equally many in each image: where there are fewer, others fill up, to be ignored.

    Attributes:
        pixel_BP: numbers of the pixels.
        target_BP: the same, or N for those to be ignored.
    """

    pixel_BP: Tensor
    target_BP: Tensor


class Scene(nn.Module):
    """Finds what pixels show. Nothing here has derivatives.

    Args:
        head: the head model.
    """

    corners_3T: Tensor
    material_T: Tensor
    depth_V: Tensor

    def __init__(self, head: Head) -> None:
        super().__init__()
        material_P = np.array([MATERIALS.index(name.partition("-")[0]) for name in head.part_names])
        hair_T = head.parts_T == head.part_names.index("hair")
        order_T = np.argsort(hair_T, kind="stable")  # solid parts first
        self.solid = int((~hair_T).sum())
        constants = {
            "corners_3T": np.ascontiguousarray(head.triangles_T3[order_T].T),
            "material_T": material_P[head.parts_T[order_T]],
            "depth_V": head.template_V3[:, 2].copy(),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.as_tensor(value), persistent=False)

    @torch.no_grad()
    def look(self, screen_3VB: Tensor, long_B: Tensor, side: int) -> Seen:
        """Find what pixels show.

        Args:
            screen_3VB: screen x, screen y and nearness of the vertices.
            long_B: who has long hair.
            side: S.
        """
        images = screen_3VB.shape[2]
        triangle_N = torch.zeros(images * side**2, dtype=torch.int64, device=screen_3VB.device)
        material_N = torch.full_like(triangle_N, -1)
        nearness_N = torch.zeros_like(triangle_N, dtype=torch.float32)
        steep_N = torch.zeros_like(nearness_N)

        def show(pixels_F: Tensor, triangles_F: Tensor, nearness_F: Tensor, steep_F: Tensor) -> None:
            triangle_N.scatter_(0, pixels_F, triangles_F)
            material_N.scatter_(0, pixels_F, self.material_T.index_select(0, triangles_F))
            nearness_N.scatter_(0, pixels_F, nearness_F)
            steep_N.scatter_(0, pixels_F, steep_F)

        solid = nearest(screen_3VB, self.corners_3T[:, : self.solid], side)
        show(solid.pixels_F, solid.triangles_F, solid.nearness_F, solid.steep_F)
        chosen = long_B.nonzero()[:, 0]
        if len(chosen):
            hair = nearest(screen_3VB[:, :, chosen], self.corners_3T[:, self.solid :], side, two_sided=True)
            pixels_F = chosen[hair.pixels_F // side**2] * side**2 + hair.pixels_F % side**2
            triangles_F = hair.triangles_F + self.solid
            shown_F = (hair.nearness_F > nearness_N[pixels_F]) & (self._depth(triangles_F, hair.weights_2F) < CURTAIN_Z)
            show(pixels_F[shown_F], triangles_F[shown_F], hair.nearness_F[shown_F], hair.steep_F[shown_F])
        return Seen(triangle_N, material_N, nearness_N, steep_N, images)

    def _depth(self, triangles_F: Tensor, weights_2F: Tensor) -> Tensor:
        """Return z in template coordinates: (F,)."""
        a, b, c = self.depth_V[self.corners_3T[:, triangles_F]]
        depth_F: Tensor = c + weights_2F[0] * (a - c) + weights_2F[1] * (b - c)
        return depth_F


@torch.no_grad()
def patch(seen: Seen, material: str) -> Patch | None:
    """Return the pixels of a material; ``None`` if no image shows it."""
    count = len(seen.material_N)
    pixels_F = (seen.material_N == MATERIALS.index(material)).nonzero()[:, 0]
    if not len(pixels_F):
        return None
    image_F = pixels_F // (count // seen.images)
    many_B = torch.bincount(image_F, minlength=seen.images)
    first_B = many_B.cumsum(0) - many_B
    rank_F = torch.arange(len(pixels_F), device=pixels_F.device) - first_B[image_F]
    pixel_BP = pixels_F[0].expand(seen.images, int(many_B.max())).clone()
    target_BP = torch.full_like(pixel_BP, count)
    pixel_BP[image_F, rank_F] = pixels_F
    target_BP[image_F, rank_F] = pixels_F
    return Patch(pixel_BP, target_BP)
