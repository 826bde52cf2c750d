"""The random views and the noise of attacks fill the ranges that are published for them, and no more.

Sections are those of a survey of the papers and their code that was made for this distribution.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from mibench_attacks.methods.plg_mi import PseudoLabelGuided
from mibench_attacks.methods.ppa import PlugAndPlay
from mibench_attacks.selection.pseudo_private import VIEW
from mibench_attacks.views.alignment import Alignment
from mibench_attacks.views.transforms import Draw

from mibench.api import generator
from mibench.api.params import build


def ppa(preset):
    return build(PlugAndPlay, PlugAndPlay.presets[preset])


class Views(NamedTuple):
    """How views are drawn, and the published ranges; ``jitter`` is that of brightness and contrast."""

    draw: Callable[[torch.Generator], list[Draw]]
    area: tuple[float, float]
    ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    degrees: float = 0.0
    jitter: float = 0.0


def many(view):
    return lambda rng: [view.draw(1, 1000, rng) for _ in range(1000)]


PLG_MI = PseudoLabelGuided().objective.objective()
VIEWS = {
    # section 1.3
    "ppa, search": Views(many(ppa("paper").objective.objective().view), (0.9, 1.0)),
    "ppa, search, dogs": Views(many(ppa("dogs").objective.objective().view), (0.75, 1.0)),
    "ppa, selection": Views(many(ppa("paper").selection.view), (0.5, 0.9), (0.8, 1.2), flip=0.5),
    "plg-mi": Views(many(PLG_MI.view), (0.8, 1.0), flip=0.5, degrees=5.0, jitter=0.2),
    # section 5.4
    "ppdg-vanilla": Views(many(VIEW), (0.8, 1.0), flip=0.5, degrees=5.0, jitter=0.2),
    # section 15
    "taa": Views(
        lambda rng: Alignment(kind="taa", n_aug=2000).draw(1, 3, 1000, rng),
        (0.8, 1.0), (0.9, 1.1), flip=0.5, degrees=5.0,
    ),
}  # fmt: skip


def assert_fills(values_N, low, high):
    """Values lie in a range and come near both ends; sides of crops are rounded to a thousandth of the image."""
    slack = 0.0015 if high > low else 1e-6
    near = slack + 0.03 * (high - low)
    assert low - slack <= values_N.min() <= low + near
    assert high - near <= values_N.max() <= high + slack


@pytest.mark.parametrize("name", VIEWS)
def test_views_fill_the_published_ranges(name):
    published = VIEWS[name]
    draws = published.draw(generator("views"))
    height_N, width_N = torch.cat([draw.boxes_N4 for draw in draws])[:, 2:].double().unbind(1)
    assert_fills(height_N * width_N / 1e6, *published.area)
    assert_fills(width_N / height_N, *published.ratio)
    assert torch.cat([draw.flips_N for draw in draws]).double().mean() == pytest.approx(
        published.flip, abs=0.05 if published.flip else 0
    )
    angles_N = torch.cat([torch.zeros(1) if draw.angles_N is None else draw.angles_N for draw in draws])
    assert_fills(angles_N, -published.degrees, published.degrees)
    gains_N2 = torch.cat([torch.ones(1, 2) if draw.gains_N2 is None else draw.gains_N2 for draw in draws])
    for gains_N in gains_N2.unbind(1):
        assert_fills(gains_N, 1 - published.jitter, 1 + published.jitter)


@pytest.mark.parametrize(("preset", "number"), [("taa", 20), ("alignmi-taa", 50)])
def test_taa_shows_that_many_views_of_the_image(preset, number):
    """Section 15: 50 copies, and 20 suffice; each is another view, drawn once for all candidates."""
    copies = ppa(preset).alignment.draw(3, 3, 64, generator("taa"))
    assert len(copies) == number
    assert len({tuple(copy.boxes_N4[0].tolist()) for copy in copies}) > 15
    x_NCSS = torch.rand(1, 3, 64, 64, generator=generator("image")).expand(3, -1, -1, -1)
    seen = [copy.apply(x_NCSS) for copy in copies]
    assert all(torch.equal(seen_NCSS[:1].expand_as(seen_NCSS), seen_NCSS) for seen_NCSS in seen)


@pytest.mark.parametrize(("preset", "number"), [("paa", 20), ("alignmi-paa", 50)])
def test_the_noise_of_paa_is_gaussian_with_a_twentieth_of_the_range(preset, number):
    """Section 15: sigma is 5 % of the pixel range."""
    grey = torch.full((1, 3, 64, 64), 0.5)
    copies = ppa(preset).alignment.draw(1, 3, 64, generator("paa"))
    noise = torch.stack([copy.apply(grey) - grey for copy in copies]).double()
    assert len(copies) == number
    assert abs(noise.mean()) < 0.0005
    assert abs(noise.std() - 0.05) < 0.0005
    assert abs((noise / noise.std()).pow(4).mean() - 3) < 0.1  # as of a normal distribution
    assert len({float(copy.apply(grey)[0, 0, 0, 0]) for copy in copies}) == number
