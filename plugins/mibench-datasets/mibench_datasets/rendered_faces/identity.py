"""Sampling identities. What tells people apart is the shape of the face; colours are shared by many on purpose.

Shapes: S sliders, M macro shapes, 3 of red green blue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mibench.api import derive_seed
from mibench_datasets.rendered_faces.head import Floats, Head

STYLES = ("short", "long", "cropped", "bald")
_SKIN_RAMP = np.array([[244, 206, 184], [226, 180, 146], [188, 134, 100], [132, 86, 60], [92, 58, 42]], np.float32)
_HAIR = np.array([[24, 19, 16], [58, 38, 24], [104, 72, 42], [176, 138, 86], [136, 132, 128]], np.float32)
_IRIS = np.array([[66, 42, 24], [70, 104, 136], [84, 106, 66]], np.float32)
CALMER = {"ears": 0.5, "eyes": 0.8}
"""Slider folders whose full range looks odd, and the fraction of it that is used."""
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Coarse:
    """What all identities of one coarse group share, and what therefore identifies nobody.

    Attributes:
        skin_3: skin colour, 0..255 sRGB.
        hair_3: colour of hair, brows and beard, 0..255.
        iris_3: eye colour, 0..255.
        style: one of ``STYLES``.
        beard: whether the group wears a beard; its members are then male.
    """

    skin_3: Floats
    hair_3: Floats
    iris_3: Floats
    style: str
    beard: bool


@dataclass(frozen=True)
class Identity:
    """The true latent parameters of one rendered person.

    Attributes:
        number: the identity's number in the dataset.
        group: coarse group, 0 .. coarse_groups - 1.
        coarse: colours and hair style, shared by the whole group.
        sliders_S: face shape, each in [-1, 1]; names in ``Head.slider_names``.
        macros_M: mix of ethnicity, sex and age, non-negative, sum 1; names in ``Head.macro_names``.
        brows_3: thickness, height and arch of the brows, each in [-1, 1].
        hairline_2: height and recession of the hairline, each in [-1, 1].
    """

    number: int
    group: int
    coarse: Coarse
    sliders_S: Floats
    macros_M: Floats
    brows_3: Floats
    hairline_2: Floats

    def latent(self) -> Floats:
        """Return the shape parameters as one vector: sliders, macros, brows, hairline; float32 (S + M + 5,)."""
        return np.concatenate([self.sliders_S, self.macros_M, self.brows_3, self.hairline_2])


def generator(*parts: str | int) -> np.random.Generator:
    """Return a numpy generator seeded from what it is for."""
    return np.random.default_rng(derive_seed("rendered-faces", *parts))


def sample_coarse(seed: int, group: int) -> Coarse:
    """Return the colours and style of a group; depends on ``(seed, group)`` only.

    Skin tones follow a golden-ratio sequence, so that few groups already cover the range evenly.
    """
    rng = generator(seed, "group", group)
    start = generator(seed, "groups").random()
    tone = (start + group * _GOLDEN) % 1 * (len(_SKIN_RAMP) - 1)
    skin_3 = np.stack([np.interp(tone, range(len(_SKIN_RAMP)), _SKIN_RAMP[:, c]) for c in range(3)])
    fair = tone < 1.6
    hair = rng.choice(len(_HAIR), p=[0.2, 0.3, 0.25, 0.15, 0.1] if fair else [0.75, 0.2, 0, 0, 0.05])
    iris = rng.choice(len(_IRIS), p=[0.4, 0.35, 0.25] if fair else [1, 0, 0])
    style = STYLES[(group + int(start * len(STYLES))) % len(STYLES)]
    return Coarse(
        skin_3=skin_3.astype(np.float32),
        hair_3=(_HAIR[hair] * rng.uniform(0.9, 1.15)).astype(np.float32),
        iris_3=_IRIS[iris],
        style=style,
        beard=bool(style != "long" and rng.random() < 0.5),
    )


def sample_identity(head: Head, *, seed: int, number: int, coarse_groups: int, shape_spread: float) -> Identity:
    """Sample identity ``number``; depends on the arguments only.

    Args:
        head: the head model, for the number of sliders.
        seed: seed of the population.
        number: identity number, >= 0.
        coarse_groups: how many groups share colours and style, >= 1.
        shape_spread: standard deviation of a slider, halved for ears. Above 0.4 faces become caricatures.
    """
    rng = generator(seed, "identity", number)
    spread_S = shape_spread * np.array([CALMER.get(name.split("/")[0], 1.0) for name in head.slider_names])
    sliders_S = np.clip(rng.normal(0, spread_S), -1, 1)
    sliders_S = np.where(head.slider_two_sided_S, sliders_S, np.abs(sliders_S))
    ethnicity_3 = rng.dirichlet([0.6] * 3)
    maleness, age = rng.beta(0.6, 0.6), rng.random() ** 1.5
    brows_3, hairline_2 = rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 2)
    group = int(rng.integers(coarse_groups))
    coarse = sample_coarse(seed, group)
    if coarse.beard:
        maleness = 0.6 + 0.4 * maleness
    macros_M = np.einsum("e,s,a->esa", ethnicity_3, [1 - maleness, maleness], [1 - age, age]).ravel()
    return Identity(
        number=number,
        group=group,
        coarse=coarse,
        sliders_S=sliders_S.astype(np.float32),
        macros_M=macros_M.astype(np.float32),
        brows_3=brows_3.astype(np.float32),
        hairline_2=hairline_2.astype(np.float32),
    )
