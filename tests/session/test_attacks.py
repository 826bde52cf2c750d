"""What attacks may do beyond the plain: bring a prior, have it trained on the target, remember, peek, and fail."""

import json
import re
from dataclasses import replace

import pytest
import torch
from fake_plugin import parts

from mibench.api import Access, Ledger, UsageError, params
from mibench.stages.compute_cache import ComputeCache
from mibench.store.store import Store


def record_of(result, defense="plain"):
    return next(record for record in result.records if record.cell.defense == defense)


def test_a_failed_class_counts_as_no_success_and_the_others_are_delivered(toy_run, tmp_path):
    result = toy_run(attacks=("picky",), settings={"picky.fails": (1,)})
    record = record_of(result)
    assert result.exit_code == 0
    assert record.ledger.failed == {"1": "class 1: nothing finite"}
    assert record.ledger.per_class["1"].backward > 0  # what it spent before it failed still counts
    flags = {flag.id: flag.text for flag in record.flags}
    assert flags["classes-failed"].startswith("1 of 3 classes failed")
    evidence = Store(tmp_path / "store").get("reconstruct", result.planned.cells[0].reconstructions.key)
    assert json.loads(evidence.file("trace.json").read_text())["1"] == {}


def test_a_failed_class_enters_the_published_number_as_zero(toy_run, monkeypatch):
    """A metric that takes every delivered image for a hit, and failed classes as ``MetricInputs`` says."""

    def found(self, evidence, ctx):
        shares = [0.0 if label in evidence.failed else 1.0 for label in range(evidence.num_classes)]
        delivered = sorted(set(evidence.labels_N.tolist()))
        assert delivered == [label for label, share in enumerate(shares) if share]
        return [replace(row, value=sum(shares) / 3, per_class=shares) for row in measure(self, evidence, ctx)]

    measure = parts.Light.measure
    monkeypatch.setattr(parts.Light, "measure", found)
    record = record_of(toy_run(attacks=("picky",), settings={"picky.fails": (1,)}))
    assert record.metrics["light"].value == pytest.approx(2 / 3)
    assert record.metrics["light"].per_class == [1.0, 0.0, 1.0]
    assert record.controls["gold"]["light"].value == 1.0  # nothing fails there


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda result: replace(result, label=(result.label + 1) % 3), "class 0: it says that it is of class 1"),
        (lambda result: result.images_NCHW, "class 0: expected a ClassResult, got a Tensor"),
        (lambda result: None, "class 0: expected a ClassResult, got a NoneType"),
        (
            lambda result: replace(result, scores_N=result.scores_N * torch.nan),
            "a score for each of 2 images, got 2 NaN",
        ),
        (lambda result: replace(result, scores_N=result.scores_N[:1]), r"got 0 NaN in a shape of \(1,\)"),
        (lambda result: replace(result, images_NCHW=result.images_NCHW[:, :, 1:]), r"of shape \(1, 16, 16\), got"),
    ],
)
def test_a_result_that_is_none_fails_the_cell_with_what_was_expected(toy_run, monkeypatch, wrong, says):
    honest = parts.Guess.reconstruct
    monkeypatch.setattr(parts.Guess, "reconstruct", lambda *world: wrong(honest(*world)))
    record = record_of(toy_run())
    assert record.status == "failed"
    assert re.search(says, record.failure.error)


def test_the_ledger_is_what_the_view_counted_and_not_what_the_attack_says(toy_run, monkeypatch):
    honest = parts.Guess.reconstruct
    told = record_of(toy_run()).ledger
    monkeypatch.setattr(parts.Guess, "reconstruct", lambda *world: replace(honest(*world), spent=Ledger()))
    silent = record_of(toy_run(settings={"attack.lr": 0.11})).ledger
    assert silent.total == told.total
    assert silent.total.backward > 0


def test_when_every_class_fails_the_cell_fails_with_the_reason(toy_run):
    result = toy_run(attacks=("picky",), settings={"picky.fails": (0, 1, 2)})
    record = record_of(result)
    assert (result.exit_code, record.status) == (1, "failed")
    assert "every class" in record.failure.error
    assert "nothing finite" in record.failure.error


