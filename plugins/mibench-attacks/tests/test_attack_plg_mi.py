"""PLG-MI: a conditional prior, two random views, the contract of attacks."""

from dataclasses import replace

import pytest
import torch
from mibench_attacks.losses.objectives import max_margin, topk_margin
from mibench_attacks.methods.plg_mi import PseudoLabelGuided
from mibench_attacks.views.transforms import RandomView
from mibench_models.priors.plg_cgan.component import PlgCgan

from mibench.api import Prior, UsageError, freeze, run_attack, seeded
from mibench.api.params import build
from mibench.testing import AttackContract, TinyWorld

SMALL = {"restarts": 5, "final": 3, "steps": 4, "batch": 2}


def conditional(world: TinyWorld) -> Prior:
    model = PlgCgan(z_dim=8, width=2)
    with seeded("plg prior"):
        return freeze(model.build(channels=world.channels, size=world.size, classes=world.classes))


def made(**settings) -> PseudoLabelGuided:
    return build(PseudoLabelGuided, settings)


class TestContract(AttackContract):
    component = PseudoLabelGuided
    settings = SMALL

    def prior(self):
        return conditional(self.world)


class TestContractGrey(TestContract):
    world = TinyWorld(channels=1)
    settings = SMALL | {"loss": "poincare", "align": "paa", "n_aug": 2}


def attacked(attack, world=TinyWorld(), classes=(2, 0), prior=None):  # noqa: B008
    target = world.target()
    prior = prior or conditional(world)
    return list(run_attack(attack, classes, target, prior, world.attack_context(seed=4))), target


@pytest.mark.parametrize("more", [{}, {"align": "taa", "n_aug": 2, "views": 1}, {"final": 5, "steps": 0}])
def test_cost_is_exact(more):
    attack = made(**SMALL | more)
    results, target = attacked(attack)
    assert vars(target.ledger) == dict(attack.cost(2))
    assert [result.spent.render for result in results] == [attack.cost(1)["render"]] * 2


def test_the_batch_changes_nothing():
    attack = made(**SMALL)
    for one, other in zip(attacked(attack)[0], attacked(replace(attack, batch=100))[0], strict=True):
        torch.testing.assert_close(one.images_NCHW, other.images_NCHW, atol=2e-4, rtol=0)


def test_the_loss_falls_and_confidence_orders():
    world = TinyWorld()
    attack = made(restarts=6, final=4, steps=25, flip=0.0, rotate=0.0, jitter=0.0, crop_scale=(1.0, 1.0))
    (result,), target = attacked(attack, world, [1])
    assert sum(result.trace["loss"][-3:]) < sum(result.trace["loss"][:3])
    truth = target.logits(result.images_NCHW).softmax(1)[:, 1]
    torch.testing.assert_close(result.scores_N, truth, atol=1e-5, rtol=0)


def test_a_prior_without_the_classes_is_refused():
    world = TinyWorld()
    for prior in (world.prior(), conditional(TinyWorld(classes=5))):
        with pytest.raises(UsageError, match="prior=plg-cgan"):
            attacked(made(**SMALL), world, prior=prior)


def test_more_final_images_than_starts_are_refused():
    with pytest.raises(UsageError, match="final <= restarts"):
        made(restarts=2, final=3)


def test_the_prior_of_each_preset():
    assert PseudoLabelGuided().prior_choice() == "plg-cgan"
    assert made(**PseudoLabelGuided.presets["small"]).prior_choice() == "plg-cgan/small"


def test_margins_of_the_reference_vector():
    logits, y = torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([0])
    assert max_margin(logits, y).item() == -1
    assert topk_margin(logits, y, k=2).item() == -2


def test_the_objective_is_the_mean_margin_over_both_views_by_hand():
    """Reference 9: the margins of two independent views; their mean stands for their sum. Views are mirrors here."""
    world, label = TinyWorld(), 1
    plain = {"crop_scale": (1.0, 1.0), "rotate": 0.0, "jitter": 0.0}
    attack = made(restarts=5, final=5, steps=1, **plain)
    (result,), _ = attacked(attack, world, [label])
    ctx, prior, target = world.attack_context(seed=4), conditional(world), world.trained().double()
    z = prior.sample(5, ctx.rng("class", label, "start"))
    x = prior.render(prior.condition(prior.to_latent(z), torch.full((5,), label))).detach().double()
    rng, view = ctx.rng("class", label, "view"), RandomView(scale=(1.0, 1.0), flip=0.5, per_sample=True)
    mirrored = torch.stack([view.draw(5, world.size, rng).flips_N for _ in range(2)])
    assert 0 < (mirrored[0] ^ mirrored[1]).sum() < 5  # views that differ, and views that do not
    margins = []
    for flips in mirrored:
        logits = target(torch.stack([one.flip(-1) if flip else one for one, flip in zip(x, flips, strict=True)]))
        margins.append(logits[:, [0, 2, 3]].amax(1) - logits[:, label])
    truth = (margins[0] + margins[1]).mean() / 2
    assert abs(truth) > 0.1
    assert result.trace["loss"] == pytest.approx([truth.item()], rel=1e-4)
