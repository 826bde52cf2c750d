import json
from dataclasses import replace

import pytest
import torch
from mibench_metrics.robust_accuracy.alone import Alone, together
from mibench_metrics.robust_accuracy.budget import PROFILES
from mibench_metrics.robust_accuracy.metric import RobustAccuracy
from mibench_metrics.robust_accuracy.subset import stratified
from torch import nn
from torch.nn.functional import cross_entropy

from mibench.api import MetricContext, MibenchError, TensorImages, freeze, generator, to_uint8
from mibench.api.column_names import read_name
from mibench.api.errors import UsageError
from mibench.api.params import build, canonical

EPS = (0.01, 0.02, 0.04)
SMALL = {
    "apgd_ce_iterations": 15,
    "apgd_t_targets": 9,
    "apgd_t_iterations": 10,
    "fab_targets": 9,
    "fab_iterations": 15,
    "square_queries": 60,
}


def attack(evidence, world, **settings):
    metric = RobustAccuracy(**{"eps": EPS, **SMALL, **settings})
    return {found.name: found for found in metric.measure(evidence, world.ctx)}


def robust(found):
    return [one.value for name, one in found.items() if name.startswith("robust_acc@")]


@pytest.fixture(scope="module")
def found(world):
    return attack(world.evidence, world)


def test_names_order_and_nesting(found):
    assert list(found) == ["robust_acc@2.55", "robust_acc@5.1", "robust_acc@10.2", "median_radius"]
    default = [f"robust_acc@{eps * 255:.4g}" for eps in RobustAccuracy().eps]
    assert default == ["robust_acc@0.25", "robust_acc@0.5", "robust_acc@1", "robust_acc@2"]
    values = robust(found)
    clean = found["robust_acc@2.55"].details["clean_accuracy"]
    assert clean >= values[0] > values[1] > values[2]
    broken = [sum(found[name].details["broken"].values()) for name in list(found)[:3]]
    assert clean - sum(broken) / 80 == pytest.approx(values[2])
    for one in found.values():
        json.dumps(one.details, allow_nan=False)
        assert one.n == 80
        assert len(one.per_class) == 10
    assert found["robust_acc@2.55"].details["flags"] == []
    assert found["robust_acc@2.55"].details["overridden"] == sorted(SMALL)
    assert list(found["robust_acc@2.55"].details["broken"]) == ["apgd-ce", "apgd-t", "fab-t", "square"]


def test_agrees_with_the_package_run_for_each_eps_alone(found, world, monkeypatch):
    pyautoattack = pytest.importorskip("pyautoattack")
    from pyautoattack import autoattack
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    monkeypatch.setattr(autoattack.checks, "check_dynamic", lambda *_, **__: None)  # it disturbs debuggers
    model, heldout = world.evidence.target, world.evidence.heldout
    for eps, shared in zip(EPS, robust(found), strict=True):
        alone = pyautoattack.AutoAttack(
            model, attacks=["apgd-ce", "apgd-t", "fab-t", "square"], version="custom", eps=eps, seed=1
        )
        alone.apgd = APGDAttack(model, n_iter=15, eps=eps, seed=1, device="cpu")
        alone.apgd_targeted = APGDAttack_targeted(model, n_iter=10, eps=eps, seed=1, device="cpu")
        alone.fab.n_iter, alone.square.n_queries = 15, 60
        with torch.random.fork_rng():
            _, y_adv = alone.run_standard_evaluation(heldout.all_images(), heldout.labels_N)
        other = int((y_adv == heldout.labels_N).sum())
        assert round(shared * 80) <= other + 1
        assert abs(round(shared * 80) - other) <= 2


