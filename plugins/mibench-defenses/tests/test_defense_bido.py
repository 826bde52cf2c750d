"""BiDO's penalty against the sum written out, its refusals and its activation signal."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from mibench_defenses.methods.bido import BiDO
from mibench_models.small_cnn import SmallCnn
from mibench_models.torchvision_zoo import ResNet18
from torch.nn.functional import cross_entropy, one_hot

from mibench.api import Classifier, Defense, Dependence, Outputs, UsageError, params
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


def made(**settings) -> BiDO:
    """Return the defense with these settings, by their names in keys."""
    return params.build(BiDO, settings)


def nhsic(x, z, kernel_z="gaussian", measure="hsic") -> torch.Tensor:
    d = Dependence(measure=measure)
    return d.between(d.encode(x), d.encode(z, kernel_z))


def coco(x, z, kernel_z="gaussian") -> torch.Tensor:
    return nhsic(x, z, kernel_z, "coco")


class TestContract(DefenseContract):
    component = BiDO


class TestContractOfCoco(DefenseContract):
    component = BiDO
    settings: ClassVar[dict] = BiDO.presets["coco"]


class TestContractOfOtherKernelInFloat32(DefenseContract):
    component = BiDO
    settings: ClassVar[dict] = {"kernel": "imq", "precision": "float32"}


@pytest.mark.parametrize(("name", "d"), [("atat-paper", nhsic), ("coco", coco)])
def test_loss_is_the_sum_over_stages(name: str, d):
    model, (x, y) = WORLD.classifier().eval(), WORLD.batch()
    defense = params.build(BiDO, BiDO.presets[name])
    step = defense.training_step(model, x, y, WORLD.context())
    outputs = model.outputs(x, stages=True)
    xz = [d(2 * x - 1, z) for z in outputs.stages.values()]
    zy = [d(z, one_hot(y, 4), kernel_z="linear") for z in outputs.stages.values()]
    task = cross_entropy(outputs.logits, y)
    penalty = (defense.lambda_x * sum(xz) - defense.lambda_y * sum(zy)).detach()
    task = task.detach()
    assert len(xz) == len(model.stage_names) > 1
    torch.testing.assert_close(step.loss.detach().double(), task.double() + penalty, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(step.signals["dependence_xz"], (sum(xz) / len(xz)).detach())
    torch.testing.assert_close(step.signals["dependence_zy"], (sum(zy) / len(zy)).detach())
    share = penalty.abs() / (penalty.abs() + task.abs())
    assert float(step.signals["penalty_share"]) == pytest.approx(float(share), rel=1e-4)


def test_only_the_named_stages_are_constrained():
    model, (x, y) = WORLD.classifier().eval(), WORLD.batch()
    name = model.stage_names[-1]
    defense = made(stages=(name,))
    step = defense.training_step(defense.build(model, WORLD.context()), x, y, WORLD.context())
    expected = nhsic(2 * x - 1, model.stages(x)[name])
    torch.testing.assert_close(step.signals["dependence_xz"], expected.detach())


def test_unknown_stage_is_refused_with_the_available_ones():
    with pytest.raises(UsageError, match=r"Unknown stage 'layer9'.*Available: .*block1"):
        made(stages=("layer9",)).build(WORLD.classifier(), WORLD.context())
    bare = WORLD.classifier()
    bare.stage_names = []
    with pytest.raises(UsageError, match="names none"):
        made().build(bare, WORLD.context())


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("measure", ["hsic", "coco"])
def test_partial_batches(m: int, measure: str):
    model, (x, y) = WORLD.classifier(), WORLD.batch(m)
    step = made(measure=measure).training_step(model, x, y, WORLD.context())
    step.loss.backward()
    assert step.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_zero_weights_are_plain_training_to_the_bit_and_inactive():
    plain = train_steps(Defense(), WORLD).model.state_dict()
    defense = made(lambda_x=0, lambda_y=0)
    off = train_steps(defense, WORLD)
    assert all(torch.equal(plain[name], value) for name, value in off.model.state_dict().items())
    assert not defense.self_check(off.model, off.ctx).active


def test_weights_pull_the_dependences_their_way():
    """With a ridge that keeps the measure off its ceiling; at 1e-5 it is saturated on so few images."""
    world = TinyWorld(per_class=16)
    runs = {
        name: train_steps(made(eps=1e-3, lambda_x=x, lambda_y=y), world, epochs=12, batch=32, lr=0.01).ctx.history[-1]
        for name, x, y in [("watch", 0, 1e-9), ("x", 1, 0), ("y", 0, 1)]
    }
    assert runs["x"]["dependence_xz"] < 0.95 * runs["watch"]["dependence_xz"]
    assert runs["y"]["dependence_zy"] > 1.03 * runs["watch"]["dependence_zy"]


def test_activation_signal():
    trained = train_steps(made(), WORLD, epochs=3)
    verdict = made().self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals["last_penalty_share"] > 0.01
    row = trained.ctx.history[0]
    weak = made(lambda_x=1e-9, lambda_y=0)
    off = train_steps(weak, WORLD)
    assert not weak.self_check(off.model, off.ctx).active
    for history, active in [([row], True), ([row, row], False), ([], False), ([row, {**row, "penalty": 9e9}], True)]:
        trained.ctx.history = history
        assert made().self_check(trained.model, trained.ctx).active is active


def test_auxiliary_heads_count(monkeypatch: pytest.MonkeyPatch):
    model, (x, y) = WORLD.classifier().eval(), WORLD.batch()
    alone, plain = made().training_step(model, x, y, WORLD.context()).loss, Classifier.outputs

    def with_aux(self: Classifier, x_BCHW: torch.Tensor, *, stages: bool = False) -> Outputs:
        outputs = plain(self, x_BCHW, stages=stages)
        outputs.aux = [(outputs.logits, 0.4)]
        return outputs

    monkeypatch.setattr(Classifier, "outputs", with_aux)
    both = made().training_step(model, x, y, WORLD.context()).loss
    torch.testing.assert_close(both - alone, 0.4 * cross_entropy(plain(model, x).logits, y))


def test_token_stages_are_flattened():
    x, y = WORLD.batch()
    tokens = torch.randn(8, 5, 6, generator=torch.Generator().manual_seed(0))
    on_image, on_label = made().dependence.of_stages(x, {"tokens": tokens}, one_hot(y, 4))
    torch.testing.assert_close(on_image[0], nhsic(2 * x - 1, tokens.reshape(8, 30)))
    torch.testing.assert_close(on_label[0], nhsic(tokens.reshape(8, 30), one_hot(y, 4), kernel_z="linear"))


@pytest.mark.parametrize(("model", "channels"), [(ResNet18(), 3), (SmallCnn(), 1)])
def test_a_step_on_real_networks(model, channels: int):
    world = TinyWorld(size=64, channels=channels)
    classifier = made().build(model.build(num_classes=4, channels=channels, size=64), world.context())
    x, y = world.batch(4)
    step = made().training_step(classifier, x, y, world.context())
    step.loss.backward()
    assert step.loss.isfinite()
    assert 0 < step.signals["dependence_xz"] <= 3


def test_presets_hold_the_published_values():
    assert params.build(BiDO, BiDO.presets["atat-paper"]) == made()
    assert params.build(BiDO, BiDO.presets["paper"]) == made(image_scale="unit", per_class=4)
    assert (
        made().lambda_x,
        made().lambda_y,
        *(getattr(made().dependence, name) for name in ("kernel", "sigma", "eps")),
    ) == (0.05, 0.5, "linear", 5, 1e-5)
    star = params.build(BiDO, BiDO.presets["bido-star"])
    assert star.lambda_x in (0.1, 0.5, 1, 5, 10)
    assert star.lambda_y == made().lambda_y
