"""Expected durations: what the protocol says of a component holds for that component alone."""

import math

import fake_plugin.parts as parts
import pytest
import yaml
from fake_plugin import PROTOCOL
from node_factory import make_node

from mibench.plan.durations import Durations
from mibench.plan.facts import Facts
from mibench.plan.plan import make_plan
from mibench.protocol.load import parse_protocol
from mibench.protocol.request import Request
from mibench.registry.entry import Entry
from mibench.store.store import Store

EXPECTED = {
    "prior/linear": 100,
    "prior/linear/loud": 200,
    "target": 7,
    "reconstruct/guess": 5,
    "reconstruct/guess/deep": 6,
    "reconstruct/pool": 1,
}


def _estimates(registry, folder, stage, **wanted):
    raw = yaml.safe_load(PROTOCOL.read_text()) | {"expected_seconds": EXPECTED}
    (folder / "toy.yaml").write_text(yaml.safe_dump(raw))
    request = Request(
        **{"protocols": (str(folder / "toy.yaml"),), "defenses": ("plain",), "attacks": ("guess",)} | wanted
    )
    plan = make_plan(request, registry, Store(folder / "store"))
    return {planned.label.split(" ")[0]: planned.estimate_s for planned in plan.nodes if planned.stage == stage}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {"guess": 5, "pool": 1}),  # the protocol's own settings, which are no preset's
        ({"attacks": ("guess/deep",)}, {"guess/deep": 6, "pool": 1}),
        ({"attacks": ("guess/quick",)}, {"guess/quick": None, "pool": 1}),
        ({"settings": {"attack.steps": 900}}, {"guess": None, "pool": 1}),
        ({"attacks": ("reader",)}, {"reader": None, "pool": 1}),
    ],
)
def test_an_attack_with_other_settings_takes_an_unknown_time(toy_registry, tmp_path, wanted, expected):
    assert _estimates(toy_registry, tmp_path, "reconstruct", **wanted) == expected


@pytest.mark.parametrize(
    ("prior", "expected"),
    [("", {}), ("linear/loud", {"linear/loud": 200}), ("guided", {"guided": None})],
)
def test_a_prior_that_an_attack_brings_has_a_time_of_its_own(toy_registry, tmp_path, prior, expected):
    settings = {"attack.brings": prior} if prior else {}
    assert (
        _estimates(toy_registry, tmp_path, "prior", attacks=("picky",), settings=settings) == {"linear": 100} | expected
    )


def test_a_target_of_another_model_takes_an_unknown_time(toy_registry, tmp_path):
    assert _estimates(toy_registry, tmp_path, "target", models=("tiny/wide",)) == {"plain": None}


def test_protocols_do_not_lend_each_other_their_figures(toy_registry, tmp_path):
    request = Request(protocols=("toy", "other"), defenses=("plain",), attacks=("guess",))
    plan = make_plan(request, toy_registry, Store(tmp_path))
    assert sorted(planned.estimate_s for planned in plan.nodes if planned.stage == "target") == [7, 9]


# Single nodes


def durations(registry, expected, **changes):
    raw = yaml.safe_load(PROTOCOL.read_text()) | {"expected_seconds": expected} | changes
    return Durations(parse_protocol(yaml.safe_dump(raw)).protocol, Facts(registry))


@pytest.mark.parametrize(
    ("stage", "expected"),
    [("data", 5.0), ("gold", 1.0), ("measure", 3.0), ("prior", None), ("target", None), ("evaluator", None),
     ("pretrain", None), ("reconstruct", None)],
)  # fmt: skip
def test_without_a_figure_only_light_stages_have_a_time(toy_registry, stage, expected):
    assert durations(toy_registry, {}).of(make_node(stage)) == expected


@pytest.mark.parametrize(
    ("stage", "expected"),
    [("data", 11), ("gold", 12), ("measure", 13), ("evaluator", 14), ("pretrain", 15)],
)
def test_a_figure_of_the_protocol_comes_first(toy_registry, stage, expected):
    known = {"data": 11, "gold": 12, "measure/hits": 13, "evaluator": 14, "target": 15, "measure/match": 99}
    assert durations(toy_registry, known).of(make_node(stage)) == expected


def test_a_metric_with_other_parameters_takes_what_metrics_take(toy_registry):
    known = durations(toy_registry, {"measure/light": 30})
    for scale, expected in ((2.0, 30), (1.0, 3.0)):  # the protocol's scale is 2
        assert known.of(make_node("measure", metric=Entry("light", "1", {"scale": scale}))) == expected


@pytest.mark.parametrize(
    ("defense", "cost", "expected"),
    [
        (Entry("plain", "1", {}), 1.0, 7),
        (Entry("noisy", "1", {"lam": 0.25}), 2.0, 14),
        (Entry("noisy", "1", {"lam": 0.25}), 0.5, 3.5),
        (Entry("noisy+flipped", "1+1", {"noisy": {"lam": 0.25}, "flipped": {"both": False}}), 2.0, 14),
        (Entry("noisy", "1", {"lam": 0.25}), math.inf, None),
        (Entry("noisy", "1", {"lam": 0.25}), math.nan, None),
    ],
)
def test_a_target_takes_what_its_defense_costs(toy_registry, monkeypatch, defense, cost, expected):
    monkeypatch.setattr(parts.Noisy, "cost", lambda self: cost)
    assert durations(toy_registry, {"target": 7}).of(make_node("target", defense=defense)) == expected


@pytest.mark.parametrize(
    ("model", "expected"), [(Entry("tiny", "1", {"width": 4}), None), (Entry("trap", "1", {"width": 3}), None)]
)
@pytest.mark.parametrize("stage", ["target", "pretrain"])
def test_the_figure_of_targets_is_for_the_protocols_model(toy_registry, stage, model, expected):
    assert durations(toy_registry, {"target": 7}).of(make_node(stage, model=model)) is expected


def test_an_evaluator_may_have_any_model(toy_registry):
    wide = make_node("evaluator", model=Entry("tiny", "1", {"width": 99}))
    assert durations(toy_registry, {"evaluator": 7}).of(wide) == 7


def test_a_figure_for_a_preset_holds_for_its_parameters(toy_registry):
    known = durations(toy_registry, {"reconstruct/guess/deep": 6, "reconstruct/guess/no-such-preset": 8})
    for steps, expected in ((4, 6), (5, None)):
        attack = Entry("guess", "1", {"steps": steps, "images": 3, "lr": 0.1})
        assert known.of(make_node("reconstruct", attack=attack)) == expected


def test_a_name_that_begins_like_another_is_another(toy_registry):
    attack = Entry("guess", "1", {"steps": 2, "images": 3, "lr": 0.1})
    known = {"reconstruct/guesswork": 1, "prior/guess": 2, "guess": 3, "reconstruct": 4}
    assert durations(toy_registry, known).of(make_node("reconstruct", attack=attack)) is None


def test_the_floor_has_a_figure_of_its_own(toy_registry):
    known = durations(toy_registry, {"reconstruct/pool": 9})
    for size, expected in ((8, 9), (4, None)):  # the protocol's floor has 8
        assert known.of(make_node("reconstruct", attack=Entry("pool", "1", {"size": size}))) == expected


def test_a_prior_is_trained_in_the_same_time_however_it_is_deployed(toy_registry):
    known = durations(toy_registry, {"prior/linear": 9})
    for steps, expected in ((12, 9), (10, None)):  # the protocol's prior has 12, and a gain that no training sees
        assert known.of(make_node("prior", prior=Entry("linear", "1", {"steps": steps}))) == expected