def test_one_fab_pass_equals_a_fab_run_for_each_eps(world):
    fab_pt = pytest.importorskip("pyautoattack.fab_pt")
    only_fab = {"apgd_ce_iterations": 0, "apgd_t_targets": 0, "square_queries": 0}
    shared = robust(attack(world.evidence, world, **only_fab))
    heldout = world.evidence.heldout
    for eps, value in zip(EPS, shared, strict=True):
        alone = fab_pt.FABAttack_PT(world.evidence.target, n_iter=15, eps=eps, targeted=True, device="cpu")
        with torch.random.fork_rng():
            x_adv = alone.perturb(heldout.all_images(), heldout.labels_N)
        assert value * 80 == int((world.evidence.target(x_adv).argmax(1) == heldout.labels_N).sum())


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_linear_model_has_the_radius_that_algebra_gives(classes, world):
    """Away from the borders of [0, 1] the L-infinity radius is the smallest margin over the L1 norm of its gradient."""
    pixels = to_uint8(0.3 + 0.4 * torch.rand(60, 1, 8, 8, generator=generator("linear", classes)))
    linear = nn.Linear(64, classes)
    linear.weight.data = torch.randn(classes, 64, generator=generator("weights", classes))
    linear.bias.data.zero_()  # the classifier centres the images
    model = freeze(world.classifier(nn.Sequential(nn.Flatten(), linear), "1"))
    x = pixels.float() / 255
    logits = model(x).double()
    images = TensorImages(pixels, logits.argmax(1), classes)
    weight = linear.weight.detach().double() / 0.25
    margin = logits.gather(1, images.labels_N[:, None]) - logits
    norm = (weight[images.labels_N][:, None] - weight[None]).abs().sum(2)
    radius = (margin / norm).masked_fill(norm == 0, torch.inf).amin(1)
    ordered = radius.sort()[0]
    eps = tuple(((ordered[k] + ordered[k + 1]) / 2).item() for k in (10, 30, 50))
    assert eps[-1] < 0.3
    got = attack(world.attacking(model, images), world, eps=eps, apgd_ce_iterations=40, fab_iterations=40)
    assert [value * 60 for value in robust(got)] == pytest.approx([49, 29, 9], abs=0.5)
    truth = radius.quantile(0.5).item() * 255
    assert truth * 0.9999 <= got["median_radius"].value <= truth * 1.01  # FAB steps over the boundary by design
    names = list(got[next(iter(got))].details["broken"])
    assert ("apgd-t" in names) == (classes >= 4)


def test_results_do_not_depend_on_order_batch_or_global_state(found, world):
    heldout = world.evidence.heldout
    order = torch.randperm(80, generator=torch.Generator().manual_seed(3))
    shuffled = world.attacking(world.evidence.target, heldout.subset(order))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = attack(shuffled, world, batch=7)
    assert torch.equal(torch.get_rng_state(), state)
    for name, one in found.items():
        assert again[name].value == pytest.approx(one.value, rel=1e-5)
        assert again[name].per_class == pytest.approx(one.per_class, rel=1e-4)
        assert again[name].details["passes"] == one.details["passes"]


def test_runs_are_identical(found, world):
    again = attack(world.evidence, world)
    assert again == found
    assert not any(parameter.grad is not None for parameter in world.evidence.target.parameters())


def test_assuming_monotone_never_finds_more(found, world):
    quick = attack(world.evidence, world, assume_monotone=True)
    for one, other in zip(robust(quick), robust(found), strict=True):
        assert other <= one <= other + 2 / 80
    assert quick["robust_acc@2.55"].details["assume_monotone"]


class Odd(nn.Module):
    """A network whose logits are made by a function of another's."""

    def __init__(self, model, change):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x):
        return self.change(self.model(x))


def test_a_constant_model_is_exactly_as_robust_as_it_is_accurate(world):
    constant = Odd(world.evidence.target, lambda logits: torch.zeros(1, 10).expand(len(logits), 10))
    got = attack(world.attacking(constant), world)
    assert robust(got) == [0.1, 0.1, 0.1]
    assert got["median_radius"].value == 0
    assert got["median_radius"].details["censored"] == 8
    assert "zero-gradients" in got["robust_acc@2.55"].details["flags"]


def test_a_cut_graph_is_flagged_and_square_tells_on_it(world):
    cut = Odd(world.evidence.target, lambda logits: logits.detach())
    details = attack(world.attacking(cut), world, square_queries=200)["robust_acc@10.2"].details
    assert details["zero_gradient_fraction"] == 1
    assert {"zero-gradients", "square-beats-white-box"} <= set(details["flags"])
    assert details["broken"]["square"] > 0


