"""One step of Trap-MID against one of the released code, in float64, with the same weights, triggers and labels.

The frozen numbers are from ``engine.train`` of the authors' repository (commit 3d59377), its augmentation switched off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.trap_mid import TrapMid
from mibench_defenses.parts.discriminators import features_and_decision
from torch import Tensor, nn
from torch.nn.functional import one_hot
from trap_mid_contract import TrapMidContract

from mibench.api import Classifier, Dependence, Outputs, TrainContext, UsageError, params
from mibench.testing import TinyWorld, train_steps

K, D, PIXELS = 3, 5, 48


def made(**settings) -> TrapMid:
    """Return the defense with these settings, by their names in keys."""
    return params.build(TrapMid, settings)


class TestContractWithBothDiscriminators(TrapMidContract):
    component = TrapMid
    settings: ClassVar = {
        "discriminator": "both", "discriminator_reduction": "mean", "feature_hidden": 0, "feature_loss": True,
    }  # fmt: skip


class TestContractWithDependence(TrapMidContract):
    component = TrapMid
    settings: ClassVar = {"discriminator": "none", "lambda_x": 0.05, "lambda_y": 0.5}


class Tanh(Classifier):
    """Two linear layers with tanh between."""

    def __init__(self, classes: int, weights: list[Tensor]) -> None:
        body = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, D), nn.Tanh(), nn.Linear(D, classes)).double()
        super().__init__(body, head="3", stage_names=["2"], mean=[0.0], std=[1.0])
        fill(self, weights)


def fill(network: nn.Module, weights: list[Tensor]) -> None:
    with torch.no_grad():
        for own, value in zip(network.parameters(), weights, strict=True):
            own.copy_(value)


@dataclass
class Shared:
    """What both codes begin with."""

    target: list[Tensor]
    pixel: list[Tensor]
    feature: list[Tensor]
    x: Tensor
    triggers: Tensor
    y: Tensor


def shared() -> Shared:
    rng = np.random.RandomState(21)

    def drawn(*shape: int) -> Tensor:
        return torch.from_numpy(rng.randn(*shape) * 0.4)

    target, pixel = ([drawn(D, PIXELS), drawn(D), drawn(k, D), drawn(k)] for k in (K, 1))
    feature = [drawn(D + K, D + K), drawn(D + K), drawn(1, D + K), drawn(1)]
    x, triggers = torch.from_numpy(rng.rand(6, 3, 4, 4)), torch.from_numpy(rng.rand(K, 3, 4, 4))
    return Shared(target, pixel, feature, x, triggers, torch.tensor([1, 1, 2, 0, 2, 0]))


def stepped(defense: TrapMid) -> tuple[Classifier, TrainContext, Shared]:
    """Take a step from the shared beginning, discriminators and target by gradient descent of rates .5 and 1."""
    start = shared()
    ctx = TinyWorld(size=4, classes=K).context(steps_per_epoch=1)
    ctx.batch, ctx.lr = 6, 0.5
    ctx.new_optimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.5)
    model = defense.build(Tanh(K, start.target), ctx).train()
    ctx.extras["triggers"], ctx.extras["labels"] = start.triggers.clone(), torch.arange(6) % K
    for name in ("discriminator", "discriminator_feature"):
        if (judge := ctx.extras.get(name)) is not None:
            judge.double()
            fill(judge, start.pixel if isinstance(judge, Classifier) else start.feature)
    loss = defense.training_step(model, start.x, start.y, ctx).loss
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    return model, ctx, start


def moved(network: nn.Module, before: list[Tensor]) -> list[float]:
    """The first three numbers of both layers, since the beginning."""
    after = list(network.parameters())
    return [v for i in (0, 2) for v in (after[i].detach() - before[i]).flatten()[:3].tolist()]


PIXEL = [
    0.009090140050694633, 0.008755382931825068, 0.0029928122665183188,
    -0.08330049798255612, 0.0881234788917492, -0.061214593397969606,
]  # fmt: skip
FEATURE = [0.0, 0.0, 0.0, 0.0, 0.07362406966247104, 0.0]
RELEASED = {
    "pixel": (
        {}, 75, 69, 5181.307599686984,
        [-0.00025902906818843843, -0.013965405012880752, -0.0002395714927970749,
         0.0909582626809464, 0.17514220782631262, -0.17674415224524798],
    ),
    "feature": (
        {}, 71, 73, 5149.381881506951,
        [-0.00033228358279177236, -0.01394318231399027, -0.00022989119904698319,
         0.09106251214761119, 0.17511145337421485, -0.17670851535915655],
    ),
    "both": (
        {}, 79, 65, 5213.707599686984,
        [-0.000350759541206485, -0.013983458864324894, -0.00022621481954837597,
         0.09093980731858284, 0.17509825185396255, -0.17668103734660634],
    ),
    "both, feature loss": (
        {"feature_loss": True}, 79, 65, 5213.707599686984,
        [0.0034778240710703484, -0.010575774082338493, 0.0007659786028706983,
         0.09093980731858284, 0.17509825185396255, -0.17668103734660634],
    ),
}  # fmt: skip
"""More settings; triggers moved up and down; their sum weighted by position; what the target's layers moved."""


