"""The rasteriser against hand calculations and against brute force."""

import numpy as np
import pytest
from mibench_datasets.rendered_faces.rasterise import rasterise
from numpy.testing import assert_allclose

FACING = np.array([[0, 1, 2]])  # with y pointing down, what faces the viewer is clockwise in (x, y-down) arithmetic


def screen(*points):
    return np.array(points, np.float32)


def test_coverage_of_a_triangle_by_hand():
    # Legs along x = 0.25 and y = 0.25, hypotenuse x + y = 3.5: centres (c + .5, r + .5) with c + r < 2.5 are inside.
    corners = screen((0.25, 0.25, 1), (0.25, 3.25, 1), (3.25, 0.25, 1))
    seen = rasterise(corners, FACING, 4)
    assert seen.pixels_P.tolist() == [0, 1, 2, 4, 5, 8]
    assert seen.corners_P3.tolist() == [[0, 1, 2]] * 6
    # The centre (1.5, .5) lies 1.25 / 3 along x and .25 / 3 along y.
    assert_allclose(seen.weights_P3[1], [1.5 / 3, 0.25 / 3, 1.25 / 3], atol=1e-6)
    assert_allclose(seen.weights_P3.sum(1), 1, atol=1e-6)
    assert_allclose(seen.depth_P, 1, atol=1e-6)


def test_only_the_outside_is_drawn_unless_asked():
    corners = screen((0.25, 0.25, 1), (0.25, 3.25, 1), (3.25, 0.25, 1))
    inside_out = FACING[:, ::-1]
    assert len(rasterise(corners, inside_out, 4).pixels_P) == 0
    both = rasterise(corners, inside_out, 4, two_sided=True)
    front = rasterise(corners, FACING, 4, two_sided=True)
    assert both.pixels_P.tolist() == front.pixels_P.tolist() == rasterise(corners, FACING, 4).pixels_P.tolist()
    assert_allclose(both.weights_P3[:, ::-1], front.weights_P3, atol=1e-6)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearer_triangle_wins_whatever_the_order(order):
    far = screen((0, 0, 0.1), (0, 8, 0.1), (8, 0, 0.1))
    near = screen((0, 0, 0.2), (0, 4, 0.2), (4, 0, 0.2))
    seen = rasterise(np.concatenate([far, near]), np.array([[0, 1, 2], [3, 4, 5]])[order], 8)
    row, column = np.divmod(seen.pixels_P, 8)
    front = seen.corners_P3[:, 0] == 3
    assert np.array_equal(front, row + column + 1 <= 4)
    assert_allclose(seen.depth_P, np.where(front, 0.2, 0.1), rtol=1e-5)
    assert len(set(seen.pixels_P.tolist())) == len(seen.pixels_P)


def test_triangles_that_cut_each_other_swap_where_their_depths_cross():
    ramp = screen((-8, -8, 0), (-8, 24, 0), (24, -8, 1))  # nearness (x + 8) / 32
    flat = screen((-8, -8, 0.4), (-8, 24, 0.4), (24, -8, 0.4))  # crosses at x = 4.8
    seen = rasterise(np.concatenate([ramp, flat]), np.array([[0, 1, 2], [3, 4, 5]]), 8)
    assert seen.pixels_P.tolist() == list(range(64))
    column = seen.pixels_P % 8
    assert np.array_equal(seen.corners_P3[:, 0] == 0, column + 0.5 > 4.8)


def test_depth_is_perspective_correct():
    # A slanted triangle in space, seen through a pinhole at the origin with focal length 8 and centre (4, 4).
    space = np.array([[-2.0, -1.8, 5.0], [-1.5, 4.0, 9.0], [3.5, -2.2, 7.0]])
    projected = np.column_stack([4 + 8 * space[:, :2] / space[:, 2:], 1 / space[:, 2]]).astype(np.float32)
    seen = rasterise(projected, FACING, 8)
    assert len(seen.pixels_P) > 15
    normal = np.cross(space[1] - space[0], space[2] - space[0])
    row, column = np.divmod(seen.pixels_P, 8)
    rays = np.column_stack([(column + 0.5 - 4) / 8, (row + 0.5 - 4) / 8, np.ones(len(row))])
    distance = (normal @ space[0]) / (rays @ normal)
    assert_allclose(1 / seen.depth_P, distance, rtol=1e-5)
    # Weights in space follow from those on the screen and nearness; with them the hit point is exact.
    weights = seen.weights_P3 * projected[seen.corners_P3, 2]
    weights /= weights.sum(1, keepdims=True)
    assert_allclose(weights @ space, rays * distance[:, None], atol=1e-4)


