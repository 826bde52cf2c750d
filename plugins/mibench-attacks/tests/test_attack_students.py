"""Students: their networks, what they are shown, how they are trained."""

import numpy as np
import pytest
import torch
from mibench_attacks.students.distillation import DistillationSet, Distiller, query_teacher
from mibench_attacks.students.networks import Student, check_student, make_student
from torch import nn
from torch.testing import assert_close

from mibench.api import UsageError, generator, seeded
from mibench.testing import TinyWorld

WORLD = TinyWorld()


def test_a_small_student_is_three_strided_convolutions_and_a_head():
    with seeded("student"):
        student = make_student("cnn-4", channels=1, num_classes=5).eval()
    convolutions = [part for part in student.modules() if isinstance(part, nn.Conv2d)]
    assert [(part.in_channels, part.out_channels, part.stride) for part in convolutions] == [
        (1, 4, (2, 2)), (4, 8, (2, 2)), (8, 16, (2, 2)),
    ]  # fmt: skip
    head = student.body[-1]
    assert (head.in_features, head.out_features) == (16 * 4 * 4, 5)


def test_images_reach_a_student_in_minus_one_to_one_with_its_channels():
    seen = []

    class Body(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(1)

    x = torch.tensor([0.0, 0.5, 1.0, 0.25]).view(1, 1, 2, 2)
    Student(Body(), 3)(x)
    assert_close(seen[0], torch.tensor([-1.0, 0.0, 1.0, -0.5]).view(1, 1, 2, 2).expand(1, 3, 2, 2))


def test_students_follow_the_seed_and_differ_from_each_other():
    distiller = Distiller(students=("cnn-2", "cnn-2"), public_images=8, epochs=1, lr=0.01, batch=4)

    def trained(seed):
        students, _ = distiller.distill(WORLD.target(), WORLD.attack_context(seed=seed))
        return [student.body[0].weight for student in students]

    first, again, other = trained(0), trained(0), trained(1)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


def test_without_students_the_public_images_are_shown_all_the_same():
    target = WORLD.target()
    students, mean_D = Distiller(students=(), public_images=10).distill(target, WORLD.attack_context())
    assert students == []
    assert target.ledger.forward == 10
    assert mean_D.shape == (target.features(WORLD.batch(1)[0]).shape[1],)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_the_answers_of_the_target_do_not_depend_on_the_batch(batch):
    ctx = WORLD.attack_context()
    made, whole = (query_teacher(WORLD.target(), ctx, 30, batch=size) for size in (batch, 30))
    assert torch.equal(made.index_M, whole.index_M)
    assert_close(made.logits_MK, whole.logits_MK, atol=1e-5, rtol=1e-5)
    features = WORLD.trained().features(ctx.public.images(made.index_M)).double().mean(0)
    assert_close(made.mean_D.double(), features, atol=1e-6, rtol=1e-6)


class Recorder(nn.Module):
    """A linear student that records its batches."""

    def __init__(self):
        super().__init__()
        self.fc, self.sizes = nn.Linear(4, 3), []

    def forward(self, x_BCSS):
        self.sizes.append(len(x_BCSS))
        return self.fc(x_BCSS.flatten(1))


def small_set(count):
    class Images:
        def images(self, index):
            return torch.rand(20, 1, 2, 2, generator=generator("images"))[index]

    logits = torch.randn(count, 3, generator=generator("logits"))
    return DistillationSet(Images(), torch.arange(count), logits, torch.zeros(1))


def test_a_last_batch_of_one_image_is_left_out():
    student = Recorder()
    distiller = Distiller(students=(), public_images=7, epochs=2, lr=0.1, batch=3)
    distiller.train_student(student, small_set(7), [generator("order", epoch) for epoch in range(2)])
    assert student.sizes == [3, 3, 3, 3]


def test_the_order_of_images_is_that_of_the_epochs_generator():
    made = small_set(6)
    distiller = Distiller(students=(), public_images=6, epochs=1, lr=0.1, batch=2)
    found = list(distiller._batches(made, generator("order")))
    order = torch.randperm(6, generator=generator("order"))
    assert_close(torch.cat([x for x, _ in found]), made.images.images(order))
    logits = made.logits_MK.double().numpy()
    log_q = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(torch.cat([q for _, q in found]), log_q[order], atol=1e-5)


def test_a_student_that_agrees_with_the_target_only_decays():
    """The gradient of KL(T || S) is 0 where both agree, so weights shrink by ``1 - lr decay`` in the first update."""
    made, student = small_set(4), Recorder()
    student.fc.weight.data.zero_()
    student.fc.bias.data = torch.tensor([1.0, -2.0, 0.5])
    agreed = made._replace(logits_MK=student.fc.bias.detach().expand(4, 3) + 7.0)  # equal up to a shift
    distiller = Distiller(students=(), public_images=4, epochs=1, lr=0.1, batch=4)
    distiller.train_student(student, agreed, [generator("order")])
    assert_close(student.fc.bias.detach(), torch.tensor([1.0, -2.0, 0.5]) * (1 - 0.1 * 1e-4), atol=1e-6, rtol=0)
    assert student.fc.weight.abs().max() < 1e-6


@pytest.mark.parametrize("name", ["cnn-1", "cnn-128", "efficientnet_b0", "efficientnet_b7"])
def test_known_names(name):
    check_student(name)


@pytest.mark.parametrize("name", ["", "cnn", "cnn-x", "cnn--3", "efficientnet_b8", "efficientnet-b0", "resnet18"])
def test_unknown_names_are_refused_when_the_group_is_made(name):
    with pytest.raises(UsageError, match=f"unknown student {name!r}"):
        Distiller(students=(name,))
