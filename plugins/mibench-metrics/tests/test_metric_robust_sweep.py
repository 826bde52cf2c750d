"""The sweep and what attacks do alone, against loops over images: attacks whose every outcome is written in a table.

Image i is a single pixel of value i / 255, so that an attack knows whom it has before it.
"""

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest
import torch
from mibench_metrics.robust_accuracy.alone import Alone, run_alone, together
from mibench_metrics.robust_accuracy.budget import AttackBudget
from mibench_metrics.robust_accuracy.ensemble import Attempt
from mibench_metrics.robust_accuracy.sweep import Sweep
from mibench_metrics.robust_accuracy.victims import EvalImages

from mibench.api import TensorImages

EPS = (0.1, 0.2, 0.3)
NUMBER = 40
CPU = torch.device("cpu")
ALL = AttackBudget(
    apgd_ce_iterations=1, apgd_t_targets=1, apgd_t_iterations=1, fab_targets=2, fab_iterations=1, square_queries=1
)
NAMES = ("apgd-ce", "apgd-t", "fab-t", "square")


def who(x_BCHW):
    return (255 * x_BCHW.flatten()).round().long()


@dataclass
class Scripted:
    """An ensemble that breaks what its tables say, and notes whom it was asked to break."""

    tables: dict
    radii: np.ndarray
    budget: AttackBudget = ALL
    asked: list = field(default_factory=list)

    @classmethod
    def drawn(cls, seed, budget=ALL, share=0.25):
        """Tables without any order: an attack may fail at a radius and succeed at a smaller one."""
        rng = np.random.default_rng(seed)
        tables = {name: rng.random((len(EPS), NUMBER)) < share for name in NAMES if name != "fab-t"}
        radii = np.where(rng.random((2, NUMBER)) < 0.5, rng.choice([0.1, 0.15, 0.25, 0.35], (2, NUMBER)), np.inf)
        return cls(tables, radii, budget)

    def model(self, x_BCHW):
        """Two logits; what an attack delivers, a pixel above 1, has the loss of its size."""
        x_B = x_BCHW.flatten().double()
        return torch.stack([torch.zeros_like(x_B), x_B], 1)

    def _attempt(self, name, x_BCHW, eps):
        index_B = who(x_BCHW)
        self.asked += [(name, eps, index) for index in index_B.tolist()]
        broken_B = torch.tensor(self.tables[name][EPS.index(eps)])[index_B]
        return Attempt(broken_B, x_BCHW + NAMES.index(name) + 1 + eps)

    def apgd_ce(self, x_BCHW, y_B, eps):
        return self._attempt("apgd-ce", x_BCHW, eps)

    def apgd_t(self, x_BCHW, y_B, eps):
        return self._attempt("apgd-t", x_BCHW, eps)

    def square(self, x_BCHW, y_B, eps):
        return self._attempt("square", x_BCHW, eps)

    def fab_radii(self, x_BCHW, y_B):
        index_B = who(x_BCHW)
        self.asked += [("fab-t", None, index) for index in index_B.tolist()]
        return torch.tensor(self.radii.min(0), dtype=torch.float32)[index_B]

    def fab_runs(self, x_BCHW, y_B):
        index_B = who(x_BCHW)
        for run, norms in enumerate(self.radii):
            yield torch.tensor(norms, dtype=torch.float32)[index_B], x_BCHW + 3 + 0.01 * (run + 1)


def victims(batch=7):
    pixels = torch.arange(NUMBER, dtype=torch.uint8).view(-1, 1, 1, 1)
    return EvalImages(TensorImages(pixels, torch.zeros(NUMBER, dtype=torch.int64), 2), batch, CPU)


def correct(seed):
    return torch.tensor(np.random.default_rng(100 + seed).random(NUMBER) < 0.8)


def broken_by(run, name, place, image):
    if name == "fab-t":
        return np.float32(run.radii[:, image].min()) <= np.float32(EPS[place])
    return run.tables[name][place, image]


@pytest.mark.parametrize("seed", range(5))
def test_an_image_falls_to_the_first_attack_at_the_smallest_radius(seed):
    run, right = Scripted.drawn(seed), correct(seed)
    found = Sweep(run, EPS).run(victims(), right)
    counts = [dict.fromkeys(NAMES, 0) for _ in EPS]
    standing = []
    for image in range(NUMBER):
        falls = next(
            ((place, name) for place, name in product(range(3), NAMES) if broken_by(run, name, place, image)), None
        )
        if right[image] and falls:
            counts[falls[0]][falls[1]] += 1
        standing.append([bool(right[image]) and (falls is None or falls[0] > place) for place in range(3)])
    assert found.robust_EN.T.tolist() == standing
    assert found.broken == counts
    assert not (found.robust_EN[1:] & ~found.robust_EN[:-1]).any()