def test_an_attack_brings_a_prior_that_is_trained_for_each_target(toy_run, tmp_path):
    result = toy_run(attacks=("picky",), defenses=("plain", "noisy"), settings={"picky.brings": "guided"})
    priors = {cell.prior_node.key for cell in result.planned.cells}
    assert len(priors) == len(result.planned.cells) == 2
    for record in result.records:
        assert record.components["prior"].name == "guided"
        assert record.ledger.prior_training.model_dump() == {"forward": 12, "backward": 0, "render": 0}
    assert parts.SEEN[-1][1].classes == 3
    own = toy_run(attacks=("picky",), settings={"picky.brings": "linear"})  # not the protocol's: it has other settings
    assert own.planned.cells[0].prior_node.payload["prior"]["params"] == {"steps": 10}
    with pytest.raises(UsageError, match="guidde"):
        toy_run(attacks=("picky",), settings={"picky.brings": "guidde"})


def test_a_prior_with_the_targets_gradients_is_no_prior_of_a_black_box_attack(toy_run, toy_registry, monkeypatch):
    monkeypatch.setattr(parts.Picky, "access", Access.SCORES)
    monkeypatch.setitem(vars(toy_registry.get("attack", "picky").spec), "access", "scores")
    with pytest.raises(UsageError, match="trained with the target's gradients"):
        toy_run(attacks=("picky",), settings={"picky.brings": "guided"})


def test_what_acts_on_a_trained_prior_alone_trains_no_other(toy_run):
    quiet = toy_run(attacks=("picky",), settings={"picky.brings": "linear"})
    before = parts.SEEN[-1][1].basis.clone()
    loud = toy_run(attacks=("picky",), settings={"picky.brings": "linear/loud"})
    one, other = quiet.planned.cells[0], loud.planned.cells[0]
    assert one.prior_node.key == other.prior_node.key
    assert one.reconstructions.key != other.reconstructions.key
    assert "deploy" not in one.reconstructions.payload
    assert torch.equal(parts.SEEN[-1][1].basis, 2 * before)
    assert record_of(loud).components["prior"].params["gain"] == 2.0


@pytest.mark.parametrize(("brings", "asked"), [("linear", 0), ("guided", 6)])
def test_an_attack_may_train_its_prior_on(toy_run, brings, asked):
    settings = {"picky.brings": brings, "picky.trains": "3"}
    spent = record_of(toy_run(attacks=("picky",), settings=settings)).ledger.shared
    before, after, _ = parts.SEEN[-1]
    weights, tuned = before.state_dict(), after.state_dict()  # type: ignore[attr-defined]
    assert any(not torch.equal(weights[name], tuned[name]) for name in weights)
    assert not any(parameter.requires_grad for parameter in after.parameters())
    assert spent.forward == asked + 5  # the guided training looks at two images in each step


def test_only_who_confesses_gets_a_judge_and_is_never_ranked(toy_run):
    honest = toy_run(attacks=("picky",))
    assert parts.SEEN[-1][2].evaluator is None
    assert record_of(honest).ledger.chosen_by is None
    peeked = record_of(toy_run(attacks=("picky",), settings={"picky.judged": True}))
    assert parts.SEEN[-1][2].evaluator.num_classes == 3  # type: ignore[attr-defined]
    assert peeked.ledger.chosen_by == "evaluator:judge"
    assert "chosen-by-evaluator" in {flag.id for flag in peeked.flags}


def test_what_is_remembered_is_made_once_and_its_price_stays(tmp_path):
    from mibench.testing import TinyWorld

    made = []

    def make(view):
        made.append(1)
        view.logits(torch.zeros(3, 3, 16, 16))
        return {"draw": torch.rand(2)}

    tensors, spent = [], []
    for _ in range(2):
        view = TinyWorld().target()
        keeper = ComputeCache(tmp_path, view, 0, torch.device("cpu"))
        tensors.append(keeper("students", lambda view=view: make(view))["draw"])
        spent.append(view.ledger.forward)
    assert made == [1]
    assert spent == [3, 3]
    assert torch.equal(*tensors)
    before = torch.random.get_rng_state()
    keeper("others", lambda: {"draw": torch.rand(2)})
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_younger_parameter_changes_no_key_while_it_has_its_default():
    assert params.canonical(parts.Picky()) == params.canonical(parts.Picky(younger=7))
    assert "younger" not in params.canonical(parts.Picky())
    assert params.canonical(parts.Picky(younger=8))["younger"] == 8
    assert params.build(parts.Picky, params.canonical(parts.Picky())) == parts.Picky()
