"""The floor of public photographs, and floors of other priors than the protocol's."""

import pytest
import torch
from mibench_attacks.methods.baselines import PriorRandom, PriorTopConfidence
from mibench_attacks.methods.public_nearest import PublicNearest

from mibench.api import Access, UsageError, run_attack
from mibench.api.params import canonical
from mibench.testing import AttackContract
from mibench.testing.tiny_world import TinyWorld

WHOLE = {"public_images": 12, "final": 3}
PIECES = {**WHOLE, "batch": 5}


class TestPublicNearest(AttackContract):
    component = PublicNearest
    settings = PIECES


class TestGrey(AttackContract):
    component = PublicNearest
    settings = WHOLE
    world = TinyWorld(channels=1)


def attack(**settings):
    world = TinyWorld()
    ctx, target = world.attack_context(), world.target(Access.SCORES)
    return list(run_attack(PublicNearest(**settings), [3, 0], target, world.prior(), ctx)), target, ctx.public


def test_the_public_images_of_highest_confidence_are_delivered():
    results, target, public = attack(public_images=100, final=4)
    assert target.ledger.forward == len(public) == 24
    confidence = TinyWorld().target(Access.SCORES).logits(public.all_images()).softmax(1)
    for result in results:
        order = confidence[:, result.label].argsort(descending=True, stable=True)[:4]
        assert torch.equal(result.images_NCHW, public.images(order))
        assert torch.allclose(result.scores_N, confidence[order, result.label], atol=1e-6)
        assert result.spent.forward == 0


def test_the_batch_size_changes_nothing():
    (one, _), _, _ = attack(public_images=10, final=2, batch=1)
    (all_at_once, _), _, _ = attack(public_images=10, final=2, batch=50)
    assert torch.equal(one.images_NCHW, all_at_once.images_NCHW)


def test_too_few_images_are_explained():
    with pytest.raises(UsageError, match=r"24 public images, fewer than attack\.final=50"):
        attack()
    with pytest.raises(UsageError, match="final <= public_images"):
        PublicNearest(public_images=3, final=4)


@pytest.mark.parametrize("made", [PriorRandom, PriorTopConfidence])
def test_floors_of_other_priors_leave_old_keys_alone(made):
    assert made().prior_choice() is None
    assert "prior" not in canonical(made())
    assert made(prior="stylegan2/small").prior_choice() == "stylegan2/small"
    assert canonical(made(prior="stylegan2"))["prior"] == "stylegan2"