@pytest.mark.parametrize("case", RELEASED)
def test_a_step_of_the_released_code(case: str):
    settings, up, down, weighted, target = RELEASED[case]
    common = {"alpha": 0.1, "beta": 0.3, "step": 0.05, "augment": False, "feature_hidden": 0}
    judges = case.split(",", maxsplit=1)[0]
    defense = made(**common, discriminator=judges, discriminator_reduction="mean", **settings)
    model, ctx, start = stepped(defense)
    triggers = ctx.extras["triggers"]
    change = triggers - start.triggers
    assert (int((change > 1e-9).sum()), int((change < -1e-9).sum())) == (up, down)
    assert float((triggers.flatten() * torch.arange(triggers.numel())).sum()) == pytest.approx(weighted, abs=1e-8)
    assert moved(model, start.target) == pytest.approx(target, abs=1e-12)
    for name in ("discriminator", "discriminator_feature"):
        if (judge := ctx.extras.get(name)) is not None:
            before, expected = (start.pixel, PIXEL) if isinstance(judge, Classifier) else (start.feature, FEATURE)
            assert moved(judge, before) == pytest.approx(expected, abs=1e-12)


def test_the_sum_of_the_halves_is_twice_the_released_gradient():
    by_reduction = {
        name: stepped(made(alpha=0.1, step=0.05, augment=False, discriminator_reduction=name))
        for name in ("sum", "mean")
    }
    both = {name: moved(ctx.extras["discriminator"], start.pixel) for name, (_, ctx, start) in by_reduction.items()}
    assert [s / m for s, m in zip(both["sum"], both["mean"], strict=True)] == pytest.approx([2.0] * 6)


def test_published_presets_have_the_released_reduction_and_older_keys_stay():
    for preset in ("paper", "atat-paper"):
        assert params.build(TrapMid, TrapMid.presets[preset]).discriminators.reduction == "mean"
    for settings in ({}, {"alpha": 0.1, "discriminator": "none"}):
        kept = params.canonical(params.build(TrapMid, settings))
        assert set(kept) == {"alpha", "augment", "beta", "discriminator", "low", "step"}


def test_bidos_penalty_is_that_of_the_natural_images():
    start = shared()
    plain = made(discriminator="none", augment=False)
    bound = made(discriminator="none", augment=False, lambda_x=0.3, lambda_y=0.2)
    losses = []
    for defense in (plain, bound):
        ctx = TinyWorld(size=4, classes=K).context(steps_per_epoch=1)
        ctx.batch = 6
        model = defense.build(Tanh(K, start.target), ctx)
        ctx.extras["triggers"], ctx.extras["labels"] = start.triggers.clone(), torch.arange(6) % K
        losses.append(float(defense.training_step(model, start.x, start.y, ctx).loss.detach()))
    stages = Tanh(K, start.target).stages(start.x)
    on_image, on_label = Dependence(image_scale="unit").of_stages(start.x, stages, one_hot(start.y, K))
    penalty = float((0.3 * on_image - 0.2 * on_label).sum().detach())
    assert abs(penalty) > 0.01
    assert losses[1] - losses[0] == pytest.approx(penalty, rel=1e-9)


def test_the_feature_discriminator_sees_features_and_a_one_hot_decision():
    outputs = Outputs(torch.tensor([[0.0, 2.0], [3.0, 1.0]]), torch.tensor([[1.0], [2.0]]))
    assert features_and_decision(outputs).tolist() == [[1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]


def test_both_accuracies_are_logged_and_a_whole_training_runs():
    trained = train_steps(made(discriminator="both", feature_loss=True), TinyWorld(), epochs=1)
    row = trained.ctx.history[-1]
    assert {"discriminator_accuracy", "discriminator_feature_accuracy", "feature_loss"} <= set(row)
    assert made(discriminator="both").cost() == pytest.approx((2 * 3 + 2 + 2 * 3 + 2 + 4) / 3)


def test_a_feature_loss_without_its_discriminator_is_refused():
    with pytest.raises(UsageError, match="discriminator=feature or both"):
        params.build(TrapMid, {"feature_loss": True})
