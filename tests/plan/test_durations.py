"""Expected durations: what the protocol says of a component holds for that component alone."""

import pytest
import yaml
from fake_plugin import PROTOCOL

from mibench.plan.plan import make_plan
from mibench.protocol.request import Request
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
