"""Which state of a training is kept: against trainings that end where the kept one should."""

import json
from pathlib import Path

import pytest
import torch
from fake_plugin import PROTOCOL
from fake_plugin.parts import Noisy
from torch.nn.functional import cross_entropy

from mibench.api import MibenchError, UsageError, freeze, seeded
from mibench.api.extras import flat_extras
from mibench.protocol.load import parse_protocol
from mibench.protocol.request import Request
from mibench.protocol.schema import Augmentation, Recipe
from mibench.protocol.split import hold_out
from mibench.session.run import plan_request
from mibench.stages.files import load_tensors
from mibench.stages.run import run_node
from mibench.store.store import Store
from mibench.testing.tiny_world import TinyWorld
from mibench.training import checkpoint_rule, loop
from mibench.training.loop import Training

CPU = torch.device("cpu")
WORLD = TinyWorld(classes=4, per_class=6)
EPOCHS = 7


def trained(work, epochs=EPOCHS, rule="last", every=1):
    """Train a defense with much state of its own; with a constant rate, a shorter training is part of a longer one."""
    recipe = Recipe(
        epochs=epochs,
        batch=8,
        lr=0.3,  # so high that the loss goes up and down
        milestones=(),
        augmentation=Augmentation(crop_scale=None),
        checkpoint=rule,
        validate_every=every,
    )
    ctx, defense = WORLD.context(epochs=epochs), Noisy(lam=0.5)
    with seeded("init"):
        model = defense.build(WORLD.classifier(), ctx)
    made = Training(model, defense, recipe, WORLD.images(), ctx, seed=5, work=work, val=WORLD.images("heldout"))
    made.run(lambda *_: None)
    return made


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """For every epoch a training that ends there, with its validation loss and accuracy by hand."""
    found = []
    val = WORLD.images("heldout")
    for epoch in range(EPOCHS):
        made = trained(tmp_path_factory.mktemp("alone"), epoch + 1)
        state = {n: t.clone() for n, t in made.model.state_dict().items()}
        logits = freeze(made.model)(val.all_images()).detach()
        accuracy = (logits.argmax(1) == val.labels_N).double().mean().item()
        found.append((state, flat_extras(made.ctx.extras), cross_entropy(logits, val.labels_N).item(), accuracy))
    return found


def same(made, expected):
    state, extras = expected[:2]
    got = made.model.state_dict(), flat_extras(made.ctx.extras)
    return all(
        set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)
        for one, other in zip(got, (state, extras), strict=True)
    )


@pytest.mark.parametrize("every", [1, 2])
def test_best_val_loss_keeps_network_and_extras_of_the_epoch_with_the_lowest(alone, tmp_path, every):
    made = trained(tmp_path, rule="best_val_loss", every=every)
    seen = list(range(0, EPOCHS, every))
    best = min(seen, key=lambda epoch: alone[epoch][2])
    assert best < EPOCHS - 1  # else nothing is shown
    report = made.rule.report()
    assert (report["rule"], report["epoch"]) == ("best_val_loss", best)
    assert [row["epoch"] for row in report["validation"]] == seen
    assert [row["loss"] for row in report["validation"]] == pytest.approx([alone[e][2] for e in seen], rel=1e-5)
    assert [row["accuracy"] for row in report["validation"]] == pytest.approx([alone[e][3] for e in seen])
    assert same(made, alone[best])
    assert not same(made, alone[-1])
    assert f"{alone[best][2]:.3f}"[:4] in report["reason"]


def test_acc_keeps_the_latest_state_inside_the_window(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_rule, "TOLERANCE", 0.05)  # 24 images: an accuracy is a multiple of .042
    wanted = alone[0][3]
    inside = [epoch for epoch, one in enumerate(alone) if wanted - 0.05 <= one[3] < wanted + 0.05]
    made = trained(tmp_path, rule=f"acc:{wanted:.4f}")
    assert made.rule.report()["epoch"] == inside[-1]
    assert same(made, alone[inside[-1]])


