"""Defenses used together, and trainings that start from another one: planned, run, resumed, recorded."""

from __future__ import annotations

import shlex
from pathlib import Path

import fake_plugin
import pytest
import torch

from mibench.api import Defense, Step, UsageError
from mibench.api.composition import Composition
from mibench.protocol.request import Request
from mibench.session.run import plan_request
from mibench.stages.files import load_tensors
from mibench.store.store import Store
from mibench.testing import TinyWorld, train_steps

WORLD = TinyWorld()


class Doubling(Defense):
    """Doubles the loss and counts in its extras."""

    def build(self, classifier, ctx):
        ctx.extras["count"] = torch.zeros(1)
        return classifier

    def loss(self, outputs, y_B, ctx):
        ctx.extras["count"] += 1
        return 2 * super().loss(outputs, y_B, ctx)


class Darker(Defense):
    """Halves the images, freezes the first block, and counts in extras of the same name."""

    def build(self, classifier, ctx):
        ctx.extras["count"] = torch.zeros(1)
        classifier.body.block1.requires_grad_(False)
        return classifier

    def train_transform(self, base, ctx):
        return lambda x_BCHW: base(x_BCHW) / 2

    def parameters(self, model, ctx):
        return [p for p in model.parameters() if p.requires_grad and p.ndim > 1]

    def on_step_end(self, model, ctx):
        ctx.extras["count"] += 10


@pytest.fixture()
def tuned(tmp_path):
    """Return the toy protocol as a file, with a recipe that starts from public weights."""
    text = (Path(fake_plugin.__file__).parent / "toy.yaml").read_text(encoding="utf-8")
    path = tmp_path / "tuned.yaml"
    path.write_text(text.replace("recipe: {epochs: 5,", "recipe: {start: public, epochs: 5,", 1), encoding="utf-8")
    return str(path)


def test_parts_do_their_own_and_keep_their_own_extras():
    both = train_steps(Composition({"darker": Darker(), "doubling": Doubling()}), WORLD, epochs=1)
    steps = both.ctx.step
    assert both.ctx.extras["darker/count"] == 10 * steps
    assert both.ctx.extras["doubling/count"] == steps
    start = WORLD.classifier().state_dict()
    moved = {name for name, value in both.model.state_dict().items() if not torch.equal(value, start[name])}
    assert "body.fc.weight" in moved
    assert not {"body.block1.0.weight", "body.fc.bias"} & moved


def test_it_is_what_doing_both_by_hand_gives():
    class ByHand(Defense):
        def train_transform(self, base, ctx):
            return lambda x_BCHW: base(x_BCHW) / 2

        def training_step(self, model, x_BCHW, y_B, ctx):
            return Step(2 * torch.nn.functional.cross_entropy(model(x_BCHW), y_B))

    class JustDarker(Defense):
        def train_transform(self, base, ctx):
            return lambda x_BCHW: base(x_BCHW) / 2

    joined = train_steps(Composition({"dark": JustDarker(), "double": Doubling()}), WORLD).model.state_dict()
    by_hand = train_steps(ByHand(), WORLD).model.state_dict()
    assert all(torch.equal(joined[name], by_hand[name]) for name in by_hand)


def test_two_that_replace_the_training_step_are_refused():
    class Stepping(Defense):
        def training_step(self, model, x_BCHW, y_B, ctx):
            return super().training_step(model, x_BCHW, y_B, ctx)

    with pytest.raises(
        UsageError, match="stepping and doubling cannot be combined: each of them replaces the training"
    ):
        Composition({"stepping": Stepping(), "doubling": Doubling()})


@pytest.mark.parametrize(
    ("defense", "problem"),
    [
        ("noisy+noisy", "named twice"),
        ("noisy+broken", "replaces the training step"),
        ("warm+staged", "starts from another training"),
        ("noisy+nosy", "Did you mean 'noisy'"),
        ("noisy+", "Unknown defense ''"),
        ("plain+flipped", "is the undefended control"),
    ],
)
def test_impossible_compositions_are_refused_when_planning(toy_registry, tmp_path, defense, problem):
    request = Request(protocols=("toy",), attacks=("guess",), store=tmp_path, defenses=(defense,))
    with pytest.raises(UsageError, match=problem.replace("(", r"\(")):
        plan_request(request, toy_registry)


def test_a_composition_is_run_and_recorded(toy_run):
    result = toy_run(defenses=("flipped+noisy/strong",), settings={"flipped.both": True, "noisy.lam": 0.75})
    record = result.records[-1]
    assert result.exit_code == 0
    assert record.cell.defense == "flipped+noisy"
    assert record.components["defense"].params == {"flipped": {"both": True}, "noisy": {"lam": 0.75}}
    assert record.components["defense"].version == "1+1"
    assert record.components["defense"].access == "white-box"
    assert record.self_check.active
    assert record.self_check.signals["flipped.count"] > 0
    words = shlex.split(record.command)
    assert words[words.index("--defense") + 1] == "flipped+noisy/strong"
    assert {"flipped.both=true", "noisy.lam=0.75"} <= set(words)


