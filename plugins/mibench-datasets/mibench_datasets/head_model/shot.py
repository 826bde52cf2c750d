"""A batch of views in torch, and views as functions of standard normal numbers.

Shapes: B views, E expression units, W latent size, 3 of x y z or of red green blue (0..255). Angles are radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mibench_datasets.rendered_faces.head import Head
from mibench_datasets.rendered_faces.view import View, plain_view


@dataclass(frozen=True)
class Shot:
    """A batch of views, as ``View`` describes one, without sensor noise.

    Attributes:
        rotation_B33: from head to camera coordinates; ``None`` for no rotation.
        expression_EB: weights of the expression units; ``None`` for neutral ones.
        shift_2B: displacement of the face as a fraction of the image side, right and down.
        zoom_B: magnification.
        gaze_2B: direction of the eyes.
        light_3B: unit vector to the light.
        ambient_B: light from everywhere.
        tint_3B: colour of the light.
        background_23B: colours at the two ends of the gradient.
        slope_2B: unit vector along which the background changes.
    """

    rotation_B33: Tensor | None
    expression_EB: Tensor | None
    shift_2B: Tensor
    zoom_B: Tensor
    gaze_2B: Tensor
    light_3B: Tensor
    ambient_B: Tensor
    tint_3B: Tensor
    background_23B: Tensor
    slope_2B: Tensor


def shot_of(views: Sequence[View]) -> Shot:
    """Return views of the dataset as a batch."""

    def batch(values: Sequence[object]) -> Tensor:
        return torch.as_tensor(np.stack([np.asarray(value, np.float32) for value in values], axis=-1))

    return Shot(
        rotation_B33=batch([view.rotation() for view in views]).permute(2, 0, 1),
        expression_EB=batch([view.expression_E for view in views]),
        shift_2B=batch([view.shift_2 for view in views]),
        zoom_B=batch([view.zoom for view in views]),
        gaze_2B=batch([view.gaze_2 for view in views]),
        light_3B=batch([view.light_3 for view in views]),
        ambient_B=batch([view.ambient for view in views]),
        tint_3B=batch([view.tint_3 for view in views]),
        background_23B=batch([view.background_23 for view in views]),
        slope_2B=batch([view.slope_2 for view in views]),
    )


class Plain(nn.Module):
    """The view of a portrait, ``plain_view``, for everybody; it has no latents.

    Args:
        head: the head model.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        shot = shot_of([plain_view(head)])
        self.names = ("shift_2B", "zoom_B", "gaze_2B", "light_3B", "ambient_B", "tint_3B", "background_23B", "slope_2B")
        for name in self.names:
            self.register_buffer(name, getattr(shot, name), persistent=False)

    size = 0
    """W."""

    def forward(self, latent_BW: Tensor) -> Shot:
        """Return the same view for each of the (empty) latents."""
        values = {name: getattr(self, name).expand(*[-1] * (getattr(self, name).ndim - 1), len(latent_BW))
                  for name in self.names}  # fmt: skip
        return Shot(rotation_B33=None, expression_EB=None, **values)