def test_values_are_interpolated_affinely():
    corners = screen((0, 0, 1), (0, 6, 1), (6, 0, 1))
    seen = rasterise(corners, FACING, 6)
    row, column = np.divmod(seen.pixels_P, 6)
    values = np.array([[1, 0], [7, 0], [1, 12]], np.float32)  # 1 + y and 2 x
    assert_allclose(seen.interpolate(values), np.column_stack([1.5 + row, 2 * (column + 0.5)]), atol=1e-5)


def test_shared_edges_leave_no_holes():
    rng = np.random.default_rng(0)
    count = 13
    at = np.stack(np.meshgrid(np.linspace(-1, 33, count), np.linspace(-1, 33, count)), -1)
    at[1:-1, 1:-1] += rng.uniform(-0.8, 0.8, (count - 2, count - 2, 2))
    at[::3, ::3] = np.round(at[::3, ::3]) + 0.5  # some vertices exactly on pixel centres
    index = np.arange(count * count).reshape(count, count)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    points = np.column_stack([at.reshape(-1, 2), np.ones(count * count)]).astype(np.float32)
    assert rasterise(points, triangles, 32).pixels_P.tolist() == list(range(32 * 32))


def brute_force(points, triangles, side):
    """Return nearness and triangle at each pixel in float64, and which pixels are too close to an edge to say."""
    row, column = np.divmod(np.arange(side * side), side)
    x, y = column + 0.5, row + 0.5
    depth, winner = np.full(side * side, -np.inf), np.full(side * side, -1)
    unsure = np.zeros(side * side, bool)
    for number, triangle in enumerate(triangles):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[triangle].astype(np.float64)
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        u = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
        v = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
        weights = np.stack([u, v, 1 - u - v])
        unsure |= (np.abs(weights).min(0) < 1e-3) & (weights.min(0) > -1e-3)
        here = np.array([az, bz, cz]) @ weights
        wins = (area < 0) & (weights.min(0) >= 0) & (here > depth)
        depth[wins], winner[wins] = here[wins], number
    return depth, winner, unsure


def test_many_triangles_of_all_sizes_equal_brute_force():
    rng = np.random.default_rng(1)
    side, count = 70, 500
    middle = rng.uniform(-10, 80, (count, 1, 2))
    reach = np.geomspace(0.5, 90, count)[:, None, None]  # boxes from one pixel to beyond the image
    at = (middle + reach * rng.uniform(-0.5, 0.5, (count, 3, 2))).reshape(-1, 2)
    points = np.column_stack([at, rng.uniform(0.1, 1, 3 * count)]).astype(np.float32)
    triangles = np.arange(3 * count).reshape(-1, 3)
    seen = rasterise(points, triangles, side)
    depth, winner, unsure = brute_force(points, triangles, side)
    found = np.full(side * side, -1)
    found[seen.pixels_P] = seen.corners_P3[:, 0] // 3
    assert (winner >= 0).mean() > 0.5
    assert len(set(winner.tolist())) > 20
    assert unsure.mean() < 0.1
    assert np.array_equal(found[~unsure], winner[~unsure])
    sure = ~unsure[seen.pixels_P]
    assert_allclose(seen.depth_P[sure], depth[seen.pixels_P[sure]], atol=1e-4)
    assert (np.diff(seen.pixels_P) > 0).all()


def test_nothing_in_sight_is_nothing():
    corners = screen((20, 20, 1), (20, 30, 1), (30, 20, 1))
    for triangles in (FACING, FACING[:0]):
        seen = rasterise(corners, triangles, 8)
        assert seen.pixels_P.shape == seen.depth_P.shape == (0,)
        assert seen.interpolate(np.zeros((3, 5), np.float32)).shape == (0, 5)
    degenerate = screen((1, 1, 1), (3, 3, 1), (5, 5, 1))
    assert len(rasterise(degenerate, FACING, 8, two_sided=True).pixels_P) == 0
