"""Whether an attack can use a prior is asked before anything is trained, and of a sketch that holds no numbers."""

import fake_plugin.parts as parts
import pytest
import torch

from mibench.api import UsageError
from mibench.plan.choose import Chooser
from mibench.plan.compatibility import check_compatibility
from mibench.plan.facts import Facts
from mibench.plan.settings import Settings
from mibench.protocol.load import load_protocol
from mibench.protocol.schema import ComponentChoice, ImageShape

IMAGE = ImageShape(size=16, channels=3)


class Checks:
    """What an attack was asked, and what it says."""

    def __init__(self, monkeypatch):
        self.asked, self.objection = [], ""

        def check(_, prior, classes):
            self.asked.append((type(prior).__name__, prior.mean.device.type, tuple(prior.mean.shape), classes))
            if self.objection:
                raise UsageError(self.objection)

        monkeypatch.setattr(parts.Picky, "check_prior", check)


@pytest.fixture()
def checks(monkeypatch):
    return Checks(monkeypatch)


def ask(facts, attack="picky", prior="linear", image=IMAGE, classes=3):
    chooser = Chooser(load_protocol(facts.registry, "toy"), facts, Settings({}, facts))
    asked, offered = (
        chooser.frozen(kind, ComponentChoice(name=name)) for kind, name in (("attack", attack), ("prior", prior))
    )
    check_compatibility(facts, asked, offered, image, classes)


def test_an_attack_is_shown_a_prior_of_the_right_shape_without_memory(toy_registry, checks):
    ask(Facts(toy_registry), classes=7)
    assert checks.asked == [("LinearPrior", "meta", (3, 16, 16), 7)]


def test_an_attack_that_takes_any_prior_is_shown_none(toy_registry, checks, monkeypatch):
    monkeypatch.setattr(parts.Linear, "build", lambda self, **shape: pytest.fail("a prior was built"))
    ask(Facts(toy_registry), attack="guess")
    assert checks.asked == []


def test_a_prior_that_knows_its_classes_is_told_them(toy_registry, monkeypatch):
    seen = []
    monkeypatch.setattr(parts.Picky, "check_prior", lambda self, prior, classes: seen.append(prior.classes))
    ask(Facts(toy_registry), prior="guided", classes=5)
    assert seen == [5]


def test_an_objection_is_a_usage_error_and_remembered(toy_registry, tmp_path, checks):
    checks.objection = "this attack wants a prior with styles"
    for _ in range(2):
        facts = Facts.beside(toy_registry, tmp_path)
        with pytest.raises(UsageError, match=r"^this attack wants a prior with styles$"):
            ask(facts)
        facts.memo.save()
    assert len(checks.asked) == 1


def test_that_they_fit_is_remembered_for_these_shapes(toy_registry, tmp_path, checks):
    small = ImageShape(size=8, channels=1)
    for _ in range(2):
        facts = Facts.beside(toy_registry, tmp_path)
        for where in ({}, {"classes": 4}, {"image": small}):
            ask(facts, **where)
        facts.memo.save()
    assert [(shape, classes) for _, _, shape, classes in checks.asked] == [
        ((3, 16, 16), 3), ((3, 16, 16), 4), ((1, 8, 8), 3),
    ]  # fmt: skip


def test_a_prior_that_cannot_be_sketched_is_left_to_the_stages(toy_registry, checks, monkeypatch):
    tried = []

    def build(self, *, channels, size):
        tried.append(1)
        raise OSError("the weights are not here")

    monkeypatch.setattr(parts.Linear, "build", build)
    facts = Facts(toy_registry)
    for _ in range(2):
        ask(facts)
    assert checks.asked == []
    assert len(tried) == 2  # it may be here the next time


def test_a_fault_of_the_check_is_no_objection(toy_registry, monkeypatch):
    def broken(self, prior, classes):
        raise ZeroDivisionError("a bug of the plugin")

    monkeypatch.setattr(parts.Picky, "check_prior", broken)
    with pytest.raises(ZeroDivisionError):
        ask(Facts(toy_registry))


def test_the_default_device_stays(toy_registry, checks):
    ask(Facts(toy_registry))
    assert torch.zeros(1).device.type == "cpu"