@pytest.mark.parametrize("seed", range(3))
def test_only_those_who_stand_are_attacked_and_fab_t_once_for_all_radii(seed):
    run, right = Scripted.drawn(seed), correct(seed)
    Sweep(run, EPS).run(victims(), right)
    for image in range(NUMBER):
        whom = [(name, eps) for name, eps, index in run.asked if index == image]
        if not right[image]:
            assert whom == []
            continue
        expected = [("fab-t", None)]
        for place, name in product(range(3), NAMES):
            if name != "fab-t":
                expected.append((name, EPS[place]))
            if broken_by(run, name, place, image):
                break
        assert whom == expected


def test_radii_are_those_of_fab_t_and_0_for_what_is_wrong_already():
    run, right = Scripted.drawn(7), correct(7)
    found = Sweep(run, EPS).run(victims(), right)
    expected = np.where(right.numpy(), run.radii.min(0), 0)
    assert found.radii_N.numpy() == pytest.approx(expected)
    without = AttackBudget(apgd_ce_iterations=1)
    assert Sweep(Scripted.drawn(7, without), EPS).run(victims(), right).radii_N is None


@pytest.mark.parametrize("seed", range(3))
def test_trusting_in_monotony_spares_what_survives_the_largest_radius(seed):
    run, right = Scripted.drawn(seed, share=0.15), correct(seed)
    found = Sweep(run, EPS, assume_monotone=True).run(victims(), right)
    for image in np.flatnonzero(right.numpy()):
        survives = not any(broken_by(run, name, 2, image) for name in NAMES)
        falls = [place for place, name in product(range(3), NAMES) if broken_by(run, name, place, image)]
        first = 3 if survives or not falls else falls[0]
        assert found.robust_EN[:, image].tolist() == [place < first for place in range(3)]


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("budget", [ALL, AttackBudget(apgd_ce_iterations=1), AttackBudget(square_queries=3)])
def test_the_announced_number_of_ticks_comes(budget, monotone):
    ticks = []
    sweep = Sweep(Scripted.drawn(0, budget), EPS, monotone, ticks.append)
    found = sweep.run(victims(), correct(0))
    assert len(ticks) == sweep.stages()
    if not monotone:
        assert ticks[-1] == {"eps": 0.3, "robust": found.robust_EN[-1].double().mean().item()}


def loss(value):
    """Cross-entropy of class 0 where the other logit is the pixel."""
    return np.log1p(np.exp(value))


@pytest.mark.parametrize("seed", range(3))
def test_attacks_alone_share_nothing(seed):
    run, right = Scripted.drawn(seed), correct(seed)
    ticks = []
    found = run_alone(run, EPS, victims(), right, lambda: ticks.append(1))
    assert len(ticks) == -(-int(right.sum()) // 7)
    for place, name, image in product(range(3), NAMES, range(NUMBER)):
        got, clean = found[place][name], image / 255
        within = [k for k in range(2) if np.float32(run.radii[k, image]) <= np.float32(EPS[place])]
        if name == "fab-t":
            delivered = clean + 3 + 0.01 * (within[0] + 1) if within else None
        else:
            hit = run.tables[name][place, image]
            delivered = clean + NAMES.index(name) + 1 + EPS[place] if hit else None
        delivered = delivered if right[image] else None
        assert got.robust_N[image] == (bool(right[image]) and delivered is None)
        rise = 0.0 if delivered is None else loss(delivered) - loss(clean)
        assert got.rise_N[image].item() == pytest.approx(rise, abs=1e-6)


@pytest.mark.parametrize(
    ("budget", "names"),
    [
        (AttackBudget(), []),
        (AttackBudget(apgd_ce_iterations=3), ["apgd-ce"]),
        (AttackBudget(apgd_t_targets=2, fab_iterations=3), []),  # without iterations, and without targets
        (AttackBudget(apgd_t_targets=2, apgd_t_iterations=1, square_queries=1), ["apgd-t", "square"]),
        (ALL, list(NAMES)),
    ],
)
def test_attacks_without_a_budget_do_not_take_part(budget, names):
    run = Scripted.drawn(0, budget)
    found = run_alone(run, EPS, victims(), correct(0), lambda: None)
    assert [list(one) for one in found] == [names] * 3
    assert {name for name, *_ in run.asked} <= set(names)


def test_the_first_attack_that_breaks_delivers_in_all_cases():
    """Three attacks, each of which breaks or does not: eight images, one for each case."""
    cases = list(product([False, True], repeat=3))
    alone = {}
    for k, name in enumerate("abc"):
        hit = torch.tensor([case[k] for case in cases])
        alone[name] = Alone(~hit, 10.0**k * hit.double())
    expected = [next((10.0**k for k in range(3) if case[k]), 0.0) for case in cases]
    assert together(alone).tolist() == expected