def test_noise_and_probabilities_are_flagged(world):
    noisy = Odd(world.evidence.target, lambda logits: logits + 0.3 * torch.randn_like(logits))
    once, again = (attack(world.attacking(noisy), world, fab_targets=0) for _ in range(2))
    assert "randomised-forward" in once["robust_acc@2.55"].details["flags"]
    assert once == again
    probable = Odd(world.evidence.target, lambda logits: logits.softmax(1))
    details = attack(world.attacking(probable), world, square_queries=0)["robust_acc@2.55"].details
    assert "outputs-look-like-probabilities" in details["flags"]


@pytest.mark.parametrize("profile", ["smoke", "fast", "paper-compat"])
def test_cost_formula_is_what_survivors_cost(profile, world):
    eps = (1e-7, 2e-7)
    evidence = world.evidence
    metric = RobustAccuracy(eps=eps, profile=profile)
    first = metric.measure(evidence, world.ctx)[0].details
    survivors = round(first["clean_accuracy"] * 80)
    forward, backward = metric.budget(10).passes_per_survivor(len(eps))
    clean_and_checks = 80 + 6 * 32 + survivors
    assert first["passes"]["forward"] == survivors * 2 * forward + clean_and_checks
    assert first["passes"]["backward"] == survivors * 2 * backward + survivors


def test_fast_fits_its_budget_and_standard_is_autoattacks_own():
    forward, backward = PROFILES["fast"].passes_per_survivor(4)
    assert forward + 2 * backward < 400
    standard = PROFILES["standard"]
    assert (standard.apgd_ce_iterations, standard.apgd_t_targets, standard.square_queries) == (100, 9, 5000)
    assert standard.fitted(3).apgd_t_targets == 0
    assert standard.fitted(3).fab_targets == 2
    assert standard.fitted(7).apgd_t_targets == 6


def test_fast_is_close_to_many_more_steps(world):
    many = {"apgd_ce_iterations": 50, "apgd_t_iterations": 50, "fab_iterations": 50}
    fast, slow = ({"eps": EPS, "profile": "fast", **extra} for extra in ({}, many))
    fast, slow = (
        robust({m.name: m for m in RobustAccuracy(**s).measure(world.evidence, world.ctx)}) for s in (fast, slow)
    )
    assert all(b <= a <= b + 2 / 80 for a, b in zip(fast, slow, strict=True))


def test_progress_split_and_subset(world):
    seen = []
    ctx = MetricContext(seed=0, device=torch.device("cpu"), progress=lambda *call: seen.append(call))
    metric = RobustAccuracy(eps=EPS, profile="smoke", split="train", max_images=25)
    first = metric.measure(world.evidence, ctx)[0]
    assert [call[:3] for call in seen] == [(k + 1, 3, "attacks") for k in range(3)]
    assert first.n == 25
    assert first.details["split"] == "train"
    labels = torch.arange(5).repeat(6)
    chosen = stratified(labels, 12)
    assert sorted(torch.bincount(labels[chosen]).tolist()) == [2, 2, 2, 3, 3]
    assert chosen.tolist() == sorted(set(chosen.tolist())) == stratified(labels, 12).tolist()
    assert stratified(labels, None).tolist() == list(range(30))


def test_bad_settings_are_explained(world):
    for eps in ((), (0.2, 0.1), (0.1, 0.1), (0.0, 0.1), (0.5, 1.5)):
        with pytest.raises(UsageError, match="ascending"):
            build(RobustAccuracy, {"eps": eps}, owner="metric 'robust-accuracy'")
    with pytest.raises(UsageError, match="fast"):
        build(RobustAccuracy, {"profile": "fsat"})
    with pytest.raises(MibenchError, match="needs the target"):
        RobustAccuracy().measure(replace(world.evidence, target=None), world.ctx)


