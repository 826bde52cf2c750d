"""Renders are counted by a view of the prior: same class, same weights, whoever calls it and however."""

import copy
import warnings
from dataclasses import asdict

import pytest
import torch

from mibench.api import Access, Ledger, Prior, TargetView, metered, renders
from mibench.api.attack import Attack, ClassResult, run_attack
from mibench.api.prior_view import unmetered
from mibench.api.target import LiveLedger
from mibench.testing import TinyWorld
from mibench.testing.tiny_parts import TinyPrior


class Sampler(TinyPrior):
    """Renders in other ways too."""

    @renders(lambda latent_BLW, *, steps, **_: len(latent_BLW) * steps)
    def sharpened(self, latent_BLW, *, steps, strength=1.0):
        return torch.stack([self.render(latent_BLW) for _ in range(steps)]).mean(0) * strength

    def unmarked(self, latent_BLW):
        return self.render(latent_BLW)


def viewed(kind=Sampler):
    prior, ledger = kind(3, 8), LiveLedger()
    return prior, metered(prior, ledger), ledger


def latents(prior, n):
    return torch.ones(n, prior.latent_layers, prior.latent_size)


def test_a_view_renders_the_same_images_and_counts_them():
    prior, view, ledger = viewed()
    assert torch.equal(view.render(latents(prior, 5)), prior.render(latents(prior, 5)))
    assert ledger == Ledger(render=5)
    view.render(latent_BLW=latents(prior, 2), start=0, carry=None)
    assert ledger == Ledger(render=7)


def test_methods_that_are_marked_count_by_their_rule_and_others_by_the_renders_inside():
    prior, view, ledger = viewed()
    view.sharpened(latents(prior, 2), steps=3)
    assert ledger.render == 6  # not another 6 for the renders inside
    view.unmarked(latents(prior, 4))
    assert ledger.render == 10


def test_the_prior_itself_counts_nothing_and_shares_its_weights():
    prior, view, ledger = viewed()
    prior.render(latents(prior, 3))
    assert ledger.render == 0
    assert type(view).__name__ == "Sampler"
    assert isinstance(view, Sampler)
    assert view.basis_WCHW is prior.basis_WCHW
    assert view.state_dict().keys() == prior.state_dict().keys()
    prior.basis_WCHW.zero_()
    assert not view.render(latents(prior, 1)).sub(0.5).any()


@pytest.mark.parametrize("duplicate", [lambda view: view.clone(), copy.deepcopy, copy.copy])
def test_clones_count_as_well_and_are_independent(duplicate):
    prior, view, ledger = viewed()
    twin = duplicate(view)
    twin.render(latents(prior, 2))
    assert ledger.render == 2
    view.clone().basis_WCHW.zero_()
    assert prior.basis_WCHW.any()


def test_two_views_for_one_ledger_are_one_and_for_two_ledgers_both_count():
    prior, view, ledger = viewed()
    assert metered(view, ledger) is view
    other = Ledger()
    both = metered(view, other)
    both.render(latents(prior, 3))
    view.render(latents(prior, 1))
    assert (ledger.render, other.render) == (4, 3)
    unmetered(both).render(latents(prior, 9))
    assert (ledger.render, other.render) == (4, 3)
    assert type(unmetered(both)) is Sampler
    assert unmetered(prior) is prior


def test_a_render_that_was_replaced_on_the_instance_is_counted():
    prior, ledger = Sampler(3, 8), LiveLedger()
    plain, calls = prior.render, []
    prior.render = lambda latent, **more: calls.append(len(latent)) or plain(latent, **more)
    view = metered(prior, ledger)
    view.render(latents(prior, 2))
    assert (calls, ledger.render) == ([2], 2)
    unmetered(view).render(latents(prior, 2))
    assert (calls, ledger.render) == ([2, 2], 2)


def test_a_rendering_that_fails_leaves_the_view_counting():
    prior, view, ledger = viewed()
    with pytest.raises(RuntimeError):
        view.render(torch.ones(2, 1, 5))
    ledger.restore(Ledger())  # as a batch that did not fit into memory is taken back
    view.render(latents(prior, 1))
    assert ledger.render == 1


