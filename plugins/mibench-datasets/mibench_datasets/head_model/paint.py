"""Colouring in torch: the same fields and blends as ``rendered_faces.appearance``, whose docstrings explain them.

Shapes: B people, P pixels of each (or V vertices and B people), 3 of x y z or of red green blue (0..255). Parameters of
people are shaped so that they broadcast against pixels: (B, 1), colours (3, B, 1).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mibench_datasets.head_model.person import Person
from mibench_datasets.rendered_faces.appearance import (
    EYE_X,
    EYE_Y,
    EYE_Z,
    FLUSH,
    LIP_TINT,
    PUPIL,
    SCLERA,
    TEETH,
    TONGUE,
)
from mibench_datasets.rendered_faces.head import Floats

MATERIALS = ("skin", "eye", "teeth", "tongue", "hair")
"""What the parts of a head are made of; a part's name begins with its material."""


class Spot(NamedTuple):
    """Surface to be coloured.

    Attributes:
        template_3BP: template coordinates.
        regions_3BP: weights of lips, ears and eyelids.
    """

    template_3BP: Tensor
    regions_3BP: Tensor


def colour(material: str, spot: Spot, person: Person, gaze_2B: Tensor) -> Tensor:
    """Return the colour of a surface of one of ``MATERIALS`` in neutral light: (3, B, P)."""
    match material:
        case "skin":
            return skin(spot, person)
        case "hair":
            return hair(spot, person)
        case "eye":
            return eye(spot, person, gaze_2B)
    return teeth(spot) if material == "teeth" else tongue(spot)


def skin(spot: Spot, person: Person) -> Tensor:
    """Return the colour of skin, with beard, brows and the hair on the scalp: (3, B, P)."""
    at_3BP = spot.template_3BP
    lips_BP, ears_BP, eyelids_BP = spot.regions_3BP
    tone_3BP = 1 + _colour(FLUSH - 1, at_3BP) * (0.7 * _flush(at_3BP) + 0.5 * ears_BP)
    tone_3BP = tone_3BP.lerp(tone_3BP.new_tensor(0.72), 0.7 * eyelids_BP)
    tone_3BP = tone_3BP.lerp(_colour(LIP_TINT, at_3BP), lips_BP)
    colour_3BP = tone_3BP * person.skin_3B[:, :, None]
    hair_3B1, waves_BP = person.hair_3B[:, :, None], _waves(at_3BP)
    hair_3BP = hair_3B1 * waves_BP
    beard_BP = 0.7 * person.beard_B[:, None] * soft(beard_field(at_3BP), 0.05) * (1 - lips_BP)
    colour_3BP = colour_3BP.lerp(hair_3BP, beard_BP)
    brows_BP = soft(brow_field(at_3BP, person.brows_3B[:, :, None]), 0.018)
    colour_3BP = colour_3BP.lerp(0.75 * hair_3B1, 0.85 * brows_BP)
    scalp_BP = soft(scalp_field(at_3BP, person.hairline_2B[:, :, None]), 0.03) * (1 - ears_BP)
    hairy_3BP: Tensor = colour_3BP.lerp(hair_3BP, person.cover_B[:, None] * scalp_BP)
    return hairy_3BP


def hair(spot: Spot, person: Person) -> Tensor:
    """Return the colour of long hair: (3, B, P)."""
    return person.hair_3B[:, :, None] * _waves(spot.template_3BP)


def eye(spot: Spot, person: Person, gaze_2B: Tensor) -> Tensor:
    """Return the colour of eyes that look into a direction: (3, B, P)."""
    x, y, z = spot.template_3BP
    x, y, z = x - torch.copysign(torch.full_like(x, EYE_X), x.detach()), y - EYE_Y, z - EYE_Z
    length_BP = (x * x + y * y + z * z).clamp_min(1e-12).sqrt()
    aside_B1, up_B1 = gaze_2B[:, :, None]
    ahead_B1 = (aside_B1 * aside_B1 + up_B1 * up_B1 + 1).rsqrt()
    facing_BP = (x * aside_B1 + y * up_B1 + z) * ahead_B1 / length_BP
    iris_BP, pupil_BP = soft(facing_BP - 0.86, 0.02), soft(facing_BP - 0.965, 0.01)
    colour_3BP = _colour(SCLERA, x).lerp(0.9 * person.iris_3B[:, :, None], iris_BP)
    return colour_3BP.lerp(_colour(PUPIL, x), pupil_BP)


