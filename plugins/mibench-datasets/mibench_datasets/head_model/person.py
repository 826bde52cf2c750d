"""From latents to people: the distribution of ``sample_identity``, as functions of standard normal numbers.

Shapes: B people, W latent size, S sliders, M macro shapes, G coarse groups, 3 of red green blue (0..255).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mibench_datasets.head_model.quantiles import LogGamma, uniform
from mibench_datasets.rendered_faces.appearance import VOLUME
from mibench_datasets.rendered_faces.head import Floats, Head
from mibench_datasets.rendered_faces.identity import CALMER, sample_coarse

_COVER = {"short": 1.0, "long": 1.0, "cropped": 0.75, "bald": 0.0}
_SHAPE = 0.6
"""Of the Dirichlet distribution of ethnicities, and of the beta distribution of maleness."""


@dataclass(frozen=True)
class Person:
    """A batch of people, as ``Identity`` describes one.

    Attributes:
        sliders_BS: face shape, each in [-1, 1].
        macros_BM: mix of ethnicity, sex and age.
        brows_3B: thickness, height and arch of the brows.
        hairline_2B: height and recession of the hairline.
        skin_3B: colour of the skin.
        hair_3B: colour of hair, brows and beard.
        iris_3B: colour of the eyes.
        beard_B: 1 with a beard, 0 without.
        volume_B: by how much hair lifts the surface, decimetres.
        cover_B: opacity of the hair on the scalp.
        long_B: whether long hair falls behind the ears.
    """

    sliders_BS: Tensor
    macros_BM: Tensor
    brows_3B: Tensor
    hairline_2B: Tensor
    skin_3B: Tensor
    hair_3B: Tensor
    iris_3B: Tensor
    beard_B: Tensor
    volume_B: Tensor
    cover_B: Tensor
    long_B: Tensor


class Population(nn.Module):
    """Maps standard normal latents to people who are distributed as ``sample_identity`` draws them.

    The latent of a person is, in this order: S sliders, in standard deviations; three for the mix of ethnicities, two
    for that of the sexes (logarithms of gamma variables whose softmax is the mix), one for age, three for the brows,
    two for the hairline (probits of uniform numbers), and one for each coarse group, of which the largest one wins.
    Every real vector is a person.

    Sliders are cut to [-1, 1] and groups are chosen outright, as in the dataset; derivatives pass the cut unchanged,
    and are those of a softmax of the groups for everything that a group is but the geometry of long hair.

    Args:
        head: the head model.
        seed: of the population.
        coarse_groups: G.
        shape_spread: standard deviation of the sliders.
    """

    spread_S: Tensor
    one_sided_S: Tensor
    groups_GK: Tensor

    def __init__(self, head: Head, *, seed: int, coarse_groups: int, shape_spread: float) -> None:
        super().__init__()
        calmer_S = [CALMER.get(name.split("/")[0], 1.0) for name in head.slider_names]
        self.register_buffer("spread_S", torch.as_tensor(shape_spread * np.array(calmer_S, np.float32)))
        self.register_buffer("one_sided_S", torch.as_tensor(~head.slider_two_sided_S), persistent=False)
        self.register_buffer("groups_GK", torch.as_tensor(_groups(seed, coarse_groups)))
        self.log_gamma = LogGamma(_SHAPE)
        self.sizes = (len(calmer_S), 3, 2, 1, 3, 2, coarse_groups)

    @property
    def size(self) -> int:
        """W."""
        return sum(self.sizes)

    def forward(self, latent_BW: Tensor) -> Person:
        """Return the people of these latents."""
        shape, ethnicity, sex, age, brows, hairline, group = latent_BW.split(self.sizes, dim=1)
        looks_KB = (self._choice(group) @ self.groups_GK).T
        beard_B = looks_KB[9]
        return Person(
            sliders_BS=self._sliders(shape),
            macros_BM=self._macros(ethnicity, sex, age, beard_B[:, None]),
            brows_3B=2 * uniform(brows).T - 1,
            hairline_2B=2 * uniform(hairline).T - 1,
            skin_3B=looks_KB[0:3],
            hair_3B=looks_KB[3:6],
            iris_3B=looks_KB[6:9],
            beard_B=beard_B,
            volume_B=looks_KB[10],
            cover_B=looks_KB[11],
            long_B=looks_KB[12].detach() > 0.5,
        )

    def _sliders(self, shape_BS: Tensor) -> Tensor:
        sliders_BS = shape_BS * self.spread_S
        sliders_BS = sliders_BS + (sliders_BS.clamp(-1, 1) - sliders_BS).detach()
        return torch.where(self.one_sided_S, sliders_BS.abs(), sliders_BS)

    def _macros(self, ethnicity_B3: Tensor, sex_B2: Tensor, age_B1: Tensor, beard_B1: Tensor) -> Tensor:
        ethnicity_B3 = self.log_gamma(ethnicity_B3).softmax(1)
        male_B1 = self.log_gamma(sex_B2).softmax(1)[:, 1:]
        male_B1 = male_B1 + beard_B1 * 0.6 * (1 - male_B1)
        old_B1 = uniform(age_B1) ** 1.5
        sex_B2, age_B2 = torch.cat([1 - male_B1, male_B1], 1), torch.cat([1 - old_B1, old_B1], 1)
        return torch.einsum("be,bs,ba->besa", ethnicity_B3, sex_B2, age_B2).flatten(1)

    def _choice(self, group_BG: Tensor) -> Tensor:
        """Return the largest one as 1 and the others as 0, with the derivative of a softmax."""
        soft_BG = group_BG.softmax(1)
        hard_BG = torch.zeros_like(soft_BG).scatter(1, group_BG.argmax(1, keepdim=True), 1.0)
        return hard_BG + (soft_BG - soft_BG.detach())


def _groups(seed: int, coarse_groups: int) -> Floats:
    """Return what each group looks like: skin, hair, iris, beard, volume, cover, whether long; float32 (G, 13)."""
    rows = []
    for group in range(coarse_groups):
        coarse = sample_coarse(seed, group)
        style = (coarse.beard, VOLUME[coarse.style], _COVER[coarse.style], coarse.style == "long")
        rows.append(np.array([*coarse.skin_3, *coarse.hair_3, *coarse.iris_3, *style], np.float32))
    return np.stack(rows)
