"""The optimiser of a recipe, and how its learning rate falls."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR

from mibench.protocol.schema import Recipe


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe."""
    updated = list(parameters)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(updated, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(updated, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def make_schedule(recipe: Recipe, optimizer: torch.optim.Optimizer) -> MultiStepLR:
    """Return the schedule that lowers the rate at a recipe's milestones, once an epoch."""
    milestones = [round(fraction * recipe.epochs) for fraction in recipe.milestones]
    return MultiStepLR(optimizer, milestones, recipe.gamma)
