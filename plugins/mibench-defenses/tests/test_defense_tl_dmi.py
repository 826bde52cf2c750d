"""Transfer learning: what is frozen stays to the bit, what is not moves, and counts are the published ones."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from mibench_defenses.methods.tl_dmi import TransferLearning
from mibench_models.small_cnn import SmallCnn
from mibench_models.small_resnet import SmallResNet
from mibench_models.torchvision_models import TorchvisionModel
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import VisionTransformer

from mibench.api import Classifier, Defense, Model, TrainContext, UsageError, WarmStart, generator, params, seeded
from mibench.api.composition import Composition
from mibench.testing import DefenseContract, TinyWorld, train_steps


class PublicWorld(TinyWorld):
    """The tiny world after the public pre-training: every classifier has the backbone of one trained elsewhere."""

    def classifier(self, *, seed: int = 0, width: int = 8) -> Classifier:
        model = super().classifier(seed=seed, width=width)
        state = self._public()
        model.load_state_dict({name: value for name, value in state.items() if "fc" not in name}, strict=False)
        return model

    def context(self, *, epochs: int = 2, steps_per_epoch: int = 3, seed: int = 0) -> TrainContext:
        ctx = super().context(epochs=epochs, steps_per_epoch=steps_per_epoch, seed=seed)
        return replace(ctx, start=self._public())

    def _public(self) -> dict[str, Tensor]:
        return TinyWorld(classes=self.classes, seed=self.seed + 7).trained().state_dict()


WORLD = PublicWorld()
LAST_OF_DENSENET = [f"features.{name}" for name in ("transition2", "denseblock4", "norm5")]


class TestContract(DefenseContract):
    component = TransferLearning
    world = WORLD


class TestContractOfFrozenStatistics(DefenseContract):
    component = TransferLearning
    settings: ClassVar = {"freeze_bn_stats": True, "start": "model"}
    world = WORLD


def made(model: Model, *, size: int = 32, classes: int = 5) -> tuple[Classifier, TrainContext]:
    world = TinyWorld(classes=classes, size=size)
    with seeded("tl-dmi", repr(model)):
        return model.build(num_classes=classes, channels=3, size=size), world.context()


def trainable(model: nn.Module) -> set[str]:
    return {name for name, value in model.named_parameters() if value.requires_grad}


def frozen(model: nn.Module) -> set[str]:
    return {name for name, value in model.named_parameters() if not value.requires_grad}


def starting_with(model: nn.Module, *prefixes: str) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith(tuple(f"body.{p}" for p in prefixes))}


def test_resnet18_trains_the_published_number_of_weights():
    model, ctx = made(TorchvisionModel(arch="resnet18"), classes=1000)
    model = params.build(TransferLearning, TransferLearning.presets["paper"]).build(model, ctx)
    assert trainable(model) == starting_with(model, "layer4.", "fc.")
    # layer4: two convolutions of 256 and 512 to 512 and a projection, two of 512 to 512, and BatchNorm; then the head.
    layer4 = 9 * 512 * (256 + 3 * 512) + 256 * 512 + 5 * 2 * 512
    assert sum(value.numel() for value in TransferLearning().parameters(model, ctx)) == layer4 + 513 * 1000 == 8_906_728


def _unfilled(arch: str, classes: int) -> Classifier:
    """The architecture with zeros for weights: drawing sixty million of them takes seconds."""
    with torch.device("meta"):
        model = TorchvisionModel(arch=arch).build(num_classes=classes, channels=3, size=32)
    model = model.to_empty(device="cpu")
    for value in (*model.parameters(), *model.buffers()):
        value.detach().zero_()
    return model


@pytest.mark.parametrize(
    ("arch", "preset", "classes", "trained"),
    [
        ("resnet18", "paper", 1000, 8_906_728),
        ("resnet152", "paper", 530, 16_050_706),
        # Counted in AT-AT's network as what stands behind its children 0 to 6, and behind 0 to 8; then the head.
        ("densenet169", "paper-densenet", 530, 11_186_944 + 1665 * 530),
        ("densenet169", "paper", 530, 6_738_688 + 1665 * 530),
    ],
)
def test_weights_that_train_are_as_many_as_in_the_released_code(arch: str, preset: str, classes: int, trained: int):
    model, ctx = _unfilled(arch, classes), TinyWorld(classes=classes, size=32).context()
    defense = params.build(TransferLearning, TransferLearning.presets[preset])
    model = defense.build(model, ctx)
    assert sum(value.numel() for value in defense.parameters(model, ctx)) == trained


@pytest.mark.parametrize(
    ("model", "settings", "back"),
    [
        (SmallCnn(), {}, ["blocks.3.", "feature.", "head."]),
        (SmallCnn(), {"freeze_until": "blocks.0"}, ["blocks.1.", "blocks.2.", "blocks.3.", "feature.", "head."]),
        (SmallCnn(), {"stage_share": 1.0}, ["feature.", "head."]),
        (SmallCnn(), {"stage_share": 0.1}, ["blocks.1.", "blocks.2.", "blocks.3.", "feature.", "head."]),
        (SmallResNet(), {}, ["stages.3.", "head."]),
        (SmallResNet(), {"freeze_until": "stem"}, ["stem_norm", "stages.", "head."]),
        (
            TorchvisionModel(arch="densenet121"),
            {"freeze_until": "features.denseblock2"},
            [
                "classifier",
                *(f"features.{n}" for n in ("transition2", "denseblock3", "transition3", "denseblock4", "norm5")),
            ],
        ),
        # Five of seven stages: up to features.13.
        (TorchvisionModel(arch="mobilenet_v2"), {}, [f"features.{i}." for i in (14, 15, 16, 17, 18)] + ["classifier"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_back_and_the_head_stay_trainable(model: Model, settings: dict, back: list[str]):
    classifier, ctx = made(model)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    built = TransferLearning(**settings).build(classifier, ctx)
    assert trainable(built) == starting_with(built, *back)
    assert frozen(built)
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
    assert all(module.training for module in built.modules())
    assert not any(module._forward_hooks for module in built.modules())


def test_the_front_of_a_vision_transformer_has_its_tokens():
    with seeded("vit"):
        body = VisionTransformer(32, 16, 4, 2, 8, 16, num_classes=5)
    stages = [f"encoder.layers.encoder_layer_{index}" for index in range(4)]
    model = Classifier(body, head="heads.head", stage_names=stages, mean=[0.5] * 3, std=[0.5] * 3, input_size=32)
    nn.init.normal_(body.heads.head.weight)
    built = TransferLearning().build(model, TinyWorld(size=32).context())
    assert trainable(built) == starting_with(built, "encoder.layers.encoder_layer_3.", "encoder.ln.", "heads.")
    assert {"body.class_token", "body.encoder.pos_embedding", "body.conv_proj.weight"} <= frozen(built)
    assert "body.encoder.layers.encoder_layer_2.self_attention.out_proj.weight" in frozen(built)


class Branches(nn.Module):
    """What is odd in Inception: parallel branches, and an auxiliary head that runs in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.Mixed_5d = nn.ModuleDict({"left": nn.Conv2d(4, 4, 1), "right": nn.Conv2d(4, 4, 1)})
        self.Mixed_5d.forward = lambda x: torch.cat([self.Mixed_5d["left"](x), self.Mixed_5d["right"](x)], 1)
        self.AuxLogits = nn.Linear(8, 5)
        self.Mixed_7c = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor | object:
        middle = self.Mixed_5d(self.stem(x))
        logits = self.fc(self.Mixed_7c(middle).mean((2, 3)))
        if not self.training:
            return logits
        return type("Out", (), {"logits": logits, "aux_logits": self.AuxLogits(middle.mean((2, 3)))})


