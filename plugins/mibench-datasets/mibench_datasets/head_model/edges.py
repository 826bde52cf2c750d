"""Derivatives of occlusion: how an image changes as the border between two surfaces moves.

A z-buffer decides what a pixel shows once and for all, so that the derivative of its colour knows nothing of outlines.
Where two neighbouring pixels show different surfaces, a shift of the nearer one by a fraction of a pixel trades that
fraction of one colour for the other. This is added to the pair, with the value zero: images stay as they are. The
same serves for triangles narrower than a pixel (``Seen.edge_on``), across which colours change in a jump.

In the spirit of Loper and Black, "OpenDR" (ECCV 2014), but differences are taken across the border only.

Shapes: B images, S side in pixels, N = B * S * S pixels, E pairs of neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mibench_datasets.head_model.scene import Seen
from mibench_datasets.head_model.surface import interpolate, points, screen, weights

_STEP = 5e-4
"""Difference of 1 / distance that tells two surfaces apart: about a centimetre."""


def with_moving_edges(image_3N: Tensor, seen: Seen, corners_3T: Tensor, table_CVB: Tensor, side: int) -> Tensor:
    """Return the same image with derivatives of its outlines.

    Args:
        image_3N: colours of all pixels.
        seen: what they show.
        corners_3T: vertices of all triangles.
        table_CVB: screen x and screen y of the vertices, and more.
        side: S.
    """
    for axis, stride in ((0, 1), (1, side)):
        before_E = _borders(seen, axis, side)
        after_E = before_E + stride
        nearer_E = torch.where(seen.nearness_N[before_E] > seen.nearness_N[after_E], before_E, after_E)
        at = points(seen, corners_3T, nearer_E, side)
        corners_23E = screen(at, table_CVB)
        place_E = interpolate(corners_23E[axis][None], weights(corners_23E).detach())[0]
        change_3E = (image_3N.detach().index_select(1, before_E) - image_3N.detach().index_select(1, after_E)) * (
            place_E - place_E.detach()
        )
        pair_3K = torch.cat([before_E, after_E]).expand(len(image_3N), -1)
        image_3N = image_3N.scatter_add(1, pair_3K, 0.5 * change_3E.repeat(1, 2))
    return image_3N


def _borders(seen: Seen, axis: int, side: int) -> Tensor:
    """Return the pixels from which the colour jumps to the right (axis 0) or lower (axis 1) neighbour."""
    material, nearness = (x_N.view(-1, side, side) for x_N in (seen.material_N, seen.nearness_N))
    dim = 2 - axis
    here, there = (slice(None, -1), slice(1, None))
    first, second = ([slice(None)] * dim + [part] for part in (here, there))
    border = material[tuple(first)] != material[tuple(second)]
    steep = seen.edge_on(slice(None)).view(-1, side, side)
    border |= steep[tuple(first)] | steep[tuple(second)]
    border |= (nearness[tuple(first)] - nearness[tuple(second)]).abs() > _STEP
    image, row, column = border.nonzero(as_tuple=True)
    return (image * side + row) * side + column
