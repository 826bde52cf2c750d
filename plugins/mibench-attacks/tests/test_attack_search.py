import numpy as np
import pytest
import torch
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam, at_milestones, cosine, nesterov, ramped
from torch.testing import assert_close

from mibench.api import AccessError, ClassFailed, Ledger, MibenchError

BETAS = (0.1, 0.1)
CENTRE = torch.tensor([1.0, -2.0])


def bowl(variables, rows, step):
    return (variables[0] - CENTRE).square().sum(1)


def test_one_candidate_follows_torch_adam_with_its_schedule():
    search = GradientSearch(steps=6, optimizer=adam(0.1, BETAS), schedule=at_milestones((2, 4), 0.1))
    found = search.run([torch.zeros(1, 2)], bowl, where="class 0")
    w = torch.zeros(1, 2, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.1, betas=BETAS)
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.1 * 0.1 ** ((step >= 2) + (step >= 4))
        optimizer.zero_grad()
        bowl([w], slice(0, 1), step).mean().backward()
        optimizer.step()
    assert_close(found.variables[0], w.detach())


def test_nesterov_is_the_update_of_gmi():
    z, v = np.zeros((2, 2)), np.zeros((2, 2))
    for _ in range(5):  # v' = .9 v - lr g; z += -.9 v + 1.9 v'
        v_new = 0.9 * v - 0.01 * 2 * (z - CENTRE.numpy())
        z, v = z - 0.9 * v + 1.9 * v_new, v_new
    found = GradientSearch(steps=5, optimizer=nesterov(0.01)).run([torch.zeros(2, 2)], bowl, where="class 0")
    assert_close(found.variables[0].double(), torch.tensor(z), atol=1e-6, rtol=0)


def test_schedules_by_hand():
    assert [round(ramped(up=0.1, down=0.5)(step, 20), 6) for step in (0, 1, 2, 10, 15, 20)] == [0, 0.5, 1, 1, 0.5, 0]
    assert [round(cosine(step, 10), 6) for step in (0, 5, 10)] == [1, 0.5, 0]


def test_the_best_point_of_each_candidate_is_kept_if_asked_for():
    def away(variables, rows, step):  # the first candidate's loss falls, the other's rises
        return variables[0][:, 0] * (1 if step < 3 else torch.tensor([1.0, -1.0])[rows])

    search = GradientSearch(steps=6, optimizer=lambda p: torch.optim.SGD(p, lr=1.0), batch=1, keep="best")
    found = search.run([torch.zeros(2, 1)], away, where="class 0")
    assert found.variables[0].flatten().tolist() == [-5.0, -2.0]  # losses are taken before each step


def test_too_large_a_batch_is_halved_until_it_fits():
    tried = []

    def hungry(variables, rows, step):
        tried.append(rows.stop - rows.start)
        ledger.forward += tried[-1]
        if tried[-1] > 2:
            raise torch.cuda.OutOfMemoryError
        return bowl(variables, rows, step)

    start, ledger = torch.linspace(-3, 3, 10).view(5, 2), Ledger(forward=7)
    found = GradientSearch(steps=2, batch=5).run([start], hungry, where="class 0", ledger=ledger)
    plain = GradientSearch(steps=2, batch=5).run([start], bowl, where="class 0")
    assert tried == [5, 3, 2, 2, 1, 2, 2, 1]  # the next step begins where the first one ended
    assert ledger.forward == 7 + 5 + 5  # and what did not fit is not counted
    assert_close(found.variables[0], plain.variables[0])


def test_a_path_depends_neither_on_the_batch_size_nor_on_companions():
    start = torch.linspace(-3, 3, 10).view(5, 2)
    together = GradientSearch(steps=9, batch=5).run([start], bowl, where="class 0").variables[0]
    in_twos = GradientSearch(steps=9, batch=2).run([start], bowl, where="class 0").variables[0]
    alone = GradientSearch(steps=9).run([start[3:4]], bowl, where="class 0").variables[0]
    assert_close(in_twos, together, atol=1e-6, rtol=0)
    assert_close(alone, together[3:4], atol=1e-6, rtol=0)


def test_several_variables_a_constraint_and_the_trace():
    start = [torch.zeros(4, 2), torch.zeros(4, 1, 3)]

    def both(variables, rows, step):
        return bowl(variables, rows, step) + (variables[1] - 5).square().sum((1, 2))

    def box(variables):
        variables[1].clamp_(-0.2, 0.2)

    reports = []
    found = GradientSearch(steps=20, optimizer=adam(0.1, BETAS)).run(
        start, both, where="class 0", project=box, report=lambda *seen: reports.append(seen)
    )
    assert_close(found.variables[1], torch.full((4, 1, 3), 0.2))
    assert all(variable.abs().sum() == 0 for variable in start)
    assert len(found.trace["loss"]) == len(found.trace["gradient"]) == 20
    assert found.trace["loss"][-1] < found.trace["loss"][0]
    assert reports[-1][:3] == (20, 20, "steps")


def test_a_candidate_that_is_not_finite_is_skipped_and_may_recover():
    def sometimes(variables, rows, step):
        broken = (torch.arange(rows.start, rows.stop) == 1) & (step in (0, 3))
        return bowl(variables, rows, step) * torch.where(broken, float("nan"), 1.0)

    found = GradientSearch(steps=60, optimizer=adam(0.1, BETAS), batch=2).run(
        [torch.zeros(3, 2)], sometimes, where="class 0"
    )
    assert found.trace["skipped"][:5] == [1, 0, 0, 1, 0]
    assert torch.isfinite(found.variables[0]).all()
    assert bowl(found.variables, slice(0, 3), 0).max() < 1


def test_when_no_candidate_is_finite_the_error_names_class_and_step():
    def breaks(variables, rows, step):
        return bowl(variables, rows, step) * (float("inf") if step == 2 else 1.0)

    with pytest.raises(MibenchError, match="class 7, step 2: none of 3"):
        GradientSearch(steps=5).run([torch.zeros(3, 2)], breaks, where="class 7")


def test_a_search_that_finds_nothing_finite_fails_the_class_and_not_the_attack():
    def endless(variables, rows, step):
        return variables[0].sum(1) + torch.inf

    def steep(variables, rows, step):  # the loss is 0, its gradient is infinite
        return variables[0].sqrt().sum(1)

    for loss in (endless, steep):
        with pytest.raises(MibenchError) as caught:
            GradientSearch(steps=5).run([torch.zeros(3, 2)], loss, where="class 7")
        assert type(caught.value) is ClassFailed


def test_a_loss_without_gradient_is_refused():
    with pytest.raises(AccessError, match="white-box"):
        GradientSearch().run([torch.zeros(3, 2)], lambda *_: torch.zeros(3), where="class 0")


@pytest.mark.parametrize(("lr", "said"), [(1e30, "lower the attack's learning rate"), (0.1, "The target returns NaN")])
def test_too_large_a_step_is_not_blamed_on_the_target(lr, said):
    def answer(variables, rows, step):  # a target that is finite everywhere, or nowhere
        return bowl(variables, rows, step) * (1.0 if lr > 1 else torch.nan)

    with pytest.raises(ClassFailed, match=said) as caught:
        GradientSearch(steps=5, optimizer=adam(lr, BETAS)).run([torch.zeros(3, 2)], answer, where="class 7")
    assert ("target" in str(caught.value)) == (lr < 1)
