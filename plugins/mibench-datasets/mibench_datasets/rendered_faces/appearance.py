"""Colouring: what colour the surface has at a pixel, before light falls on it.

Everything is procedural and painted per pixel in template coordinates (see ``Head.template_V3``), so edges of brows,
hair and iris are as sharp as the image allows, and move with the face when sliders bend it.

Shapes: P pixels, 3 of x y z or of red green blue (0..255). Fields are positive inside their region; units are
decimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mibench_datasets.rendered_faces.head import Floats
from mibench_datasets.rendered_faces.identity import Identity

EYE_Y, EYE_Z, EYE_X = 7.23, 1.24, 0.287
"""Centre of the left eyeball on the template; the right one is its mirror image."""

CURTAIN_Z = 0.62
"""Long hair falls behind here."""

SCLERA = np.array([222, 217, 212], np.float32)
PUPIL = np.array([14, 12, 12], np.float32)
TEETH = np.array([214, 207, 192], np.float32)
TONGUE = np.array([150, 74, 72], np.float32)
LIP_TINT = np.array([0.86, 0.6, 0.6], np.float32)
FLUSH = np.array([1.02, 0.9, 0.88], np.float32)
VOLUME = {"short": 0.10, "long": 0.10, "cropped": 0.02, "bald": 0.0}


@dataclass(frozen=True)
class Surface:
    """The visible surface.

    Attributes:
        template_P3: template coordinates.
        regions_P3: weights of lips, ears and eyelids in [0, 1].
        part_P: index into ``Head.part_names``.
    """

    template_P3: Floats
    regions_P3: Floats
    part_P: NDArray[np.int64]


def albedo(surface: Surface, identity: Identity, gaze_2: Floats, part_names: tuple[str, ...]) -> Floats:
    """Return the colour of the surface in neutral light: float32 (P, 3)."""
    colour_P3 = np.empty_like(surface.template_P3)
    for index, name in enumerate(part_names):
        here = np.flatnonzero(surface.part_P == index)
        if len(here):
            colour_P3[here] = _paint(name, surface.template_P3[here], surface.regions_P3[here], identity, gaze_2)
    return colour_P3


def _paint(name: str, at_P3: Floats, regions_P3: Floats, identity: Identity, gaze_2: Floats) -> Floats:
    if name == "skin":
        return _skin(at_P3, regions_P3, identity)
    if name == "hair":
        return _strands(at_P3, identity.coarse.hair_3)
    if name.startswith("eye"):
        return _eye(at_P3, identity.coarse.iris_3, gaze_2)
    return np.broadcast_to(TEETH if name == "teeth" else TONGUE, at_P3.shape)


def _skin(at_P3: Floats, regions_P3: Floats, identity: Identity) -> Floats:
    coarse = identity.coarse
    lips_P, ears_P, eyelids_P = regions_P3.T
    colour_P3 = np.repeat(coarse.skin_3[None], len(at_P3), axis=0)
    colour_P3 = _blend(colour_P3, coarse.skin_3 * FLUSH, 0.7 * _flush(at_P3) + 0.5 * ears_P)
    colour_P3 = _blend(colour_P3, coarse.skin_3 * 0.72, 0.7 * eyelids_P)
    colour_P3 = _blend(colour_P3, coarse.skin_3 * LIP_TINT, lips_P)
    hair_P3 = _strands(at_P3, coarse.hair_3)
    if coarse.beard:
        colour_P3 = _blend(colour_P3, hair_P3, 0.7 * _soft(beard_field(at_P3), 0.05) * (1 - lips_P))
    colour_P3 = _blend(colour_P3, 0.75 * coarse.hair_3, 0.85 * _soft(brow_field(at_P3, identity.brows_3), 0.018))
    if coarse.style != "bald":
        opacity = 0.75 if coarse.style == "cropped" else 1.0
        cover_P = _soft(scalp_field(at_P3, identity.hairline_2), 0.03) * (1 - ears_P)
        colour_P3 = _blend(colour_P3, hair_P3, opacity * cover_P)
    return colour_P3


def brow_field(at_P3: Floats, brows_3: Floats) -> Floats:
    """Return the distance inside the brows: float32 (P,).

    Args:
        at_P3: template coordinates.
        brows_3: thickness, height and arch in [-1, 1].
    """
    thickness, height, arch = brows_3
    along_P = (np.abs(at_P3[:, 0]) - 0.12) / 0.40  # 0 at the nose, 1 at the temple
    bow_P = 1 - ((along_P - 0.62) / 0.62) ** 2
    middle_P = EYE_Y + 0.225 + 0.03 * height + (0.045 + 0.035 * arch) * bow_P
    half_P = (0.042 + 0.02 * thickness) * np.clip(1.15 - 0.75 * along_P, 0.2, 1)
    inside_P = half_P - np.abs(at_P3[:, 1] - middle_P)
    ends_P = 0.4 * np.minimum(along_P, 1 - along_P)
    front_P = at_P3[:, 2] - (EYE_Z - 0.2)
    result: Floats = np.minimum(np.minimum(inside_P, ends_P), front_P)
    return result


def scalp_field(at_P3: Floats, hairline_2: Floats) -> Floats:
    """Return the distance inside the scalp: float32 (P,).

    Args:
        at_P3: template coordinates.
        hairline_2: height and recession at the temples in [-1, 1].
    """
    height, recession = hairline_2
    aside_P = np.abs(at_P3[:, 0])
    temple_P = np.exp(-(((aside_P - 0.42) / 0.16) ** 2))
    line_P = EYE_Y + 0.56 + 0.09 * height + (0.05 + 0.09 * recession) * temple_P
    above_P = at_P3[:, 1] - line_P
    behind_P = np.minimum(0.80 - at_P3[:, 2], at_P3[:, 1] - (EYE_Y - 0.5))
    result: Floats = np.maximum(above_P, behind_P)
    return result


def beard_field(at_P3: Floats) -> Floats:
    """Return the distance inside the beard area (moustache, chin, jaw): float32 (P,)."""
    aside_P, y_P, z_P = np.abs(at_P3[:, 0]), at_P3[:, 1], at_P3[:, 2]
    jaw_P = np.minimum(6.50 + 0.9 * np.maximum(aside_P - 0.30, 0) - y_P, y_P - 5.95)
    moustache_P = np.minimum(6.72 - 0.25 * aside_P - y_P, 0.33 - aside_P)
    moustache_P = np.minimum(moustache_P, y_P - 6.3)
    result: Floats = np.minimum(np.maximum(jaw_P, moustache_P), z_P - 0.72)
    return result


def hair_volume(template_V3: Floats, identity: Identity) -> Floats:
    """Return how far hair lifts the surface at each vertex, decimetres: float32 (V,)."""
    lift_V: Floats = VOLUME[identity.coarse.style] * _soft(scalp_field(template_V3, identity.hairline_2) - 0.05, 0.05)
    return lift_V


def curtain_field(at_P3: Floats) -> Floats:
    """Return the distance inside long hair that falls behind the ears; in front of them it is cut away: (P,)."""
    result: Floats = CURTAIN_Z - at_P3[:, 2]
    return result


def _flush(at_P3: Floats) -> Floats:
    """Return where blood shows: cheeks and tip of the nose, in [0, 1]."""
    cheeks_P = np.exp(-(((np.abs(at_P3[:, 0]) - 0.42) / 0.2) ** 2) - ((at_P3[:, 1] - 6.85) / 0.18) ** 2)
    nose_P = np.exp(-((at_P3[:, 0] / 0.14) ** 2) - ((at_P3[:, 1] - 6.87) / 0.12) ** 2)
    result: Floats = np.maximum(cheeks_P, nose_P)
    return result


def _eye(at_P3: Floats, iris_3: Floats, gaze_2: Floats) -> Floats:
    centre_P3 = np.stack(
        [np.copysign(EYE_X, at_P3[:, 0]), np.full(len(at_P3), EYE_Y), np.full(len(at_P3), EYE_Z)], axis=1
    )
    toward_P3 = (at_P3 - centre_P3).astype(np.float32)
    toward_P3 /= np.maximum(np.linalg.norm(toward_P3, axis=1, keepdims=True), 1e-6)
    ahead_3 = np.array([gaze_2[0], gaze_2[1], 1], np.float32)
    facing_P = toward_P3 @ (ahead_3 / np.linalg.norm(ahead_3))
    colour_P3 = _blend(np.repeat(SCLERA[None], len(at_P3), axis=0), iris_3 * 0.9, _soft(facing_P - 0.86, 0.02))
    return _blend(colour_P3, PUPIL, _soft(facing_P - 0.965, 0.01))


def _strands(at_P3: Floats, hair_3: Floats) -> Floats:
    """Return hair colour with light and dark strands that run from the crown down."""
    around_P = np.arctan2(at_P3[:, 0], at_P3[:, 2] - 0.4)
    wave_P = np.sin(23 * around_P + 3 * at_P3[:, 1]) + 0.7 * np.sin(41 * around_P - 5 * at_P3[:, 1] + 1)
    result: Floats = hair_3 * (1 + 0.09 * wave_P[:, None])
    return result


def _soft(field_P: Floats, width: float) -> Floats:
    """Return 0 outside and 1 inside a region, with a smooth edge of about ``width``."""
    t_P = np.clip(0.5 + field_P / (2 * width), 0, 1)
    result: Floats = t_P * t_P * (3 - 2 * t_P)
    return result


def _blend(under_P3: Floats, over_3: Floats, weight_P: Floats) -> Floats:
    result: Floats = under_P3 + (over_3 - under_P3) * weight_P[:, None]
    return result
