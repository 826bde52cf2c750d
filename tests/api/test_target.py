"""The view of a target: access is enforced and every query is counted, as independent hooks count them."""

import pytest
import torch

from mibench.api import Access, AccessError, Budget, BudgetError, Ledger, TargetView
from mibench.testing.tiny_world import TinyWorld

WORLD = TinyWorld()


def _view(access=Access.WHITE_BOX, **budget):
    return TargetView(WORLD.classifier(), access, classes=2, budget=Budget(**budget))


def _images(n):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(n))


def test_the_ledger_agrees_with_hooks_on_the_network():
    view = _view()
    seen = Ledger()
    net = view.module().body
    net.register_forward_hook(lambda _, inputs, __: setattr(seen, "forward", seen.forward + len(inputs[0])))
    net.register_full_backward_hook(lambda _, __, out: setattr(seen, "backward", seen.backward + len(out[0])))
    for n in (3, 5):
        x = _images(n).requires_grad_()
        view.logits(x).sum().backward()
    assert seen == view.ledger == Ledger(forward=8, backward=8)
    view.features(_images(2).requires_grad_()).sum().backward()  # torch's hook does not see what enters at the features
    view.labels(_images(4))
    view.logits(_images(7))
    assert (view.ledger.forward, view.ledger.backward) == (3 + 5 + 2 + 4 + 7, 3 + 5 + 2)
    assert seen.forward == view.ledger.forward


def test_spending_is_what_a_block_spent():
    view = _view()
    view.logits(_images(3))
    with view.spending() as spent:
        view.logits(_images(2).requires_grad_()).sum().backward()
    assert spent == Ledger(forward=2, backward=2)


@pytest.mark.parametrize(
    ("access", "granted"),
    [
        (Access.WHITE_BOX, {"labels", "logits", "features", "module"}),
        (Access.SCORES, {"labels", "logits"}),
        (Access.LABELS, {"labels"}),
    ],
)
def test_only_declared_access_is_granted(access, granted):
    view = _view(access)
    for name in ("labels", "logits", "features", "module"):
        arguments = [] if name == "module" else [_images(1)]
        if name in granted:
            getattr(view, name)(*arguments)
        else:
            with pytest.raises(AccessError, match="declared"):
                getattr(view, name)(*arguments)


@pytest.mark.parametrize("access", [Access.SCORES, Access.WHITE_BOX])
def test_gradients_only_under_white_box(access):
    out = _view(access).logits(_images(2).requires_grad_())
    assert out.requires_grad == (access is Access.WHITE_BOX)


def test_labels_are_the_argmax_and_weights_are_frozen():
    view = _view()
    assert torch.equal(view.labels(_images(6)), view.logits(_images(6)).argmax(1))
    assert not view.module().training
    assert not any(p.requires_grad for p in view.module().parameters())


def test_the_forward_budget_is_per_class_and_exact():
    view = _view(forward=4)
    view.logits(_images(8))
    with pytest.raises(BudgetError, match="4 per class x 2 classes"):
        view.labels(_images(1))


def test_the_gradient_budget_stops_the_backward_pass():
    view = _view(backward=2)
    view.logits(_images(4).requires_grad_()).sum().backward()
    with pytest.raises(BudgetError, match="gradients"):
        view.logits(_images(1).requires_grad_()).sum().backward()
