"""The mesh in torch: from sliders to vertices, their normals, and their shade.

Shapes: V vertices, T triangles, E edges, K morphs, B people, 3 of x y z. Units are decimetres.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mibench_datasets.head_model.paint import scalp_field, soft
from mibench_datasets.head_model.person import Person
from mibench_datasets.head_model.sums import Sums
from mibench_datasets.rendered_faces.head import Floats, Head, Ints
from mibench_datasets.rendered_faces.render import HAIR_WIDENING, PIVOT_Z


class Busts(NamedTuple):
    """Meshes with a neutral expression, hair included.

    Attributes:
        vertices_V3B: vertices.
        centre_3B: the points about which heads turn, at the centre of the image.
        shade_VB: darkening by neighbouring surface, about 1.
    """

    vertices_V3B: Tensor
    centre_3B: Tensor
    shade_VB: Tensor


class Normals(nn.Module):
    """Area-weighted unit normals of vertices, outward; zero where a vertex has no triangle.

    Args:
        triangles_T3: vertex indices.
        vertices: V.
    """

    def __init__(self, triangles_T3: Ints, vertices: int) -> None:
        super().__init__()
        count = len(triangles_T3)
        corner = np.arange(3 * count)
        self.corners = Sums((corner, triangles_T3.T.ravel()), rows=vertices, written=3 * count)
        self.around = Sums((triangles_T3.T.ravel(), corner % count), rows=count, written=vertices)

    def forward(self, vertices_V3B: Tensor) -> Tensor:
        """Return the normals: (V, 3, B)."""
        a, b, c = self.corners(vertices_V3B.flatten(1)).unflatten(1, (3, -1)).chunk(3)
        u, v = b - a, c - a
        faces_T3B = torch.stack([
            u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1],
            u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2],
            u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0],
        ], dim=1)  # fmt: skip
        summed_V3B = self.around(faces_T3B.flatten(1)).unflatten(1, (3, -1))
        unit_V3B: Tensor = summed_V3B * summed_V3B.square().sum(1, keepdim=True).clamp_min(1e-24).rsqrt()
        return unit_V3B


class Hollowness(nn.Module):
    """How far each vertex lies below its neighbours, as a fraction of their distance, smoothed.

    Args:
        triangles_T3: vertex indices.
        vertices: V.
    """

    degree_V1: Tensor

    def __init__(self, triangles_T3: Ints, vertices: int) -> None:
        super().__init__()
        start, end = triangles_T3.T.ravel(), triangles_T3[:, [1, 2, 0]].T.ravel()
        edges_E2, edge = np.unique(np.sort(np.stack([start, end], 1), axis=1), axis=0, return_inverse=True)
        count = len(edges_E2)
        self.ends = Sums((np.arange(2 * count), edges_E2.T.ravel()), rows=vertices, written=2 * count)
        self.lengths = Sums((start, edge.ravel()), rows=count, written=vertices)
        self.neighbours = Sums((start, end), rows=vertices, written=vertices)
        degree_V = np.bincount(start, minlength=vertices).astype(np.float32)
        self.register_buffer("degree_V1", torch.as_tensor(degree_V[:, None]), persistent=False)

    def forward(self, vertices_V3B: Tensor, normals_V3B: Tensor) -> Tensor:
        """Return the hollowness: (V, B)."""
        flat_VK = vertices_V3B.flatten(1)
        toward_VK = self.neighbours(flat_VK) - self.degree_V1 * flat_VK
        rise_VB = (toward_VK.unflatten(1, (3, -1)) * normals_V3B).sum(1)
        a, b = self.ends(flat_VK).unflatten(1, (3, -1)).chunk(2)
        reach_VB = self.lengths((a - b).square().sum(1).clamp_min(1e-18).sqrt())
        hollow_VB: Tensor = rise_VB / reach_VB.clamp_min(1e-9)
        for _ in range(2):
            hollow_VB = 0.5 * hollow_VB + 0.5 * self.neighbours(hollow_VB) / self.degree_V1.clamp_min(1)
        return hollow_VB


class Mesh(nn.Module):
    """Builds the meshes of people.

    Args:
        head: the head model.
    """

    base_N1: Tensor
    basis_NK: Tensor
    middle_1V: Tensor
    widening_V1: Tensor
    template_3V1: Tensor
    two_sided_S: Tensor
    expressions_NE: Tensor

    def __init__(self, head: Head) -> None:
        super().__init__()
        count, two_sided_S = len(head.template_V3), head.slider_two_sided_S
        basis_KV3 = np.concatenate([head.macros_MV3, head.plus_SV3, head.minus_SV3[two_sided_S]])
        part_V = part_of_vertices(head)
        hair_V = part_V == head.part_names.index("hair")
        constants = {
            "base_N1": head.vertices_V3.reshape(-1, 1),
            "basis_NK": np.ascontiguousarray(basis_KV3.reshape(len(basis_KV3), -1).T),
            "expressions_NE": np.ascontiguousarray(head.expressions_EV3.reshape(len(head.expression_names), -1).T),
            "middle_1V": _middle(head, part_V)[None],
            "widening_V1": np.where(hair_V, HAIR_WIDENING, 1).astype(np.float32)[:, None],
            "template_3V1": np.ascontiguousarray(head.template_V3.T)[:, :, None],
            "two_sided_S": np.flatnonzero(two_sided_S),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.as_tensor(value), persistent=False)
        skin_T3 = head.triangles_of("skin")
        self.skin_normals = Normals(skin_T3, count)
        self.hollowness = Hollowness(skin_T3, count)

    def sculpt(self, person: Person) -> Busts:
        """Build the meshes of people."""
        sliders_SB = person.sliders_BS.T
        weights_KB = torch.cat([person.macros_BM.T, sliders_SB.relu(), (-sliders_SB[self.two_sided_S]).relu()])
        vertices_V3B = (self.base_N1 + self.basis_NK @ weights_KB).unflatten(0, (-1, 3))
        normals_V3B = self.skin_normals(vertices_V3B)
        shade_VB = (1 - 0.9 * self.hollowness(vertices_V3B, normals_V3B)).clamp(0.55, 1.12)
        middle_1B = self.middle_1V @ vertices_V3B[:, 1] + 0.1
        centre_3B = torch.cat([torch.zeros_like(middle_1B), middle_1B, torch.full_like(middle_1B, PIVOT_Z)])
        scalp_VB = soft(scalp_field(self.template_3V1, person.hairline_2B[:, None]) - 0.05, 0.05)
        x, y, z = (vertices_V3B + normals_V3B * (person.volume_B * scalp_VB)[:, None]).unbind(1)
        return Busts(torch.stack([x * self.widening_V1, y, z], dim=1), centre_3B, shade_VB)

    def move(self, busts: Busts, expression_EB: Tensor | None, rotation_B33: Tensor | None) -> Tensor:
        """Return vertices in camera coordinates, with an expression and turned: (V, 3, B)."""
        vertices_V3B = busts.vertices_V3B
        if expression_EB is not None:
            vertices_V3B = vertices_V3B + (self.expressions_NE @ expression_EB).unflatten(0, (-1, 3))
        vertices_V3B = vertices_V3B - busts.centre_3B
        return vertices_V3B if rotation_B33 is None else torch.einsum("bij,vjb->vib", rotation_B33, vertices_V3B)


def part_of_vertices(head: Head) -> Ints:
    """Return the part of each vertex, an index into ``Head.part_names``: int64 (V,)."""
    part_V = np.zeros(len(head.template_V3), np.int64)
    part_V[head.triangles_T3] = head.parts_T[:, None]
    return part_V


def _middle(head: Head, part_V: Ints) -> Floats:
    """Return the weights of the vertices' heights in that of the point about which a head turns: float32 (V,)."""
    eyes_V = np.isin(part_V, [head.part_names.index(name) for name in ("eye-l", "eye-r")])
    lips_V = head.regions_V3[:, 0] > 0.5
    weights_V: Floats = (0.62 * eyes_V / eyes_V.sum() + 0.38 * lips_V / lips_V.sum()).astype(np.float32)
    return weights_V
