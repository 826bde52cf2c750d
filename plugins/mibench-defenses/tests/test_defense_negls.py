"""Negative label smoothing against torch's own, and its schedule against the published table."""

from __future__ import annotations

import pytest
import torch
from mibench_defenses.methods.negls import NegativeLabelSmoothing, smoothed_cross_entropy
from torch.nn.functional import cross_entropy

from mibench.api import Defense, Outputs, UsageError, generator, params
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


class TestContract(DefenseContract):
    component = NegativeLabelSmoothing


class TestContractOfConstantSmoothing(DefenseContract):
    component = NegativeLabelSmoothing
    settings = NegativeLabelSmoothing.presets["ls-positive"]


def logits_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    rng = generator("negls")
    return 5 * torch.randn(32, 7, generator=rng), torch.randint(0, 7, (32,), generator=rng)


def test_positive_smoothing_equals_torch():
    logits, labels = logits_and_labels()
    torch.testing.assert_close(
        smoothed_cross_entropy(logits, labels, alpha=0.1), cross_entropy(logits, labels, label_smoothing=0.1)
    )


def test_no_smoothing_is_cross_entropy():
    logits, labels = logits_and_labels()
    assert torch.equal(smoothed_cross_entropy(logits, labels, alpha=0.0), cross_entropy(logits, labels))


def test_negative_smoothing_is_cross_entropy_against_the_smoothed_labels():
    logits, labels = (value.double() if value.is_floating_point() else value for value in logits_and_labels())
    probabilities = logits.exp() / logits.exp().sum(1, keepdim=True)
    smooth = torch.full((32, 7), -0.05 / 7).double()
    smooth[torch.arange(32), labels] += 1.05
    expected = -(smooth * probabilities.log()).sum(1).mean()
    got = smoothed_cross_entropy(logits.float(), labels, alpha=-0.05)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


def test_log_softmax_is_taken_in_float32():
    logits = torch.tensor([[60.0, 0.0, -60.0]], dtype=torch.bfloat16)
    loss = smoothed_cross_entropy(logits, torch.tensor([0]), alpha=-0.05)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.tensor(-0.05 * (60 + 120) / 3))


@pytest.mark.parametrize(
    ("epoch", "share"), [(0, 0.0), (49, 0.0), (50, 0.02), (62, 0.26), (74, 0.5), (75, 1.0), (99, 1.0)]
)
def test_schedule_of_a_hundred_epochs(epoch: int, share: float):
    assert NegativeLabelSmoothing().smoothing(epoch, 100) == pytest.approx(-0.05 * share)


def test_atats_schedule_is_one_epoch_ahead():
    """Values of AT-AT's code, whose counter goes up before the schedule is read; 26 of 100 epochs differ."""
    atat = params.build(NegativeLabelSmoothing, NegativeLabelSmoothing.presets["atat-paper"])
    released = {48: 0.0, 49: -0.001, 50: -0.002, 73: -0.025, 74: -0.05, 99: -0.05}
    assert {epoch: atat.smoothing(epoch, 100) for epoch in released} == pytest.approx(released)
    paper = params.build(NegativeLabelSmoothing, NegativeLabelSmoothing.presets["paper"])
    differ = [e for e in range(100) if atat.smoothing(e, 100) != pytest.approx(paper.smoothing(e, 100))]
    assert differ == list(range(49, 75))
    assert "early" not in params.canonical(paper)


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 7, 20, 40])
def test_schedule_of_other_lengths_never_overshoots_and_ends_full(epochs: int):
    shares = [NegativeLabelSmoothing().smoothing(epoch, epochs) / -0.05 for epoch in range(epochs)]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    assert shares[-1] == (0 if epochs == 1 else 1)
    assert all(share == 0 for epoch, share in enumerate(shares) if epoch < epochs / 2)


def test_constant_presets_smooth_from_the_first_epoch():
    for name, alpha in [("constant", -0.05), ("ls-positive", 0.1), ("ls-half", 0.5)]:
        defense = params.build(NegativeLabelSmoothing, NegativeLabelSmoothing.presets[name])
        assert [defense.smoothing(epoch, 10) for epoch in (0, 5, 9)] == [alpha] * 3


def test_no_smoothing_trains_as_plain_training_does():
    plain = train_steps(Defense(), WORLD).model.state_dict()
    zero = train_steps(NegativeLabelSmoothing(alpha=0.0), WORLD).model.state_dict()
    assert all(torch.equal(plain[name], zero[name]) for name in plain)


def test_auxiliary_heads_are_smoothed_too():
    logits, labels = logits_and_labels()
    ctx = WORLD.context(epochs=4)
    ctx.epoch = 3
    defense = NegativeLabelSmoothing()
    main = defense.loss(Outputs(logits, logits), labels, ctx)
    both = defense.loss(Outputs(logits, logits, aux=[(logits, 0.4)]), labels, ctx)
    torch.testing.assert_close(both, 1.4 * main)


def test_it_pushes_wrong_class_probabilities_down():
    plain, smoothed = (
        train_steps(defense, WORLD, epochs=12) for defense in (Defense(), NegativeLabelSmoothing(start=0.0, full=0.0))
    )
    x, _ = WORLD.batch()
    log_p = [trained.deployed(x).log_softmax(1).mean().item() for trained in (plain, smoothed)]
    assert log_p[1] < log_p[0]
    verdict = NegativeLabelSmoothing().self_check(smoothed.model, smoothed.ctx)
    assert verdict.active
    assert verdict.signals["uniform_nll"] > 0


@pytest.mark.parametrize(
    ("alpha", "row", "active"),
    [
        (-0.05, {"smoothing": -0.05, "uniform_nll": 9.0}, True),
        (-0.05, {"smoothing": -0.01, "uniform_nll": 9.0}, False),
        (-0.05, {"smoothing": -0.05, "uniform_nll": float("inf")}, False),
        (0.0, {"smoothing": 0.0, "uniform_nll": 2.0}, False),
    ],
)
def test_self_check(alpha: float, row: dict, active: bool):
    ctx = WORLD.context()
    ctx.history = [row]
    assert NegativeLabelSmoothing(alpha=alpha).self_check(WORLD.classifier(), ctx).active is active


def test_impossible_smoothing_is_refused():
    with pytest.raises(UsageError, match="alpha"):
        params.build(NegativeLabelSmoothing, {"alpha": 1.5})
