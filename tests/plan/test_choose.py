"""Choosing: what the protocol froze stays as it is, what a request changes is told apart, each thing is there once."""

import fake_plugin.parts as parts
import pytest
from fake_plugin import PROTOCOL

from mibench.api import UsageError
from mibench.plan.cells import expand
from mibench.plan.choose import Chooser
from mibench.plan.context import make_context
from mibench.plan.facts import Facts
from mibench.plan.matrix import load_protocols, make_matrix
from mibench.plan.settings import Settings
from mibench.protocol.load import load_protocol
from mibench.protocol.request import Request
from mibench.protocol.schema import ComponentChoice
from mibench.registry.registry import load_registry


def chooser(registry, variant="test", protocol="toy", **settings):
    facts = Facts(registry)
    given = {key.replace("_", "."): value for key, value in settings.items()}
    return Chooser(load_protocol(registry, protocol, variant), facts, Settings(given, facts))


def test_settings_change_what_is_asked_for_and_not_what_is_frozen(toy_registry):
    choose = chooser(toy_registry, defense_lam=0.75, model_width=9)
    noisy = ComponentChoice(name="noisy")
    assert choose.frozen("defense", noisy).params == {"lam": 0.25}
    assert choose.changed("defense", noisy).params == {"lam": 0.75}
    assert choose.named("model", "tiny", choose.protocol.model).params == {"width": 9}
    assert choose.frozen("model", choose.protocol.model).params == {"width": 3}


@pytest.mark.parametrize(
    ("text", "settings", "overridden"),
    [
        ("tiny", {}, False),
        ("tiny", {"model_width": 9}, True),
        ("tiny", {"model_width": 3}, False),  # what it would be anyway
        ("tiny/wide", {}, True),  # another than the protocol's
    ],
)
def test_a_model_is_overridden_if_it_is_not_the_protocols(toy_registry, text, settings, overridden):
    choose = chooser(toy_registry, **settings)
    assert choose.named("model", text, choose.protocol.model).overridden is overridden


def test_defenses_that_are_joined_are_chosen_one_by_one(toy_registry):
    choose = chooser(toy_registry, noisy_lam=0.5)
    both = choose.named("defense", "noisy+flipped", choose.protocol.undefended)
    assert (both.name, both.version, both.requested) == ("noisy+flipped", "1+1", "noisy+flipped")
    assert both.params == {"noisy": {"lam": 0.5}, "flipped": {"both": False}}
    assert [part.name for part in both.entry().parts] == ["noisy", "flipped"]
    assert both.registered is toy_registry.get("defense", "noisy")
    assert both.overridden
    with pytest.raises(UsageError, match="'plain' is the undefended control"):
        choose.named("defense", "noisy+plain", choose.protocol.undefended)


def test_a_context_has_what_the_protocol_froze(toy_registry):
    context = make_context(chooser(toy_registry))
    assert context.split_name == "test"
    assert (context.dataset.params, context.prior.params["steps"]) == ({"identities": 12}, 12)
    assert {name: model.params for name, model in context.evaluators.items()} == {"judge": {"width": 5}}
    assert [metric.name for metric in context.metrics] == ["hits", "match", "light"]
    assert len(context.identities.private) == 3
    assert context.attacked is None
    assert make_context(chooser(toy_registry, "validation")).split_name == "val"


def test_an_embedder_must_be_one(toy_registry, tmp_path):
    (tmp_path / "toy.yaml").write_text(
        PROTOCOL.read_text().replace("embedder: {name: coarse}", "embedder: {name: tiny}")
    )
    with pytest.raises(UsageError, match=r"Unknown embedder 'tiny'.*coarse, trap-eye"):
        make_context(chooser(toy_registry, protocol=str(tmp_path / "toy.yaml")))


def test_a_matrix_has_each_thing_once_and_the_control_apart(toy_registry):
    choose = chooser(toy_registry)
    request = Request(defenses=("noisy", "plain", "noisy/toy"), attacks=("guess", "pool", "guess"), seeds=(4, 4, 3))
    matrix = make_matrix(choose, request)
    assert [one.name for one in matrix.defenses] == ["noisy"]
    assert [one.name for one in matrix.attacks] == ["guess", "pool"]
    assert [one.name for one in matrix.models] == ["tiny"]
    assert matrix.seeds == [4, 3]
    assert make_matrix(choose, Request(defenses=("plain",), attacks=("guess",))).seeds == [3]


def test_a_dataset_alone_means_the_first_protocol_whose_numbers_mean_something():
    registry = load_registry()
    (rendered,) = load_protocols(Request(datasets=("rendered-faces",)), registry)
    trials = [entry.name for entry in registry.entries("protocol") if getattr(entry.spec, "trial", False)]
    assert len(trials) == 1
    assert load_protocol(registry, trials[0]).protocol.dataset.name == "rendered-faces"
    assert rendered.protocol.name not in trials
    both = load_protocols(Request(datasets=("rendered-faces",), protocols=(trials[0],)), registry)
    assert [loaded.protocol.name for loaded in both] == trials  # by name it is always there


def test_a_prior_that_comes_out_as_the_protocols_own_is_that(toy_registry):
    """It has the protocol's key, and its record must not say that somebody overrode a prior or an attack."""
    settings = {"picky.brings": "linear", "linear.steps": 12}
    request = Request(protocols=("toy",), attacks=("picky",), defenses=("plain",), settings=settings)
    (cell,) = expand(request, toy_registry)
    assert cell.prior is cell.graph.fixed.prior
    assert (cell.prior.overridden, cell.prior.overrides) == (False, {})
    assert cell.prior_node.key == cell.graph.prior().key
    settings["linear.steps"] = 11
    (other,) = expand(request.model_copy(update={"settings": settings}), toy_registry)
    assert (other.prior.overridden, other.prior.overrides) == (True, {"steps": 11})
    assert other.attack.overridden


def test_a_prior_that_asks_the_target_is_for_attacks_that_see_it(toy_registry, monkeypatch):
    monkeypatch.setattr(parts.Picky, "access", "labels", raising=False)
    monkeypatch.setattr("mibench.registry.registry.Registry.component", _unchecked)
    request = Request(protocols=("toy",), attacks=("picky",), settings={"picky.brings": "guided"}, defenses=("plain",))
    with pytest.raises(UsageError, match="declares labels access; the prior 'guided' is trained"):
        expand(request, toy_registry)


def _unchecked(self, kind, name):
    module, _, attribute = self.get(kind, name).spec.factory.partition(":")
    return getattr(__import__(module, fromlist=[attribute]), attribute)
