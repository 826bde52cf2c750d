"""BREP-MI: the contract, one step by hand, what it finds where the answer is known, and what it may see."""

import math

import pytest
import torch
from mibench_attacks.methods.brep_mi import BoundaryRepulsion

from mibench.api import Access, build
from mibench.testing import AttackContract

TINY = {"pool": 400, "final": 3, "steps": 4, "points": 8, "batch": 17}


class TestContract(AttackContract):
    component = BoundaryRepulsion
    settings = TINY


def disc(centre, radius):
    return lambda noise_NZ: (noise_NZ - torch.tensor(centre)).norm(dim=1) < radius


def test_one_step_is_that_of_the_formula():
    """Points outside push the chain back by min(R/3, 3) times their mean; R grows when enough of them are inside."""
    attack = build(BoundaryRepulsion, {"steps": 1, "points": 5, "radius": 0.3})
    start = torch.tensor([[0.9, 0.0], [0.0, 0.0]])
    within = disc((0.0, 0.0), 1.0)
    found = attack.walk(start, within, torch.Generator().manual_seed(4))
    points = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(4))
    points /= points.norm(dim=2, keepdim=True)
    outside = [[not within((start[m] + 0.3 * points[m, p])[None])[0] for p in range(5)] for m in range(2)]
    assert 2 <= sum(outside[0]) < 5  # near the boundary some are
    assert sum(outside[1]) == 0  # at the centre none is
    moved = start[0] + 0.1 * sum(-points[0, p] for p in range(5) if outside[0][p]) / 5
    assert torch.allclose(found.noise_MZ[0], moved, atol=1e-6)
    assert found.noise_MZ[1].tolist() == [0.0, 0.0]  # where the radius grew
    assert found.radius_M.tolist() == [0.0, pytest.approx(0.3)]


def test_it_walks_from_the_edge_to_the_middle_of_a_class():
    attack = build(BoundaryRepulsion, {"steps": 300, "radius": 0.2, "clamp": 3.0})
    centre = (0.5, -0.4, 0.2, 0.1)
    start = torch.tensor([centre, centre]) + torch.tensor([[0.95, 0, 0, 0], [0, -0.67, 0.67, 0]])
    found = attack.walk(start, disc(centre, 1.0), torch.Generator().manual_seed(1))
    left = (found.noise_MZ - torch.tensor(centre)).norm(dim=1)
    assert left.max() < 0.3
    assert (found.radius_M > 0.5).all()
    assert math.isclose(
        float(found.radius_M[0]), 0.2 * 1.3 ** round(math.log(float(found.radius_M[0]) / 0.2, 1.3)), rel_tol=1e-5
    )


def test_a_step_that_leaves_the_class_is_not_made():
    attack = build(BoundaryRepulsion, {"steps": 20, "radius": 5.0, "points": 3})
    start = torch.tensor([[0.1, 0.1]])
    within = disc((0.1, 0.1), 1e-4)
    found = attack.walk(start, within, torch.Generator().manual_seed(2))
    assert within(found.noise_MZ).all()


def test_it_sees_labels_alone():
    assert BoundaryRepulsion.access is Access.LABELS
    assert build(BoundaryRepulsion, {}).cost(10) == {
        "forward": 20000 + 10 * 33000, "backward": 0, "render": 20010 + 10 * 33000,
    }  # fmt: skip