def test_the_window_is_closed_below_and_open_above(tmp_path):
    rule = checkpoint_rule.CheckpointRule(Recipe(epochs=1, batch=1, checkpoint="acc:.5"), WORLD.images(), 0)
    inside = [a for a in (0.49749, 0.4975, 0.5, 0.50249, 0.5025) if rule._better({"accuracy": a})]
    assert inside == [0.4975, 0.5, 0.50249]


def test_an_accuracy_that_never_comes_is_a_failure_that_names_the_nearest(tmp_path):
    with pytest.raises(MibenchError, match=r"none of 7 validated epochs has an accuracy within 0\.0025 of 0\.013; the"):
        trained(tmp_path, rule="acc:.013")


def test_the_last_epoch_is_kept_without_a_rule_and_nothing_is_reported(alone, tmp_path):
    made = trained(tmp_path)
    assert same(made, alone[-1])
    assert made.rule.report() == {}


# Through whole runs of the fake plugin


def protocol_file(tmp_path, **changes):
    text = PROTOCOL.read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "changed.yaml"
    path.write_text(text)
    return (str(path),)


BEST = ("{epochs: 5, batch: 5, lr: 0.01,", "{epochs: 5, batch: 5, lr: 0.01, checkpoint: best_val_loss,")
JUDGE = ("{epochs: 4, batch: 6, lr: 0.01}", "{epochs: 4, batch: 6, lr: 0.01, checkpoint: best_val_loss}")
NO_VAL = ("val: 1", "val: 0")


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_the_choice_survives_an_interruption_byte_for_byte(toy_registry, toy_run, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    protocols = protocol_file(tmp_path, recipe=BEST)
    toy_run(protocols=protocols, defenses=("noisy",))
    request = Request(protocols=protocols, defenses=("noisy",), attacks=("guess",), device="cpu", store=tmp_path / "b")
    nodes = {planned.node.key: planned.node for planned in plan_request(request, toy_registry).nodes}
    (target,) = [node for node in nodes.values() if node.label.startswith("noisy") and node.stage == "target"]
    other = Store(tmp_path / "b")
    run_node(nodes[target.needs["private"]], other, toy_registry, CPU, lambda *_: None)
    firsts = []

    def progress(done, *_):
        firsts.append(done)
        if len(firsts) == stop + 1:
            raise Stopped

    with pytest.raises(Stopped):
        run_node(target, other, toy_registry, CPU, progress)
    again = run_node(target, other, toy_registry, CPU, progress)
    assert firsts[stop + 1] > 1  # it went on from a checkpoint
    whole = Store(tmp_path / "store").get("target", target.key)
    assert again.content == whole.content
    report = whole.json("report.json")["checkpoint"]
    assert report["epoch"] == min(report["validation"], key=lambda row: row["loss"])["epoch"]


def test_evaluators_have_the_rule_of_their_own_recipe(toy_run, tmp_path):
    cell = toy_run(protocols=protocol_file(tmp_path, judge=JUDGE)).planned.cells[0]
    store = Store(tmp_path / "store")
    (judge,) = cell.graph.evaluators().values()
    assert store.get("evaluator", judge.key).json("report.json")["checkpoint"]["rule"] == "best_val_loss"
    assert "checkpoint" not in store.get("target", cell.target.key).json("report.json")


def test_a_public_pre_training_validates_on_images_that_it_sets_aside(toy_run, tmp_path):
    result = toy_run(protocols=protocol_file(tmp_path, recipe=BEST), defenses=("warm",))
    assert result.exit_code == 0
    (node,) = [planned.node for planned in result.planned.nodes if planned.stage == "pretrain"]
    assert node.payload["validation"] == {"images": 1, "seed": 0}
    made = Store(tmp_path / "store").get("pretrain", node.key)
    assert made.json("report.json")["checkpoint"]["rule"] == "best_val_loss"
    assert made.json("report.json")["sanity_accuracy"]["val"] is not None


def test_an_accuracy_is_asked_of_the_attacked_training_alone(toy_registry, tmp_path):
    accuracy = (BEST[0], BEST[1].replace("best_val_loss", "acc:.9, validate_every: 2"))
    path = protocol_file(tmp_path, recipe=accuracy)
    for defense, stage in (("warm", "pretrain"), ("staged", "target")):
        request = Request(protocols=path, defenses=(defense,), attacks=("guess",), store=tmp_path / "s")
        cell = plan_request(request, toy_registry).cells[-1]
        assert cell.target.payload["recipe"]["checkpoint"] == "acc:.9"
        before = cell.graph.nodes[cell.target.needs["start"]]
        assert before.stage == stage
        assert "checkpoint" not in before.payload["recipe"]
        assert "validation" not in before.payload


def test_a_failed_choice_fails_the_cell_with_its_sentence(toy_run, tmp_path):
    accuracy = (BEST[0], BEST[1].replace("best_val_loss", "acc:.123"))
    result = toy_run(protocols=protocol_file(tmp_path, recipe=accuracy))
    assert result.exit_code == 1
    assert any("none of 5 validated epochs" in error for _, error in result.failures)


def test_images_set_aside_are_no_training_images():
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    parts = hold_out(labels, 2, 7)
    assert sorted(parts.train + parts.val) == list(range(10))
    assert [sum(labels[i] == label for i in parts.val) for label in range(3)] == [2, 2, 2]
    assert hold_out(labels, 0, 7).train == list(range(10))
    with pytest.raises(UsageError, match="public class 0 has 3 images"):
        hold_out(labels, 3, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": BEST, "val": NO_VAL}, "recipe: checkpoint 'best_val_loss' is chosen by validation images"),
        ({"judge": JUDGE, "val": NO_VAL}, "judge: checkpoint 'best_val_loss' is chosen by validation images"),
        ({"recipe": (BEST[0], BEST[1].replace("best_val_loss", "best"))}, "recipe.checkpoint"),
        ({"recipe": (BEST[0], BEST[1].replace("best_val_loss", "acc:1.5"))}, "recipe.checkpoint"),
        ({"recipe": ("lr: 0.01, aug", "lr: 0.01, validate_every: 5, aug")}, "validate_every has no effect"),
        ({"recipe": ("epochs: 5, batch: 5", "epochs: 5, batch: 13, drop_last: true")}, "drops all of 12 training"),
        ({"recipe": ("{flip: 0.5, crop", "{hue: 0.1, flip: 0.5, crop")}, "cannot change grey images"),
    ],
)
def test_what_cannot_be_is_refused_when_the_protocol_is_read(tmp_path, changes, message):
    (path,) = protocol_file(tmp_path, **changes)
    with pytest.raises(UsageError, match=message):
        parse_protocol(Path(path).read_text())


def test_weights_of_a_target_are_those_of_the_chosen_epoch(toy_run, tmp_path):
    """Two runs that differ in the rule alone differ in what is deployed, unless the last epoch is the best."""
    kept = {}
    for name, changes in {"last": {}, "best": {"recipe": BEST}}.items():
        folder = tmp_path / name
        folder.mkdir()
        result = toy_run(protocols=protocol_file(folder, **changes), store=folder, defenses=("noisy",))
        made = Store(folder).get("target", result.planned.cells[-1].target.key)
        kept[name] = (load_tensors(made.file("weights.safetensors")), json.loads(made.file("report.json").read_text()))
    assert kept["last"][1]["history"] == kept["best"][1]["history"]
    chosen = kept["best"][1]["checkpoint"]["epoch"]
    equal = all(torch.equal(t, kept["best"][0][n]) for n, t in kept["last"][0].items())
    assert equal == (chosen == 4)
