"""Views as functions of standard normal numbers, distributed as ``sample_view`` draws them.

Shapes: B views, W latent size, E expression units, 3 of x y z or of red green blue (0..255).
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from mibench_datasets.head_model.quantiles import uniform
from mibench_datasets.head_model.shot import Shot
from mibench_datasets.rendered_faces.head import Head
from mibench_datasets.rendered_faces.view import NEUTRAL_SHARE, mirror_image


class Free(nn.Module):
    """Maps standard normal latents to views.

    The latent of a view is, in this order: yaw, pitch, roll; displacement (2); zoom; gaze (2); light (2); ambient
    light; tint (4); background (2 grey, 6 of colour); direction of its gradient; whether the expression is neutral;
    and for each of the E expression units how much it wants to be shown, its weight, and the weight of its mirror
    image. The two units that most want to be shown are; this choice has no derivative.

    Args:
        head: the head model.
    """

    mirror_E: Tensor
    sizes = (3, 2, 1, 2, 2, 1, 4, 2, 6, 1, 1)

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.units = len(head.expression_names)
        names = head.expression_names
        mirror_E = [names.index(mirror_image(name)) for name in names]
        self.register_buffer("mirror_E", torch.as_tensor(mirror_E), persistent=False)

    @property
    def size(self) -> int:
        """W."""
        return sum(self.sizes) + 3 * self.units

    def forward(self, latent_BW: Tensor) -> Shot:
        """Return the views of these latents."""
        parts = latent_BW.split([*self.sizes, self.units, self.units, self.units], dim=1)
        turn, shift, zoom, gaze, light, ambient, tint, grey, colour, slope, neutral, *expression = parts
        grey_2B = _between(60, 200, grey.T)
        around_B = 2 * pi * uniform(slope[:, 0])
        return Shot(
            rotation_B33=_rotation(turn),
            expression_EB=self._expression(neutral, *expression).T,
            shift_2B=0.012 * shift.T,
            zoom_B=_between(0.96, 1.05, zoom[:, 0]),
            gaze_2B=0.12 * gaze.T,
            light_3B=_light(light),
            ambient_B=_between(0.36, 0.52, ambient[:, 0]),
            tint_3B=_between(0.9, 1.06, tint[:, :1].T) * (1 + 0.02 * tint[:, 1:].T),
            background_23B=(grey_2B[:, None] + 12 * colour.T.unflatten(0, (2, 3))).clamp(20, 235),
            slope_2B=torch.stack([around_B.cos(), around_B.sin()]),
        )

    def _expression(self, neutral_B1: Tensor, wish_BE: Tensor, weight_BE: Tensor, mirrored_BE: Tensor) -> Tensor:
        """Return the weights of the expression units: (B, E)."""
        first_B1, second_B1 = wish_BE.topk(2, dim=1).indices.split(1, dim=1)
        own_BE, share_BE = _between(0.1, 0.6, weight_BE), _between(0.8, 1, mirrored_BE)
        shown_BE = torch.zeros_like(own_BE)
        for unit_B1 in (first_B1, second_B1):  # the second one overwrites the first one's mirror image
            mirror_B1 = self.mirror_E[unit_B1]
            value_B1 = own_BE.gather(1, unit_B1)
            shown_BE = shown_BE.scatter(1, unit_B1, value_B1)
            mirrored_B1 = torch.where(mirror_B1 == unit_B1, value_B1, value_B1 * share_BE.gather(1, unit_B1))
            shown_BE = shown_BE.scatter(1, mirror_B1, mirrored_B1)
        return shown_BE * (uniform(neutral_B1) >= NEUTRAL_SHARE)


def _between(low: float, high: float, z: Tensor) -> Tensor:
    return low + (high - low) * uniform(z)


def _light(z_B2: Tensor) -> Tensor:
    toward_3B = torch.stack([0.6 * z_B2[:, 0], _between(-0.1, 0.8, z_B2[:, 1]), torch.ones_like(z_B2[:, 0])])
    return toward_3B * toward_3B.square().sum(0).rsqrt()


def _rotation(z_B3: Tensor) -> Tensor:
    """Return roll @ pitch @ yaw: (B, 3, 3)."""
    spread, reach = z_B3.new_tensor([0.25, 0.1, 0.05]), z_B3.new_tensor([0.6, 0.25, 0.15])
    angle_B3 = z_B3 * spread
    angle_B3 = angle_B3 + (angle_B3.clamp(-reach, reach) - angle_B3).detach()
    (cy, cp, cr), (sy, sp, sr) = angle_B3.cos().T, angle_B3.sin().T
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)

    def matrix(*entries: Tensor) -> Tensor:
        matrix_B33: Tensor = torch.stack(entries, dim=1).unflatten(1, (3, 3))
        return matrix_B33

    yaw = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    pitch = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    roll = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    return roll @ pitch @ yaw