def test_branches_are_frozen_and_an_auxiliary_head_is_not():
    model = Classifier(Branches(), head="fc", stage_names=["Mixed_5d", "Mixed_7c"], mean=[0.5] * 3, std=[0.5] * 3)
    built = TransferLearning(stage_share=1.0).build(model, WORLD.context())
    assert frozen(built) == starting_with(built, "stem", "Mixed_5d", "Mixed_7c")
    with pytest.raises(UsageError, match="AuxLogits"):
        TransferLearning(freeze_until="AuxLogits").build(model, WORLD.context())


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95, 0.9999])
def test_share_of_weights_freezes_whole_modules_from_the_input(share: float):
    model, ctx = made(SmallResNet(blocks_per_stage=(1, 2), pooling="average", width=8))
    built = TransferLearning(parameter_share=share).build(model, ctx)
    sizes = [(name, value.numel(), value.requires_grad) for name, value in built.named_parameters()]
    total, back = sum(n for _, n, _ in sizes), sum(n for _, n, trained in sizes if trained)
    head = sum(n for name, n, _ in sizes if "head" in name)
    assert back == head or total - back >= share * total
    largest = max(sum(value.numel() for value in module.parameters(recurse=False)) for module in built.modules())
    assert total - back < share * total + largest
    # From the input: registration order is the order of this network, but for the two paths of a block.
    assert sizes[0][2] is False
    assert {name for name, _, trained in sizes if trained} >= starting_with(built, "head")
    for module in built.modules():
        assert len({value.requires_grad for value in module.parameters(recurse=False)}) <= 1