def test_what_attacks_do_alone_is_what_the_package_says_of_each(world, monkeypatch):
    """Against ``run_standard_evaluation_individual``: accuracy of each attack, and the rise of the loss by hand."""
    pyautoattack = pytest.importorskip("pyautoattack")
    from pyautoattack import autoattack
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    monkeypatch.setattr(autoattack.checks, "check_dynamic", lambda *_, **__: None)
    names = ["apgd-ce", "apgd-t", "fab-t", "square"]
    model, heldout = world.evidence.target, world.evidence.heldout.subset(torch.arange(0, 80, 4))
    x, y = heldout.all_images(), heldout.labels_N
    clean = cross_entropy(model(x).double(), y, reduction="none")
    found = attack(world.attacking(model, heldout), world, eps=EPS[1:], stand_alone=True)
    for eps in EPS[1:]:
        radius = f"{eps * 255:.4g}"
        package = pyautoattack.AutoAttack(model, attacks=names, version="custom", eps=eps, seed=1)
        package.apgd = APGDAttack(model, n_iter=15, eps=eps, seed=1, device="cpu")
        package.apgd_targeted = APGDAttack_targeted(model, n_iter=10, eps=eps, seed=1, device="cpu")
        package.fab.n_iter, package.square.n_queries = 15, 60
        with torch.random.fork_rng():
            alone = package.run_standard_evaluation_individual(x, y)
        for name in names:
            x_adv = alone[name][0] if isinstance(alone[name], tuple) else alone[name]
            accuracy = (model(x_adv).argmax(1) == y).double().mean().item()
            rise = (cross_entropy(model(x_adv).double(), y, reduction="none") - clean).mean().item()
            got = found[f"robust_acc_alone/{name}/{radius}"]
            assert got.value == pytest.approx(accuracy, abs=1.01 / 20), name
            assert found[f"loss_rise/{name}/{radius}"].value == pytest.approx(rise, rel=0.2, abs=0.05), name
            exact = 1e-6 if name == "fab-t" else 1  # FAB-T draws nothing
            assert abs(found[f"loss_rise/{name}/{radius}"].value - rise) < exact
        assert found[f"robust_acc@{radius}"].value <= min(found[f"robust_acc_alone/{n}/{radius}"].value for n in names)


def test_the_joint_rise_is_that_of_the_first_attack_that_breaks(world):
    found = attack(world.evidence, world, eps=EPS[:1], stand_alone=True, fab_targets=0, square_queries=0, max_images=20)
    one = {
        name: Alone(torch.tensor(robust), torch.tensor(rise))
        for name, robust, rise in (
            ("first", [False, True, True, False], [1.0, 0.0, 0.0, 3.0]),
            ("second", [False, False, True, True], [10.0, 20.0, 0.0, 0.0]),
        )
    }
    assert together(one).tolist() == [1.0, 20.0, 0.0, 3.0]
    names = [name for name in found if "rise" in name or "alone" in name]
    assert names == [
        "robust_acc_alone/apgd-ce/2.55", "robust_acc_alone/apgd-t/2.55",
        "loss_rise/apgd-ce/2.55", "loss_rise/apgd-t/2.55", "loss_rise/2.55",
    ]  # fmt: skip
    rises = [found[f"loss_rise/{name}2.55"].value for name in ("apgd-ce/", "")]
    assert 0 < rises[0] <= rises[1]
    assert found["loss_rise/2.55"].unit == "nats"


def test_the_switch_changes_no_other_number_and_no_older_key(world):
    few = {"eps": EPS[:1], "fab_targets": 2, "square_queries": 10, "max_images": 20}
    found, more = attack(world.evidence, world, **few), attack(world.evidence, world, **few, stand_alone=True)
    assert {name: more[name] for name in found} == found
    assert all(read_name(name).attack or read_name(name).base == "loss_rise" for name in set(more) - set(found))
    assert "stand_alone" not in canonical(RobustAccuracy())
    assert canonical(RobustAccuracy(stand_alone=True))["stand_alone"]


def test_a_target_that_is_always_wrong_has_nothing_to_attack_alone(world):
    heldout = world.evidence.heldout
    wrong = heldout.relabel((heldout.labels_N + 1) % 10).subset(
        (world.evidence.target(heldout.all_images()).argmax(1) != (heldout.labels_N + 1) % 10).nonzero()[:, 0]
    )
    got = attack(world.attacking(world.evidence.target, wrong), world, eps=EPS[:1], stand_alone=True)
    assert [got[f"robust_acc_alone/{name}/2.55"].value for name in ("apgd-ce", "square")] == [0, 0]
    assert got["loss_rise/2.55"].value == 0
