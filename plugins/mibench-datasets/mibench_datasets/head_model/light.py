"""Light in torch, as ``rendered_faces.render.light``.

Shapes: B images, P pixels of each, 3 of x y z or of red green blue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mibench_datasets.head_model.shot import Shot


def light(colour_3BP: Tensor, normals_3BP: Tensor, shade_BP: Tensor, shot: Shot, *, wet: bool) -> Tensor:
    """Return lit colours: ambient, wrapped Lambert, and a highlight that is sharp on wet surfaces; (3, B, P).

    Args:
        colour_3BP: albedo, 0..255.
        normals_3BP: normals in camera coordinates, not necessarily unit; those that face away are turned round.
        shade_BP: darkening by neighbouring surface.
        shot: the light.
        wet: whether the surface is an eye.
    """
    x, y, z = normals_3BP
    length_BP = (x * x + y * y + z * z).clamp_min(1e-12).rsqrt() * torch.where(z < 0, -1.0, 1.0)
    toward_3B1 = shot.light_3B[:, :, None]
    half_3B1 = torch.stack([toward_3B1[0], toward_3B1[1], toward_3B1[2] + 1])
    half_3B1 = half_3B1 * half_3B1.square().sum(0).rsqrt()
    diffuse_BP = ((_dot(normals_3BP, toward_3B1) * length_BP + 0.2) / 1.2).relu()
    gloss_BP = (_dot(normals_3BP, half_3B1) * length_BP).clamp(0.2, 1)
    highlight_BP = 140 * gloss_BP**60 if wet else 22 * gloss_BP**14
    amount_BP = shade_BP * (shot.ambient_B[:, None] + 0.66 * diffuse_BP)
    lit_3BP: Tensor = (colour_3BP * amount_BP + highlight_BP) * shot.tint_3B[:, :, None]
    return lit_3BP


def background(shot: Shot, side: int) -> Tensor:
    """Return a gradient between two colours: (3, B, side, side)."""
    start_3B, end_3B = shot.background_23B
    position = (torch.arange(side, device=start_3B.device, dtype=start_3B.dtype) + 0.5) / side - 0.5
    across_B, down_B = shot.slope_2B
    ramp = (0.5 + across_B[:, None, None] * position + down_B[:, None, None] * position[:, None]).clamp(0, 1)
    image_3BSS: Tensor = start_3B[:, :, None, None] + (end_3B - start_3B)[:, :, None, None] * ramp
    return image_3BSS


def _dot(a_3BP: Tensor, b_3B1: Tensor) -> Tensor:
    return a_3BP[0] * b_3B1[0] + a_3BP[1] * b_3B1[1] + a_3BP[2] * b_3B1[2]
