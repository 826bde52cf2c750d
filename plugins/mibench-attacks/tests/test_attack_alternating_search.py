"""Alternating descent on two losses against a loop in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_attacks.search.alternating_search import AlternatingSearch, GradientNormClip
from torch.testing import assert_close

from mibench.api import ClassFailed, Ledger, generator

FIRST, SECOND = np.array([1.0, -2.0, 0.5]), np.array([-30.0, 10.0, 4.0])
SEARCH = AlternatingSearch(restarts=4, steps=6, lr=0.05, clip_ratio=1.25)


def bowl(centre, scale=1.0):
    return lambda x, rows, step: scale * (x - torch.tensor(centre, dtype=x.dtype)).square().flatten(1).sum(1)


def start(n=4):
    return torch.randn(n, 3, generator=generator("alternating"), dtype=torch.float64)


def run(search=SEARCH, x=None, first=bowl(FIRST), second=bowl(SECOND), batch=4, **more):  # noqa: B008
    return search.run(start() if x is None else x, first, second, where="class 0", batch=batch, **more)


def by_hand(x, steps, lr, ratio):
    """Adamax (Kingma and Ba, algorithm 2) over both losses in turn; the second's gradient is cut to ratio x average."""
    x, m, u, average, losses = x.copy(), np.zeros_like(x), np.zeros_like(x), None, []
    for update in range(2 * steps):
        centre = SECOND if update % 2 else FIRST
        losses.append(((x - centre) ** 2).sum(1).mean())
        g = 2 * (x - centre)
        norm = np.linalg.norm(g, axis=1)
        if update % 2:
            g = g * np.minimum(1, ratio * average / norm)[:, None]
        else:
            average = norm if average is None else (average + norm) / 2
        m, u = 0.9 * m + 0.1 * g, np.maximum(0.999 * u, np.abs(g) + 1e-8)
        x = x - lr / (1 - 0.9 ** (update + 1)) * m / u
    return x, losses


def test_it_is_adamax_on_both_losses_with_a_limited_second_gradient():
    expected, losses = by_hand(start().numpy(), 6, 0.05, 1.25)
    found = run()
    np.testing.assert_allclose(found.x_N, expected, atol=1e-10)
    np.testing.assert_allclose(found.first, losses[::2], rtol=1e-10)
    np.testing.assert_allclose(found.second, losses[1::2], rtol=1e-10)


def test_the_limit_matters_and_a_loose_one_is_none():
    tight, loose, looser = (run(replace(SEARCH, clip_ratio=ratio)).x_N for ratio in (0.1, 1e6, 1e9))
    assert_close(loose, looser, atol=0, rtol=0)
    assert not torch.allclose(tight, loose)


def test_batches_change_nothing_and_the_start_stays():
    x = start()
    whole = run(x=x)
    assert torch.equal(x, start())
    for batch in (1, 3):
        assert_close(run(batch=batch).x_N, whole.x_N, atol=1e-12, rtol=0)


def test_points_are_independent():
    alone = run(x=start()[2:3])
    assert_close(alone.x_N, run().x_N[2:3], atol=1e-12, rtol=0)


def test_both_losses_see_their_rows_and_count_their_steps():
    seen = []

    def watched(name):
        def loss(x, rows, step):
            seen.append((name, rows.start, rows.stop, step))
            return x.square().flatten(1).sum(1)

        return loss

    reports = []
    run(
        replace(SEARCH, steps=2), first=watched("first"), second=watched("second"), batch=3,
        report=lambda *told: reports.append(told[:3]),
    )  # fmt: skip
    assert seen == [
        (name, *rows, step) for step in range(2) for name in ("first", "second") for rows in ((0, 3), (3, 4))
    ]
    assert reports[-1] == (4, 4, "steps")


def test_without_steps_nothing_moves():
    found = run(replace(SEARCH, steps=0))
    assert torch.equal(found.x_N, start())
    assert found.first == found.second == []


def test_what_did_not_fit_into_memory_is_not_counted():
    ledger = Ledger()

    def hungry(x, rows, step):
        ledger.forward += len(x)
        if len(x) > 2:
            raise torch.cuda.OutOfMemoryError
        return x.square().sum(1)

    found = run(replace(SEARCH, steps=1), first=hungry, second=hungry, ledger=ledger)
    assert ledger.forward == 2 * 4
    assert_close(found.x_N, run(replace(SEARCH, steps=1), first=bowl([0.0] * 3), second=bowl([0.0] * 3)).x_N)


def test_a_point_whose_second_loss_is_not_finite_is_left_alone_in_that_update():
    def breaks(x, rows, step):
        bad = torch.arange(rows.start, rows.stop) == 1
        return bowl(SECOND)(x, rows, step) * torch.where(bad, torch.nan, 1.0)

    found = run(second=breaks)
    assert torch.isfinite(found.x_N).all()
    assert_close(found.x_N[[0, 2, 3]], run().x_N[[0, 2, 3]], atol=1e-12, rtol=0)
    with pytest.raises(ClassFailed, match="class 0, step 1: none of 4"):
        run(second=lambda x, rows, step: x.sum(1) * torch.nan)


@pytest.mark.parametrize("shape", [(2, 5), (2, 1, 3, 3)])
def test_clipping_keeps_the_direction_of_gradients_of_any_shape(shape):
    clip = GradientNormClip(torch.zeros(shape), 0.5)
    first, second = (torch.randn(shape, generator=generator("clip", name)) for name in ("first", "second"))
    assert clip.recording(slice(0, 2))(first) is first
    clipped = clip.clipping(slice(0, 2))(100 * second)
    assert_close(clipped.flatten(1).norm(dim=1), 0.5 * first.flatten(1).norm(dim=1))
    assert_close(torch.cosine_similarity(clipped.flatten(1), second.flatten(1)), torch.ones(2))
    small = 1e-3 * second
    assert_close(clip.clipping(slice(0, 2))(small), small)


def test_a_gradient_of_zero_stays_zero():
    clip = GradientNormClip(torch.zeros(1, 4), 1.0)
    clip.recording(slice(0, 1))(torch.ones(1, 4))
    assert torch.equal(clip.clipping(slice(0, 1))(torch.zeros(1, 4)), torch.zeros(1, 4))
