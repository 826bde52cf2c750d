"""From people and views to images, differentiably; what ``rendered_faces.render`` does in numpy.

Shapes: V vertices, B images, S side of the supersampled images, N = B * S * S, P pixels of a material in each image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from mibench_datasets.head_model.edges import with_moving_edges
from mibench_datasets.head_model.light import background, light
from mibench_datasets.head_model.mesh import Busts, Mesh, Normals
from mibench_datasets.head_model.paint import MATERIALS, Spot, colour
from mibench_datasets.head_model.person import Person
from mibench_datasets.head_model.scene import Patch, Scene, Seen, patch
from mibench_datasets.head_model.shot import Shot
from mibench_datasets.head_model.sums import pick
from mibench_datasets.head_model.surface import interpolate, points, screen, weights
from mibench_datasets.rendered_faces.head import Head
from mibench_datasets.rendered_faces.render import CAMERA, GREY, HALF_WINDOW, SUPERSAMPLING


class Renderer(nn.Module):
    """Renders batches of people.

    Args:
        head: the head model.
        size: side of the images in pixels.
        channels: 1 (ITU-R 601 luma of the colour image) or 3.
    """

    static_6V: Tensor
    grey_3: Tensor

    def __init__(self, head: Head, *, size: int, channels: int) -> None:
        super().__init__()
        self.size, self.channels, self.side = size, channels, size * SUPERSAMPLING
        self.mesh, self.scene = Mesh(head), Scene(head)
        self.normals = Normals(head.triangles_T3, len(head.template_V3))
        static_6V = np.concatenate([head.template_V3, head.regions_V3], axis=1).T
        self.register_buffer("static_6V", torch.as_tensor(np.ascontiguousarray(static_6V)), persistent=False)
        self.register_buffer("grey_3", torch.as_tensor(GREY), persistent=False)

    def forward(self, person: Person, shot: Shot) -> Tensor:
        """Return images (B, C, size, size), in [0, 1] but for colours where light is very bright.

        Those are not clamped; grey is computed from clamped colours, as in the dataset, with derivatives as if not.
        """
        table_6VB, seen = self._look(self.mesh.sculpt(person), person, shot)
        empty_3N = pad(background(shot, self.side).flatten(1), (0, 1))  # the last one takes what is to be ignored
        targets, colours = [seen.triangle_N[:0]], [empty_3N[:, :0]]  # a face may have been pushed out of the picture
        for material in MATERIALS:
            found = patch(seen, material)
            if found is not None:
                targets.append(found.target_BP.flatten())
                colours.append(self._lit(material, found, seen, table_6VB, person, shot).flatten(1))
        image_3N = empty_3N.scatter(1, torch.cat(targets).expand(3, -1), torch.cat(colours, dim=1))[:, :-1]
        if table_6VB.requires_grad:
            image_3N = with_moving_edges(image_3N, seen, self.scene.corners_3T, table_6VB, self.side)
        return self._develop(image_3N)

    def _look(self, busts: Busts, person: Person, shot: Shot) -> tuple[Tensor, Seen]:
        """Return screen x, y, normals and shade of the vertices (6, V, B), and what pixels show."""
        camera_V3B = self.mesh.move(busts, shot.expression_EB, shot.rotation_B33)
        normals_3VB = self.normals(camera_V3B).transpose(0, 1)
        x, y, z = camera_V3B.unbind(1)
        nearness_VB = 1 / (CAMERA - z)
        scale_VB = self.side / 2 * (CAMERA / HALF_WINDOW) * shot.zoom_B * nearness_VB
        x_VB = self.side * (0.5 + shot.shift_2B[0]) + scale_VB * x
        y_VB = self.side * (0.5 + shot.shift_2B[1]) - scale_VB * y
        seen = self.scene.look(torch.stack([x_VB, y_VB, nearness_VB]), person.long_B, self.side)
        return torch.cat([torch.stack([x_VB, y_VB]), normals_3VB, busts.shade_VB[None]]), seen

    def _lit(self, material: str, found: Patch, seen: Seen, table_6VB: Tensor, person: Person, shot: Shot) -> Tensor:
        """Return the lit colours of the pixels of a material: (3, B, P)."""
        at = points(seen, self.scene.corners_3T, found.pixel_BP.flatten(), self.side)
        weights_2M = weights(screen(at, table_6VB))
        if table_6VB.requires_grad:
            weights_2M = torch.where(seen.edge_on(found.pixel_BP.flatten()), weights_2M.detach(), weights_2M)
        fixed_63M = self.static_6V.index_select(1, at.vertex_3M.flatten()).unflatten(1, (3, -1))
        moving_43M = pick(table_6VB[2:].flatten(1), at.entry_3M.flatten()).unflatten(1, (3, -1))
        fixed_6BP = interpolate(fixed_63M, weights_2M).unflatten(1, found.pixel_BP.shape)
        moving_4BP = interpolate(moving_43M, weights_2M).unflatten(1, found.pixel_BP.shape)
        colour_3BP = colour(material, Spot(fixed_6BP[:3], fixed_6BP[3:]), person, shot.gaze_2B)
        return light(colour_3BP, moving_4BP[:3], moving_4BP[3], shot, wet=material == "eye")

    def _develop(self, image_3N: Tensor) -> Tensor:
        small_3BHW = avg_pool2d(image_3N.unflatten(1, (-1, self.side, self.side)), SUPERSAMPLING)
        if self.channels == 1:
            small_3BHW = small_3BHW + (small_3BHW.clamp(0, 255) - small_3BHW).detach()  # cut before it is converted
            small_3BHW = torch.tensordot(self.grey_3, small_3BHW, 1)[None]
        return small_3BHW.transpose(0, 1).contiguous() / 255
