"""What is delivered: the images of which the target is most confident."""

import numpy as np
import pytest
import torch
from mibench_attacks.selection.confidence import MostConfident
from torch import nn

from mibench.api import Access, ClassFailed, Classifier, TargetView, UsageError, generator


class Table(nn.Module):
    """Answers with the logits that are written into the first pixels of an image."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.fc.weight.data, self.fc.bias.data = torch.eye(3), torch.zeros(3)

    def forward(self, x_BCHW):
        return self.fc(x_BCHW.flatten(1)[:, :3])


def target():
    return TargetView(Classifier(Table(), head="fc", stage_names=[], mean=[0.0], std=[1.0], channels=1), Access.SCORES)


def images(logits):
    made = torch.zeros(len(logits), 1, 2, 2)
    made.flatten(1)[:, :3] = torch.tensor(logits)
    return made


LOGITS = [[0.0, 1.0, 0.0], [0.0, 5.0, 0.0], [9.0, 5.0, 0.0], [0.0, 3.0, 0.0]]


def test_the_most_confident_come_first_with_their_confidence():
    x, view = images(LOGITS), target()
    chosen = MostConfident(final=3).choose(x, x, 1, view, batch=3)
    order = [1, 3, 0]  # the third has a large logit and a larger rival
    assert torch.equal(chosen.images_MCDD, x[order])
    z = np.array(LOGITS)
    softmax = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(chosen.scores_M, softmax[order, 1], rtol=1e-6)
    assert vars(view.ledger) == {"forward": 4, "backward": 0, "render": 0}


def test_confidences_that_float32_cannot_tell_apart_are_still_ordered():
    x = images([[0.0, 40.0, 0.0], [0.0, 60.0, 0.0], [0.0, 50.0, 0.0]])
    chosen = MostConfident(final=3).choose(x, x, 1, target(), batch=2)
    assert torch.equal(chosen.images_MCDD, x[[1, 2, 0]])
    assert chosen.scores_M.tolist() == [1.0, 1.0, 1.0]


def test_among_equals_the_earlier_wins():
    x = images([[0.0, 1.0, 0.0]] * 3)
    x[:, 0, 1, 1] = torch.tensor([0.1, 0.2, 0.3])  # a pixel that the target does not read
    chosen = MostConfident(final=2).choose(x, x, 1, target(), batch=1)
    assert chosen.images_MCDD[:, 0, 1, 1].tolist() == pytest.approx([0.1, 0.2])


def test_what_is_delivered_may_be_larger_than_what_the_target_sees():
    seen = images(LOGITS)
    whole = torch.rand(4, 1, 6, 6, generator=generator("whole"))
    chosen = MostConfident(final=2).choose(whole, seen, 1, target(), batch=4)
    assert torch.equal(chosen.images_MCDD, whole[[1, 3]])


def test_images_with_answers_that_are_not_finite_are_never_delivered():
    x = images([*LOGITS[:3], [torch.nan, 1.0, 0.0]])
    assert torch.equal(MostConfident(final=3).choose(x, x, 1, target(), batch=4).images_MCDD, x[[1, 0, 2]])
    with pytest.raises(ClassFailed, match="class 1, final selection: expected 4 candidates"):
        MostConfident(final=4).choose(x, x, 1, target(), batch=4)


def test_more_than_is_found_cannot_be_delivered():
    MostConfident(final=3).check(3, attack="mine", name="draws")
    with pytest.raises(UsageError, match="attack 'mine': expected final <= draws, got 3 > 2"):
        MostConfident(final=3).check(2, attack="mine", name="draws")
