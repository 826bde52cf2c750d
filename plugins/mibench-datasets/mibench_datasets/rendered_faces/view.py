"""Sampling views: everything that differs between two photographs of one person.

Shapes: E expression units, 3 of x y z or of red green blue. Angles are radians, colours 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mibench_datasets.rendered_faces.head import Floats, Head
from mibench_datasets.rendered_faces.identity import generator

NEUTRAL_SHARE = 0.25
_MIRRORED = ("left", "right")


@dataclass(frozen=True)
class View:
    """One photograph's pose, expression, light, background and noise.

    Attributes:
        yaw: turn of the head to its left.
        pitch: nod.
        roll: tilt to the shoulder.
        shift_2: displacement of the face as a fraction of the image side, right and down.
        zoom: magnification, about 1.
        expression_E: weights of the expression units in [0, 1].
        gaze_2: direction of the eyes, sideways and up.
        light_3: unit vector to the light, camera coordinates.
        ambient: light from everywhere, fraction.
        tint_3: colour of the light, about 1.
        background_23: colours at the two ends of the background's gradient.
        slope_2: unit vector along which the background changes.
        noise: standard deviation of the sensor noise.
        noise_seed: seed of the sensor noise.
    """

    yaw: float
    pitch: float
    roll: float
    shift_2: Floats
    zoom: float
    expression_E: Floats
    gaze_2: Floats
    light_3: Floats
    ambient: float
    tint_3: Floats
    background_23: Floats
    slope_2: Floats
    noise: float
    noise_seed: int

    def rotation(self) -> Floats:
        """Return the rotation from head to camera coordinates: float32 (3, 3), applied to column vectors."""
        (sy, cy), (sp, cp), (sr, cr) = ((np.sin(a), np.cos(a)) for a in (self.yaw, self.pitch, self.roll))
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        result: Floats = (roll @ pitch @ yaw).astype(np.float32)
        return result


def sample_view(head: Head, *, seed: int, number: int, index: int) -> View:
    """Sample image ``index`` of identity ``number``; depends on the arguments only."""
    return _sample(head, generator(seed, "identity", number, "image", index))


def plain_view(head: Head) -> View:
    """Return the view of a passport photograph: frontal, neutral, even light, plain background, no noise.

    Light and background are the middle of what ``sample_view`` draws.
    """
    light_3 = np.array([0, 0.35, 1], np.float32)
    return View(
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        shift_2=np.zeros(2, np.float32),
        zoom=1.0,
        expression_E=np.zeros(len(head.expression_names), np.float32),
        gaze_2=np.zeros(2, np.float32),
        light_3=(light_3 / np.linalg.norm(light_3)).astype(np.float32),
        ambient=0.44,
        tint_3=np.ones(3, np.float32),
        background_23=np.full((2, 3), 130, np.float32),
        slope_2=np.array([1, 0], np.float32),
        noise=0.0,
        noise_seed=0,
    )


def portrait_view(head: Head, *, seed: int, number: int, take: int) -> View:
    """Return the view of a portrait of identity ``number``; depends on the arguments only.

    Take 0 is ``plain_view``. Later takes show the same pose and expression in another light, before another
    background and with noise, distributed as in ``sample_view``.
    """
    plain = plain_view(head)
    if take == 0:
        return plain
    drawn = _sample(head, generator(seed, "identity", number, "portrait", take))
    return replace(
        plain,
        light_3=drawn.light_3,
        ambient=drawn.ambient,
        tint_3=drawn.tint_3,
        background_23=drawn.background_23,
        slope_2=drawn.slope_2,
        noise=drawn.noise,
        noise_seed=drawn.noise_seed,
    )


def _sample(head: Head, rng: np.random.Generator) -> View:
    light_3 = np.array([rng.normal(0, 0.6), rng.uniform(-0.1, 0.8), 1.0])
    turn = rng.uniform(0, 2 * np.pi)
    grey = rng.uniform(60, 200, size=(2, 1))
    return View(
        yaw=float(np.clip(rng.normal(0, 0.25), -0.6, 0.6)),
        pitch=float(np.clip(rng.normal(0, 0.1), -0.25, 0.25)),
        roll=float(np.clip(rng.normal(0, 0.05), -0.15, 0.15)),
        shift_2=rng.normal(0, 0.012, 2).astype(np.float32),
        zoom=float(rng.uniform(0.96, 1.05)),
        expression_E=_expression(head, rng),
        gaze_2=rng.normal(0, 0.12, 2).astype(np.float32),
        light_3=(light_3 / np.linalg.norm(light_3)).astype(np.float32),
        ambient=float(rng.uniform(0.36, 0.52)),
        tint_3=(rng.uniform(0.9, 1.06) * rng.normal(1, 0.02, 3)).astype(np.float32),
        background_23=np.clip(grey + rng.normal(0, 12, (2, 3)), 20, 235).astype(np.float32),
        slope_2=np.array([np.cos(turn), np.sin(turn)], np.float32),
        noise=float(rng.uniform(1, 3)),
        noise_seed=int(rng.integers(2**62)),
    )


def _expression(head: Head, rng: np.random.Generator) -> Floats:
    """Draw up to two expression units; a unit of one side of the face brings its mirror image along."""
    weights_E = np.zeros(len(head.expression_names), np.float32)
    if rng.random() < NEUTRAL_SHARE:
        return weights_E
    for unit in rng.choice(len(weights_E), size=2, replace=False):
        weight = rng.uniform(0.1, 0.6)
        name = head.expression_names[unit]
        weights_E[unit] = weight
        if mirror_image(name) != name:
            weights_E[head.expression_names.index(mirror_image(name))] = weight * rng.uniform(0.8, 1)
    return weights_E


def mirror_image(name: str) -> str:
    """Return the expression unit that does on the other side of the face what this one does; itself if it has none."""
    for side, other in (_MIRRORED, _MIRRORED[::-1]):
        if f"-{side}-" in name:
            return name.replace(side, other)
    return name