def test_a_view_works_on_the_meta_device():
    with torch.device("meta"):
        prior = TinyPrior(3, 8)
    prior.basis_WCHW = prior.basis_WCHW.to("meta")
    view = metered(prior, LiveLedger())
    assert view.basis_WCHW.is_meta
    assert (view.latent_layers, view.blocks, view.discriminator, list(view.tunable)) == (1, 1, None, [])
    assert view.render(torch.ones(2, 1, 12, device="meta")).shape == (2, 3, 8, 8)


class Writes(Attack):
    """Written for versions in which attacks entered their renders themselves."""

    def prepare(self, target, prior, ctx):
        return None

    def reconstruct(self, label, shared, target, prior, ctx):
        with target.spending() as spent:
            latent_NLW = prior.to_latent(prior.sample(3, ctx.rng(label)))
            target.ledger.render += len(latent_NLW)
            x_NCHW = prior.render(latent_NLW).clamp(0, 1)
        return ClassResult(label, x_NCHW, torch.zeros(3), spent)


def test_an_attack_that_counts_itself_is_told_and_not_counted_twice():
    world = TinyWorld()
    target = world.target()
    with pytest.warns(DeprecationWarning, match="counted by the view of the prior"):
        results = list(run_attack(Writes(), [0, 1], target, world.prior(), world.attack_context()))
    assert [result.spent for result in results] == [Ledger(render=3)] * 2
    assert target.ledger == Ledger(render=6)


def test_without_a_view_of_the_prior_an_attack_may_still_count():
    target = TinyWorld().target()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target.ledger.render += 2
    assert target.ledger == Ledger(render=2) != Ledger(render=3)
    assert Ledger(render=2) == target.ledger


def test_a_live_ledger_holds_three_numbers_and_copies_like_any():
    ledger = LiveLedger()
    ledger.metered = True
    ledger.add(Ledger(1, 2, 3))
    ledger.enter_renders(4)
    assert vars(ledger) == asdict(ledger) == {"forward": 1, "backward": 2, "render": 7}
    assert ledger.copy() == Ledger(1, 2, 7)
    assert ledger.minus(Ledger(1, 0, 5)) == Ledger(0, 2, 2)
    with pytest.warns(DeprecationWarning):
        ledger.render = 0
    assert ledger.render == 7
    ledger.restore(Ledger(0, 1, 2))
    assert ledger == Ledger(0, 1, 2)


def pictures(n=4):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_(True)


@pytest.mark.parametrize(
    ("ask", "passes", "gradients"),
    [
        (lambda net, x: net(x).sum(), 4, 4),
        (lambda net, x: net.outputs(x).logits.sum(), 4, 4),
        (lambda net, x: net.outputs(x).features.sum(), 4, 4),
        (lambda net, x: net.outputs(x, stages=True).stages["block2"].sum(), 4, 4),
        (lambda net, x: net.features(x).sum() + net(x).sum(), 8, 8),
        (lambda net, x: sum(stage.sum() for stage in net.stages(x).values()), 4, 4),
        (lambda net, x: net(x.detach()).sum() + 0 * x.sum(), 4, 0),
        (lambda net, x: copy.deepcopy(net)(x).sum(), 4, 4),
        (lambda net, x: net.body(x).sum(), 0, 0),
    ],
)
def test_what_the_network_itself_is_asked_is_counted(ask, passes, gradients):
    target = TinyWorld().target()
    ask(target.module(), pictures()).backward()
    assert target.ledger == Ledger(passes, gradients, 0)


def test_the_network_itself_keeps_to_the_budget_and_changes_nothing():
    world = TinyWorld()
    classifier = world.trained()
    target = TargetView(classifier, Access.WHITE_BOX)
    assert torch.equal(target.module()(pictures()), classifier(pictures()))
    assert target.ledger.forward == 4  # the classifier on its own is nobody's business
    assert isinstance(target.module(), type(classifier))
    assert target.module().body is classifier.body
    assert isinstance(world.prior(), Prior)
