"""The low-rank head against numpy's linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mibench_defenses.methods.loft import LowRankFilter, LowRankHead
from mibench_defenses.methods.negls import NegativeLabelSmoothing
from mibench_models.torchvision_zoo import ResNet18

from mibench.api import UsageError, generator, params, seeded
from mibench.api.composition import Composition
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


class TestContract(DefenseContract):
    component = LowRankFilter


class TestContractOfBothTanhs(DefenseContract):
    component = LowRankFilter
    settings = {"where": "both", "rank": 3, "init": "orthogonal"}  # noqa: RUF012


class TestContractOfRankOnly(DefenseContract):
    component = LowRankFilter
    settings = LowRankFilter.presets["rank-only"]


def head(where: str, *, init: str = "default", rank: int = 3) -> LowRankHead:
    with seeded("low-rank head"):
        return LowRankHead(12, rank, 7, where=where, init=init)


def features(n: int = 9) -> torch.Tensor:
    return 3 * torch.randn(n, 12, generator=generator("features"))


def weights(low: LowRankHead) -> list[np.ndarray]:
    return [p.detach().double().numpy() for p in (*low.filter.parameters(), *low.expand.parameters())]


def test_without_tanh_it_is_one_linear_layer_of_low_rank():
    low, x = head("none"), features()
    w1, b1, w2, b2 = weights(low)
    expected = x.double().numpy() @ (w2 @ w1).T + (w2 @ b1 + b2)
    np.testing.assert_allclose(low(x).detach().numpy(), expected, atol=1e-5)
    values = np.linalg.svd(w2 @ w1, compute_uv=False)
    assert (values[3:] < 1e-12 * values[0]).all()
    assert (values[:3] > 1e-6).all()


def test_logits_without_tanh_span_no_more_than_the_rank():
    logits = head("none")(features(50)).detach().double().numpy()
    values = np.linalg.svd(logits - logits.mean(0), compute_uv=False)
    assert (values[3:] < 1e-5 * values[0]).all()


@pytest.mark.parametrize("where", ["between", "after", "both"])
def test_places_of_tanh(where: str):
    low, x = head(where), features()
    w1, b1, w2, b2 = weights(low)
    h = x.double().numpy() @ w1.T + b1
    bent = []
    if where != "after":
        h = np.tanh(h)
        bent.append(h.ravel())
    z = h @ w2.T + b2
    if where != "between":
        z = np.tanh(z)
        bent.append(z.ravel())
    np.testing.assert_allclose(low(x).detach().numpy(), z, atol=1e-5)
    slopes = 1 - np.concatenate(bent) ** 2
    assert low.extra["slope"].item() == pytest.approx(slopes.mean(), rel=1e-4)
    assert low.extra["saturated"].item() == pytest.approx((slopes < 0.1).mean(), rel=1e-4)


def test_slopes_are_the_derivative_of_tanh():
    u = torch.linspace(-4, 4, 12, dtype=torch.float64).requires_grad_(True)
    low = head("between", rank=12).double()
    with torch.no_grad():
        low.filter.weight.copy_(torch.eye(12))
        low.filter.bias.zero_()
    low(u[None])
    (derivative,) = torch.autograd.grad(u.tanh().sum(), u)
    torch.testing.assert_close(low.extra["slope"], derivative.mean())


def test_saturated_units_pass_no_gradient():
    x = features().requires_grad_(True)
    low = head("between")
    norms = []
    for scale in (1.0, 100.0):
        with torch.no_grad():
            low.filter.weight.copy_(head("between").filter.weight * scale)
        (gradient,) = torch.autograd.grad(low(x).square().sum(), x)
        norms.append(gradient.norm(dim=1).median().item())
    assert norms[1] < 1e-3 * norms[0]


def test_orthogonal_start():
    w1, b1, w2, b2 = weights(head("none", init="orthogonal"))
    np.testing.assert_allclose(w1 @ w1.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(w2.T @ w2, np.eye(3), atol=1e-6)
    assert not b1.any()
    assert not b2.any()


def test_classifier_still_tells_classes_and_features():
    before = WORLD.classifier()
    sizes = before.num_classes, before.feature_dim
    model = LowRankFilter().build(before, WORLD.context())
    assert (model.num_classes, model.feature_dim) == sizes
    assert model.head.rank == 2


@pytest.mark.parametrize("rank", [4, 5, 1000])
def test_a_rank_that_filters_nothing_is_refused(rank: int):
    with pytest.raises(UsageError, match="from 1 to 3"):
        LowRankFilter(rank=rank).build(WORLD.classifier(), WORLD.context())


def test_another_head_defense_is_refused():
    model = LowRankFilter().build(WORLD.classifier(), WORLD.context())
    with pytest.raises(UsageError, match="no other head defense"):
        LowRankFilter().build(model, WORLD.context())


def test_other_values_are_refused():
    for wrong in ({"rank": 0}, {"where": "before"}, {"init": "zero"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            params.build(LowRankFilter, wrong)


def test_training_bends_tanh_and_is_active():
    defense = LowRankFilter()
    trained = train_steps(defense, WORLD, epochs=8)
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals["rank"] == np.linalg.matrix_rank(
        weights(trained.model.head)[2] @ weights(trained.model.head)[0]
    )
    assert verdict.signals["slope"] < 0.9
    # The means are those of the last epoch alone, of 3 steps.
    assert trained.ctx.extras["tanh"][2] == 3


def test_linear_tanh_is_inactive_and_rank_alone_is_active():
    for where, active in [("between", False), ("none", True)]:
        defense, ctx = LowRankFilter(where=where), WORLD.context()
        model = defense.build(WORLD.classifier(), ctx)
        with torch.no_grad():
            model.head.filter.weight.mul_(1e-3)
            model.head.filter.bias.zero_()
        model(WORLD.batch()[0])
        defense.on_step_end(model, ctx)
        assert defense.self_check(model, ctx).active is active


def test_self_check_before_training_is_inactive():
    ctx = WORLD.context()
    model = LowRankFilter().build(WORLD.classifier(), ctx)
    verdict = LowRankFilter().self_check(model, ctx)
    assert not verdict.active
    assert verdict.reason


def test_it_combines_with_a_loss():
    both = Composition({"loft": LowRankFilter(), "negls": NegativeLabelSmoothing(start=0.0, full=0.0)})
    trained = train_steps(both, WORLD, epochs=8)
    verdict = both.self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals["loft.slope"] < 0.9


def test_a_step_on_resnet18():
    world = TinyWorld(size=64, channels=1)
    defense, ctx = LowRankFilter(rank=2), world.context()
    with seeded("resnet"):
        model = defense.build(ResNet18().build(num_classes=4, channels=1, size=64), ctx).train()
        defense.training_step(model, *world.batch(4), ctx).loss.backward()
    defense.on_step_end(model, ctx)
    assert model.head.filter.weight.shape == (2, 512)
    assert model.head.filter.weight.grad.ne(0).any()
    assert 0 < ctx.extras["tanh"][0] <= 1