def test_the_order_of_the_names_is_kept_and_matters_to_the_key(toy_registry, tmp_path):
    def key(defense: str) -> str:
        request = Request(protocols=("toy",), attacks=("guess",), store=tmp_path, defenses=(defense,))
        return plan_request(request, toy_registry).cells[-1].target.key

    assert key("flipped+noisy") != key("noisy+flipped")


def test_a_public_pre_training_is_made_once_and_shared_by_cells(toy_run, tmp_path):
    result = toy_run(defenses=("warm", "warm+flipped", "noisy"), seeds=(3, 4))
    assert result.exit_code == 0
    made = [planned.node for planned in result.planned.nodes if planned.stage == "pretrain"]
    assert len(made) == 1
    store = Store(tmp_path / "store")
    weights = load_tensors(store.get("pretrain", made[0].key).file("weights.safetensors"))
    warm = [cell for cell in result.planned.cells if cell.defense.name == "warm"]
    extras = [load_tensors(store.get("target", cell.target.key).file("extras.safetensors")) for cell in warm]
    assert all(bool(found["started"]) for found in extras)
    first = next(name for name in weights if torch.equal(weights[name], extras[0]["first"]))
    assert all(torch.equal(found["first"], weights[first]) for found in extras)


def test_a_private_first_stage_hands_over_what_it_kept(toy_run, tmp_path):
    result = toy_run(defenses=("staged",))
    assert result.exit_code == 0
    extras = Store(tmp_path / "store").get("target", result.planned.cells[-1].target.key).file("extras.safetensors")
    assert load_tensors(extras)["found"] == 5  # the toy recipe has five epochs
    targets = [planned.node for planned in result.planned.nodes if planned.stage == "target"]
    assert sorted(node.payload["defense"]["params"].get("stage", "") for node in targets) == ["", "first", "second"]


def test_composed_private_stages_repeat_the_composition(toy_run):
    result = toy_run(defenses=("staged+flipped",))
    names = [n.node.payload["defense"]["name"] for n in result.planned.nodes if n.stage == "target"]
    assert result.exit_code == 0
    assert sorted(names) == ["plain", "staged+flipped", "staged+flipped"]


def test_black_box_defenses_are_marked_under_white_box_attacks(toy_run):
    record = toy_run(defenses=("flipped",), attacks=("guess",)).records[-1]
    assert record.components["defense"].access == "black-box"
    marked = "outside-threat-model" in {flag.id for flag in record.flags}
    assert marked == (record.components["attack"].access == "white-box")


def test_a_recipe_may_start_all_targets_from_public_weights(toy_run, tuned):
    result = toy_run(protocols=(tuned,), defenses=("noisy",))
    assert result.exit_code == 0
    targets = [planned.node for planned in result.planned.nodes if planned.stage == "target"]
    assert all("start" in node.needs for node in targets)
    assert len([planned for planned in result.planned.nodes if planned.stage == "pretrain"]) == 1


def test_a_transform_of_a_composition_sees_the_training_as_it_goes():
    seen: list[int] = []

    class Watching(Defense):
        def train_transform(self, base, ctx):
            def transform(x_BCHW):
                seen.append(ctx.epoch)
                return base(x_BCHW)

            return transform

    train_steps(Composition({"watching": Watching(), "doubling": Doubling()}), WORLD, epochs=3)
    assert sorted(set(seen)) == [0, 1, 2]


def test_networks_beside_the_target_are_trained_in_a_composition_too():
    class Critic(Defense):
        def build(self, classifier, ctx):
            ctx.extras["critic"] = torch.nn.Linear(classifier.feature_dim, 1)
            return classifier

        def parameters(self, model, ctx):
            return [*model.parameters(), *ctx.extras["critic"].parameters()]

    ctx = WORLD.context()
    both = Composition({"critic": Critic(), "darker": Darker()})
    model = both.build(WORLD.classifier(), ctx)
    updated = list(both.parameters(model, ctx))
    critic = ctx.extras["critic/critic"]
    assert [id(p) for p in updated[-2:]] == [id(p) for p in critic.parameters()]
    assert all(p.ndim > 1 and p.requires_grad for p in updated[:-2])


def test_a_private_start_under_a_public_recipe_has_both(toy_run, tuned):
    result = toy_run(protocols=(tuned,), defenses=("staged",))
    assert result.exit_code == 0
    [final] = [
        planned.node
        for planned in result.planned.nodes
        if planned.stage == "target" and planned.node.payload["defense"]["params"].get("stage") == "second"
    ]
    assert set(final.needs) == {"private", "start", "pretrain"}