def teeth(spot: Spot) -> Tensor:
    """Return the colour of teeth: (3, B, P)."""
    return _colour(TEETH, spot.template_3BP).expand_as(spot.template_3BP)


def tongue(spot: Spot) -> Tensor:
    """Return the colour of the tongue: (3, B, P)."""
    return _colour(TONGUE, spot.template_3BP).expand_as(spot.template_3BP)


def brow_field(at_3BP: Tensor, brows_3B1: Tensor) -> Tensor:
    """Return the distance inside the brows: (B, P)."""
    x, y, z = at_3BP
    thickness, height, arch = brows_3B1
    along = (x.abs() - 0.12) / 0.40
    bow = 1 - ((along - 0.62) / 0.62).square()
    middle = (EYE_Y + 0.225 + 0.03 * height) + (0.045 + 0.035 * arch) * bow
    half = (0.042 + 0.02 * thickness) * (1.15 - 0.75 * along).clamp(0.2, 1)
    inside = half - (y - middle).abs()
    ends = 0.4 * torch.minimum(along, 1 - along)
    return torch.minimum(torch.minimum(inside, ends), z - (EYE_Z - 0.2))


def scalp_field(at_3BP: Tensor, hairline_2B1: Tensor) -> Tensor:
    """Return the distance inside the scalp: (B, P)."""
    x, y, z = at_3BP
    height, recession = hairline_2B1
    temple = _bell(((x.abs() - 0.42) / 0.16).square())
    line = (EYE_Y + 0.56 + 0.09 * height) + (0.05 + 0.09 * recession) * temple
    behind = torch.minimum(0.80 - z, y - (EYE_Y - 0.5))
    return torch.maximum(y - line, behind)


def beard_field(at_3BP: Tensor) -> Tensor:
    """Return the distance inside the beard area: (B, P)."""
    x, y, z = at_3BP
    aside = x.abs()
    jaw = torch.minimum(6.50 + 0.9 * (aside - 0.30).relu() - y, y - 5.95)
    moustache = torch.minimum(torch.minimum(6.72 - 0.25 * aside - y, 0.33 - aside), y - 6.3)
    return torch.minimum(torch.maximum(jaw, moustache), z - 0.72)


def soft(field: Tensor, width: float) -> Tensor:
    """Return 0 outside and 1 inside a region, with a smooth edge of about ``width``."""
    t = (0.5 + field / (2 * width)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _flush(at_3BP: Tensor) -> Tensor:
    x, y, _ = at_3BP
    cheeks = _bell(((x.abs() - 0.42) / 0.2).square() + ((y - 6.85) / 0.18).square())
    nose = _bell((x / 0.14).square() + ((y - 6.87) / 0.12).square())
    return torch.maximum(cheeks, nose)


def _bell(square: Tensor) -> Tensor:
    """Return ``exp(-square)``, but never so little that numbers lose their precision and processors their speed."""
    return (-square.clamp_max(40)).exp()


def _waves(at_3BP: Tensor) -> Tensor:
    """Return light and dark strands of hair, about 1."""
    x, y, z = at_3BP
    around = torch.atan2(x, z - 0.4)
    waves: Tensor = 1 + 0.09 * ((23 * around + 3 * y).sin() + 0.7 * (41 * around - 5 * y + 1).sin())
    return waves


def _colour(colour_3: Floats, like: Tensor) -> Tensor:
    return torch.as_tensor(colour_3).to(like)[:, None, None]
