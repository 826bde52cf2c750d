"""What the pixels of a batch of images show: solid parts, and long hair where it is nearer.

Shapes: V vertices, T triangles, B images, S side in pixels, N = B * S * S pixels, P pixels of a material in each image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mibench_datasets.head_model.paint import MATERIALS
from mibench_datasets.head_model.visibility import Layer, nearest
from mibench_datasets.rendered_faces.appearance import CURTAIN_Z
from mibench_datasets.rendered_faces.head import Head


class Seen(NamedTuple):
    """What each pixel shows; pixels are numbered (image * S + row) * S + column.

    Attributes:
        corners_3N: the vertices of the triangle there; any for background.
        material_N: index into ``MATERIALS``, -1 for background.
        nearness_N: 1 / distance, 0 for background; float32.
        images: B.
    """

    corners_3N: Tensor
    material_N: Tensor
    nearness_N: Tensor
    images: int


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

    solid_3T: Tensor
    hair_3T: Tensor
    material_V: Tensor
    depth_V: Tensor

    def __init__(self, head: Head) -> None:
        super().__init__()
        hair_T = head.parts_T == head.part_names.index("hair")
        material_V = np.zeros(len(head.template_V3), np.int64)
        for part, name in enumerate(head.part_names):
            material_V[head.triangles_T3[head.parts_T == part]] = MATERIALS.index(name.partition("-")[0])
        constants = {
            "solid_3T": np.ascontiguousarray(head.triangles_T3[~hair_T].T),
            "hair_3T": np.ascontiguousarray(head.triangles_T3[hair_T].T),
            "material_V": material_V,
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
        corners_3N = torch.zeros(3, images * side**2, dtype=torch.int64, device=screen_3VB.device)
        material_N = torch.full_like(corners_3N[0], -1)
        nearness_N = torch.zeros_like(corners_3N[0], dtype=torch.float32)

        def show(layer: Layer, pixels_F: Tensor, corners_3F: Tensor) -> None:
            corners_3N[:, pixels_F] = corners_3F
            material_N[pixels_F] = self.material_V[corners_3F[0]]
            nearness_N[pixels_F] = layer.nearness_F

        solid = nearest(screen_3VB, self.solid_3T, side)
        show(solid, solid.pixels_F, self.solid_3T[:, solid.triangles_F])
        chosen = long_B.nonzero()[:, 0]
        if len(chosen):
            hair = nearest(screen_3VB[:, :, chosen], self.hair_3T, side, two_sided=True)
            pixels_F = chosen[hair.pixels_F // side**2] * side**2 + hair.pixels_F % side**2
            corners_3F = self.hair_3T[:, hair.triangles_F]
            shown_F = (hair.nearness_F > nearness_N[pixels_F]) & (self._depth(corners_3F, hair.weights_2F) < CURTAIN_Z)
            show(hair.at(shown_F), pixels_F[shown_F], corners_3F[:, shown_F])
        return Seen(corners_3N, material_N, nearness_N, images)

    def _depth(self, corners_3F: Tensor, weights_2F: Tensor) -> Tensor:
        a, b, c = self.depth_V[corners_3F]
        return c + weights_2F[0] * (a - c) + weights_2F[1] * (b - c)


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
