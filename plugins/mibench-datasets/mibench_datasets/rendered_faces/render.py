"""From an identity and a view to pixels.

Shapes: V vertices, P visible pixels, S side of the supersampled image, 3 of x y z or red green blue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mibench_datasets.rendered_faces.appearance import Surface, albedo, curtain_field, hair_volume
from mibench_datasets.rendered_faces.head import Floats, Head, Ints, hollowness, vertex_normals
from mibench_datasets.rendered_faces.identity import Identity
from mibench_datasets.rendered_faces.rasterise import Fragments, rasterise
from mibench_datasets.rendered_faces.view import View

SUPERSAMPLING = 2
CAMERA = 14.0
HALF_WINDOW = 1.32
PIVOT_Z = 0.55
HAIR_WIDENING = 1.05
GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Bust:
    """What all images of one identity share, computed once.

    Attributes:
        identity: whose bust it is.
        vertices_V3: mesh with a neutral expression, hair included.
        centre_3: the point that is placed at the centre of the image and about which the head turns.
        shade_V: darkening by neighbouring surface, about 1.
        solid_T3: triangles of everything that shows one side only.
        hair_T3: triangles of long hair; empty for other styles.
        part_V: part of each vertex.
    """

    identity: Identity
    vertices_V3: Floats
    centre_3: Floats
    shade_V: Floats
    solid_T3: Ints
    hair_T3: Ints
    part_V: Ints


def sculpt(head: Head, identity: Identity) -> Bust:
    """Build the mesh of an identity."""
    vertices_V3 = head.shape(identity.sliders_S, identity.macros_M)
    skin_T3 = head.triangles_of("skin")
    normals_V3 = vertex_normals(vertices_V3, skin_T3)
    shade_V = np.clip(1 - 0.9 * hollowness(vertices_V3, normals_V3, skin_T3), 0.55, 1.12)
    part_V = np.zeros(len(vertices_V3), np.int64)
    part_V[head.triangles_T3] = head.parts_T[:, None]
    eyes = vertices_V3[np.isin(part_V, [head.part_names.index(name) for name in ("eye-l", "eye-r")])].mean(0)
    lips = vertices_V3[head.regions_V3[:, 0] > 0.5].mean(0)
    vertices_V3 = vertices_V3 + normals_V3 * hair_volume(head.template_V3, identity)[:, None]
    vertices_V3[part_V == head.part_names.index("hair"), 0] *= HAIR_WIDENING  # so that ears stay below it
    solid_T3 = head.triangles_of(*(name for name in head.part_names if name != "hair"))
    long_hair = identity.coarse.style == "long"
    return Bust(
        identity=identity,
        vertices_V3=vertices_V3.astype(np.float32),
        centre_3=np.array([0, 0.62 * eyes[1] + 0.38 * lips[1] + 0.1, PIVOT_Z], np.float32),
        shade_V=shade_V.astype(np.float32),
        solid_T3=solid_T3,
        hair_T3=head.triangles_of("hair") if long_hair else solid_T3[:0],
        part_V=part_V,
    )


def render(head: Head, bust: Bust, view: View, *, size: int, channels: int) -> NDArray[np.uint8]:
    """Render one image.

    Args:
        head: the head model that ``bust`` was sculpted from.
        bust: the identity's mesh.
        view: pose, expression, light, background, noise.
        size: side in pixels.
        channels: 1 (ITU-R 601 luma of the colour image) or 3.

    Returns:
        uint8 (channels, size, size).
    """
    side = size * SUPERSAMPLING
    vertices_V3 = bust.vertices_V3 + np.tensordot(view.expression_E, head.expressions_EV3, 1)
    camera_V3: Floats = np.subtract(vertices_V3, bust.centre_3) @ view.rotation().T
    normals_V3 = vertex_normals(camera_V3, np.concatenate([bust.solid_T3, bust.hair_T3]))
    screen_V3 = _project(camera_V3, view, side)
    values_VC = np.concatenate(
        [head.template_V3, head.regions_V3, normals_V3, bust.shade_V[:, None]], axis=1, dtype=np.float32
    )
    image_SS3 = _background(view, side).reshape(-1, 3)
    depth_SS = np.full(side * side, -np.inf, np.float32)
    for triangles_T3, two_sided in ((bust.solid_T3, False), (bust.hair_T3, True)):
        if len(triangles_T3):
            seen = rasterise(screen_V3, triangles_T3, side, two_sided=two_sided)
            _paint(image_SS3, depth_SS, seen, values_VC, head, bust, view)
    small_HW3 = image_SS3.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    return _develop(small_HW3, view, channels)


def _project(camera_V3: Floats, view: View, side: int) -> Floats:
    """Return screen x, screen y (pixels) and nearness (1 / distance) of the vertices."""
    nearness_V = 1 / (CAMERA - camera_V3[:, 2])
    scale = side / 2 * (CAMERA / HALF_WINDOW) * view.zoom
    x_V = side * (0.5 + view.shift_2[0]) + scale * camera_V3[:, 0] * nearness_V
    y_V = side * (0.5 + view.shift_2[1]) - scale * camera_V3[:, 1] * nearness_V
    return np.stack([x_V, y_V, nearness_V], axis=1).astype(np.float32)


def _background(view: View, side: int) -> Floats:
    """Return a gradient between two colours: float32 (side, side, 3)."""
    position = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    ramp_SS = np.clip(0.5 + view.slope_2[0] * position[None, :] + view.slope_2[1] * position[:, None], 0, 1)
    start_3, end_3 = view.background_23
    result: Floats = start_3 + (end_3 - start_3) * ramp_SS[:, :, None]
    return result


def _paint(
    image_SS3: Floats, depth_SS: Floats, seen: Fragments, values_VC: Floats, head: Head, bust: Bust, view: View
) -> None:
    """Colour and light the visible pixels of one layer, in place, where they are nearer than what is there."""
    values_PC = seen.interpolate(values_VC)
    part_P = bust.part_V[seen.corners_P3[:, 0]]
    shown_P = seen.depth_P > depth_SS[seen.pixels_P]
    shown_P &= (part_P != head.part_names.index("hair")) | (curtain_field(values_PC[:, :3]) > 0)
    values_PC, part_P, pixels_P = values_PC[shown_P], part_P[shown_P], seen.pixels_P[shown_P]
    surface = Surface(template_P3=values_PC[:, :3], regions_P3=values_PC[:, 3:6], part_P=part_P)
    colour_P3 = albedo(surface, bust.identity, view.gaze_2, head.part_names)
    wet_P = np.isin(part_P, [head.part_names.index(name) for name in ("eye-l", "eye-r")])
    image_SS3[pixels_P] = light(colour_P3, values_PC[:, 6:9], values_PC[:, 9], wet_P, view)
    depth_SS[pixels_P] = seen.depth_P[shown_P]


def light(colour_P3: Floats, normals_P3: Floats, shade_P: Floats, wet_P: NDArray[np.bool_], view: View) -> Floats:
    """Return lit colours: ambient, wrapped Lambert, and a Blinn-Phong highlight that is sharp on wet surfaces.

    Args:
        colour_P3: albedo, 0..255.
        normals_P3: normals in camera coordinates, not necessarily unit; those that face away are turned round.
        shade_P: darkening by neighbouring surface, about 1.
        wet_P: whether the surface is an eye.
        view: the light.
    """
    normals_P3 = normals_P3 / np.maximum(np.linalg.norm(normals_P3, axis=1, keepdims=True), 1e-6)
    normals_P3 = np.where(normals_P3[:, 2:] < 0, -normals_P3, normals_P3)
    diffuse_P = np.clip((normals_P3 @ view.light_3 + 0.2) / 1.2, 0, None)
    half_3 = view.light_3 + np.array([0, 0, 1], np.float32)
    gloss_P = np.clip(normals_P3 @ (half_3 / np.linalg.norm(half_3)), 0, 1)
    highlight_P = np.where(wet_P, 140 * gloss_P**60, 22 * gloss_P**14)
    amount_P = shade_P * (view.ambient + 0.66 * diffuse_P)
    result: Floats = (colour_P3 * amount_P[:, None] + highlight_P[:, None]) * view.tint_3
    return result


def _develop(image_HW3: Floats, view: View, channels: int) -> NDArray[np.uint8]:
    """Add sensor noise, convert to grey if asked, and quantise: uint8 (channels, H, W)."""
    noise_HW3 = np.random.default_rng(view.noise_seed).standard_normal(image_HW3.shape, dtype=np.float32)
    noisy_HW3 = np.clip(image_HW3 + view.noise * noise_HW3, 0, 255)
    if channels == 1:
        noisy_HW3 = noisy_HW3 @ GREY[:, None]
    return np.round(noisy_HW3).astype(np.uint8).transpose(2, 0, 1)
