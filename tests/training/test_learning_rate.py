"""The training loop tells a defense the learning rate that its optimiser has, also after an interruption."""

import pytest
import torch

from mibench.api import Defense
from mibench.protocol.schema import Augmentation, Recipe
from mibench.testing import TinyWorld
from mibench.training import loop
from mibench.training.loop import Training

WORLD = TinyWorld(classes=3, per_class=4)
RECIPE = Recipe(
    epochs=6,
    batch=6,
    optimizer="sgd",
    lr=0.04,
    milestones=(1 / 3, 2 / 3),
    gamma=0.1,
    augmentation=Augmentation(crop_scale=None, flip=0.0),
)


class Watching(Defense):
    """Plain training that writes down the learning rate at the start of each epoch and in each step."""

    def __init__(self):
        self.starts, self.steps = [], []

    def on_epoch_start(self, model, ctx):
        self.starts.append(ctx.lr)

    def training_step(self, model, x_BCHW, y_B, ctx):
        self.steps.append(ctx.lr)
        return super().training_step(model, x_BCHW, y_B, ctx)


class _Killed(BaseException):
    pass


def _training(defense, work):
    return Training(WORLD.classifier(), defense, RECIPE, WORLD.images(), WORLD.context(epochs=6), seed=1, work=work)


def _rates_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.04)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4], 0.1)
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("stop", [None, 1, 2, 3])
def test_a_defense_is_told_the_rate_of_torchs_schedule(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    rates = _rates_of_torch()
    assert rates == pytest.approx([0.04, 0.04, 0.004, 0.004, 0.0004, 0.0004])
    defense = Watching()

    def progress(done, *_):
        if stop is not None and done == stop + 1:  # a checkpoint of the epoch before is there
            raise _Killed

    if stop is not None:
        with pytest.raises(_Killed):
            _training(defense, tmp_path).run(progress)
        assert defense.starts == rates[: stop + 1]
        defense = Watching()
    made = _training(defense, tmp_path)
    assert made.restore()
    made.run(lambda *_: None)
    assert defense.starts == rates[stop or 0 :]
    assert defense.steps == [rate for rate in rates[stop or 0 :] for _ in range(2)]  # 12 images, 6 in a batch
