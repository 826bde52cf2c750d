"""Optimisers of recipes against steps by hand in float64, and their rates against the milestones."""

import numpy as np
import pytest
import torch
from torch import nn

from mibench.protocol.schema import Recipe
from mibench.training.optimiser import make_optimizer, make_schedule

START, GRADIENTS = np.array([1.0, -2.0]), [np.array([0.5, 1.0]), np.array([-0.25, 2.0]), np.array([1.0, 0.0])]


def stepped(recipe):
    weights = nn.Parameter(torch.tensor(START))
    optimizer = make_optimizer(recipe, iter([weights]))  # any iterable will do
    for gradient in GRADIENTS:
        weights.grad = torch.tensor(gradient)
        optimizer.step()
    return weights.detach().numpy()


def test_sgd_with_momentum_and_decay_by_hand():
    recipe = Recipe(epochs=1, batch=1, optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=0.01)
    weights, velocity = START.copy(), np.zeros(2)
    for gradient in GRADIENTS:
        velocity = 0.9 * velocity + gradient + 0.01 * weights
        weights = weights - 0.1 * velocity
    np.testing.assert_allclose(stepped(recipe), weights, rtol=1e-12)


def test_adam_with_decay_by_hand():
    recipe = Recipe(epochs=1, batch=1, lr=0.1, betas=(0.8, 0.95), weight_decay=0.02)
    weights, mean, square = START.copy(), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(GRADIENTS, 1):
        g = gradient + 0.02 * weights
        mean, square = 0.8 * mean + 0.2 * g, 0.95 * square + 0.05 * g**2
        weights = weights - 0.1 * (mean / (1 - 0.8**step)) / (np.sqrt(square / (1 - 0.95**step)) + 1e-8)
    np.testing.assert_allclose(stepped(recipe), weights, rtol=1e-10)


@pytest.mark.parametrize(
    ("epochs", "milestones", "drops"),
    [(10, (0.5, 0.8), [5, 8]), (4, (0.75, 0.9), [3, 4]), (7, (1 / 3,), [2]), (3, (), [])],
)
def test_the_rate_falls_at_the_nearest_epoch_of_each_milestone(epochs, milestones, drops):
    recipe = Recipe(epochs=epochs, batch=1, optimizer="sgd", lr=0.5, milestones=milestones, gamma=0.25)
    optimizer = make_optimizer(recipe, [nn.Parameter(torch.zeros(1))])
    schedule = make_schedule(recipe, optimizer)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5 * 0.25 ** sum(epoch >= drop for drop in drops) for epoch in range(epochs)])