@pytest.mark.parametrize("freeze_bn_stats", [True, False])
def test_a_training_moves_nothing_frozen(freeze_bn_stats: bool):
    defense = TransferLearning(freeze_until="block1", freeze_bn_stats=freeze_bn_stats)
    before = {name: value.clone() for name, value in WORLD.classifier().state_dict().items()}
    trained = train_steps(defense, WORLD, epochs=2)
    moved = {name for name, value in trained.model.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {f"body.block1.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert {name for name in moved if "block1" in name} == (set() if freeze_bn_stats else statistics)
    back = {name for name in before if "block2" in name or "fc" in name}
    assert moved - statistics == back
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active
    # block1: 3 -> 8 channels of 3 x 3 and BatchNorm; block2 twice as wide; 64 features, 4 classes.
    weights = 216 + 16, 9 * 8 * 16 + 32, 65 * 4
    assert verdict.signals["frozen_share"] == pytest.approx(weights[0] / sum(weights))


def test_frozen_statistics_hold_in_training_mode_only_where_frozen():
    model, ctx = made(SmallCnn())
    defense = TransferLearning(freeze_bn_stats=True)
    model = defense.build(model, ctx).train()
    defense.on_epoch_start(model, ctx)
    assert [module.training for module in model.modules() if isinstance(module, _BatchNorm)] == [False] * 3 + [True]
    model = TransferLearning().build(made(SmallCnn())[0], ctx).train()
    TransferLearning().on_epoch_start(model, ctx)
    assert all(module.training for module in model.modules())


def test_one_step_on_resnet18_with_weight_decay():
    model, ctx = made(TorchvisionModel(arch="resnet18"), size=64)
    defense = TransferLearning()
    model = defense.build(model, ctx).train()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD(defense.parameters(model, ctx), lr=0.1, weight_decay=0.1, momentum=0.9)
    x = torch.rand(4, 3, 64, 64, generator=generator("x"))
    defense.training_step(model, x, torch.tensor([0, 1, 2, 3]), ctx).loss.backward()
    optimizer.step()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == starting_with(model, "layer4.", "fc.")
    assert all(value.grad is None for name, value in model.named_parameters() if name not in moved)


def test_self_check_sees_a_random_start():
    verdict = _after_training(TransferLearning(), TinyWorld())
    assert not verdict.active
    assert "random" in verdict.reason
    assert verdict.signals["pretrained"] == 0


def test_self_check_sees_frozen_weights_that_moved():
    defense = TransferLearning()
    trained = train_steps(defense, WORLD)
    with torch.no_grad():
        trained.model.body.block1[0].weight[0, 0, 0, 0] += 1e-4
    verdict = defense.self_check(trained.model, trained.ctx)
    assert not verdict.active
    assert verdict.signals["frozen_kept"] == 0


def test_self_check_sees_that_nothing_is_frozen():
    defense = TransferLearning()
    trained = train_steps(defense, WORLD)
    trained.model.requires_grad_(True)
    verdict = defense.self_check(trained.model, trained.ctx)
    assert not verdict.active
    assert verdict.signals["frozen_share"] == 0


def _after_training(defense: Defense, world: TinyWorld):
    trained = train_steps(defense, world)
    return defense.self_check(trained.model, trained.ctx)


def test_model_weights_are_a_start_and_random_ones_are_refused():
    assert _after_training(TransferLearning(start="model"), WORLD).active
    defense, ctx = TransferLearning(start="model"), TinyWorld().context()
    model = defense.build(TinyWorld().classifier(), ctx)  # not refused yet: a trained target is built like this too
    with pytest.raises(UsageError, match="weights"):
        defense.on_epoch_start(model.train(), ctx)
    assert TransferLearning(start="model").starts_from() is None
    assert TransferLearning().starts_from() == WarmStart("public")


def test_cost_is_forward_plus_the_backward_pass_behind_the_front():
    assert TransferLearning().cost() == pytest.approx((1 + 2 * 0.25) / 3)
    assert TransferLearning(parameter_share=0.5).cost() == pytest.approx((1 + 2 * 0.5) / 3)
    assert TransferLearning(freeze_until="layer3").cost() == 1


def test_it_composes_with_plain_training():
    defense = Composition({"none": Defense(), "tl-dmi": TransferLearning()})
    assert defense.starts_from() == WarmStart("public")
    trained = train_steps(defense, WORLD)
    assert defense.self_check(trained.model, trained.ctx).active


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"freeze_until": "block3"}, "Did you mean 'block"), ({"freeze_until": "pool.9"}, "Available: block1, block2")],
)
def test_unknown_stages_are_refused(settings: dict, match: str):
    with pytest.raises(UsageError, match=match):
        TransferLearning(**settings).build(WORLD.classifier(), WORLD.context())


def test_bad_combinations_are_refused():
    with pytest.raises(UsageError, match="not both"):
        params.build(TransferLearning, {"freeze_until": "block1", "parameter_share": 0.5})
    model = WORLD.classifier()
    model.stage_names = []
    with pytest.raises(UsageError, match="no named stages"):
        TransferLearning().build(model, WORLD.context())
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    model = Classifier(linear, head="1", stage_names=["1"], mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(UsageError, match="nothing to freeze"):
        TransferLearning().build(model, WORLD.context())
