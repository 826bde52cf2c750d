"""Parts of robust accuracy one by one: budgets, draws, subsets, radii, the counted model, its checks, and attempts."""

import sys
from itertools import pairwise, product
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from mibench_metrics.robust_accuracy import package
from mibench_metrics.robust_accuracy.budget import PROFILES, AttackBudget
from mibench_metrics.robust_accuracy.draws import SquareDraws, digests, sign_noise, starts_in_ball
from mibench_metrics.robust_accuracy.ensemble import Ensemble
from mibench_metrics.robust_accuracy.gradient_checks import Checks, check_model
from mibench_metrics.robust_accuracy.metered import MeteredModel
from mibench_metrics.robust_accuracy.radius import median_radius
from mibench_metrics.robust_accuracy.subset import stratified
from mibench_metrics.robust_accuracy.victims import EvalImages
from torch.nn.functional import cross_entropy

from mibench.api import MibenchError, TensorImages, generator

CPU = torch.device("cpu")


# --- budgets ---


@pytest.mark.parametrize(
    ("classes", "apgd_t", "fab"), [(2, 0, 1), (3, 0, 2), (4, 3, 3), (5, 4, 4), (10, 9, 9), (100, 9, 9)]
)
def test_there_are_no_more_targets_than_wrong_classes_and_the_dlr_loss_takes_four_logits(classes, apgd_t, fab):
    fitted = PROFILES["standard"].fitted(classes)
    assert (fitted.apgd_t_targets, fitted.fab_targets) == (apgd_t, fab)
    assert (fitted.apgd_ce_iterations, fitted.square_queries) == (100, 5000)
    assert fitted.uses_apgd_t == (classes >= 4)


def test_an_attack_takes_targets_and_iterations():
    for targets, iterations in product((0, 2), repeat=2):
        budget = AttackBudget(
            apgd_t_targets=targets, apgd_t_iterations=iterations, fab_targets=targets, fab_iterations=iterations
        )
        assert budget.uses_apgd_t == budget.uses_fab == (targets > 0 and iterations > 0)
    assert AttackBudget(square_queries=5).overridden({"square_queries": 7}) == AttackBudget(square_queries=7)


# --- draws ---


def drawn(number, seed=0):
    return torch.rand(number, 3, 4, 5, generator=generator("parts", seed))


def test_starts_touch_the_sphere_and_follow_the_image_and_not_its_neighbours():
    x, eps = drawn(6), 0.03
    starts = starts_in_ball(x, digests(x), eps, 1, "apgd")
    assert (starts - x).abs().flatten(1).amax(1).tolist() == pytest.approx([eps] * 6, rel=1e-4)
    order = torch.tensor([4, 0, 5])
    again = starts_in_ball(x[order], digests(x[order]), eps, 1, "apgd")
    assert torch.equal(again, starts[order])
    for other in (starts_in_ball(x, digests(x), eps, 2, "apgd"), starts_in_ball(x, digests(x), eps, 1, "other")):
        assert not torch.isclose(other, starts).all(1).any()
    wide = starts_in_ball(x, digests(x), 2 * eps, 1, "apgd")
    assert torch.allclose(wide - x, 2 * (starts - x), atol=1e-6)


def test_starts_are_uniform_before_they_are_stretched():
    """Quartiles of uniform noise over its largest entry, which among 3000 is all but 1."""
    x = torch.full((1, 3, 100, 10), 0.5)
    noise = (starts_in_ball(x, ["name"], 1.0, 0, "apgd") - x).flatten()
    assert noise.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx([-0.5, 0.0, 0.5], abs=0.06)


def test_names_are_those_of_pixels():
    x = drawn(3)
    assert digests(x) == digests(x.clone().contiguous(memory_format=torch.channels_last))
    assert len({*digests(x), *digests(x + 1e-3)}) == 6


def test_signs_are_fair():
    signs = sign_noise((100, 100), generator("signs"))
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean().item()) < 0.04  # four standard errors


def test_stripes_belong_to_images_and_squares_to_the_batch():
    many, one = (SquareDraws(names, 3, CPU) for names in (["a", "b", "c"], ["b"]))
    stripes = many.choice([3, 2, 1, 8])
    assert stripes.shape == (3, 2, 1, 8)
    assert torch.equal(stripes[1:2], one.choice([1, 2, 1, 8]))
    for _ in range(5):  # the shared stream goes on equally
        assert torch.equal(many.choice([2, 1, 1]), one.choice([2, 1, 1]))
        assert torch.equal(many.integer(0, 9, [4]), one.integer(0, 9, [4]))


def test_integers_fill_their_range_and_an_empty_range_is_its_lower_end():
    draws = SquareDraws(["a"], 0, CPU)
    found = draws.integer(2, 6, [500])
    assert sorted(found.unique().tolist()) == [2, 3, 4, 5]
    assert draws.integer(3, 3, [4]).tolist() == [3] * 4
    assert draws.integer(0, 0).tolist() == [0]


# --- subsets and batches ---


@pytest.mark.parametrize("size", range(1, 13))
def test_a_part_has_as_many_of_each_class_as_there_are(size):
    """Classes of 1, 3 and 8 images: no class has two more than another that has an image left."""
    labels = torch.tensor([0] + [1] * 3 + [2] * 8)[torch.randperm(12, generator=generator("labels"))]
    chosen = stratified(labels, size)
    left = {0: 1, 1: 3, 2: 8}
    counts = torch.bincount(labels[chosen], minlength=3).tolist()
    assert sum(counts) == size == len(set(chosen.tolist()))
    for label in left:
        for other in left:
            assert counts[label] >= min(left[label], counts[other] - 1)
    assert chosen.tolist() == sorted(chosen.tolist())


def test_a_larger_part_holds_the_smaller_one():
    labels = torch.arange(40) % 7
    parts = [set(stratified(labels, size).tolist()) for size in range(1, 41)]
    assert all(small < large for small, large in pairwise(parts))


def test_batches_are_those_chosen_in_order():
    pixels = torch.arange(20, dtype=torch.uint8).view(-1, 1, 1, 1)
    victims = EvalImages(TensorImages(pixels, torch.arange(20) % 3, 3), 4, CPU)
    chosen = torch.arange(20) % 2 == 1
    found = list(victims.batches(chosen))
    assert [index.tolist() for index, *_ in found] == [[1, 3, 5, 7], [9, 11, 13, 15], [17, 19]]
    for index, x, y in found:
        assert (255 * x.flatten()).round().long().tolist() == index.tolist()
        assert y.tolist() == (index % 3).tolist()
    assert list(victims.batches(torch.zeros(20, dtype=torch.bool))) == []
    assert victims.all_mask().tolist() == [True] * 20


# --- radii ---


def test_radii_are_medians_and_quantiles_of_numpy_in_255ths():
    rng = np.random.default_rng(0)
    radii, labels = rng.uniform(0, 0.1, 31), rng.integers(0, 3, 31)
    radii[:4] = 0
    found = median_radius(torch.tensor(radii).float(), torch.tensor(labels), 4, {"kept": 1})
    assert found.value == pytest.approx(255 * np.median(radii), rel=1e-5)
    own = [255 * np.median(radii[labels == label]) for label in range(3)]
    assert found.per_class[:3] == pytest.approx(own, rel=1e-5)
    assert found.per_class[3] is None
    wanted = {f"{share}%": 255 * np.quantile(radii, share / 100) for share in (10, 25, 50, 75, 90)}
    assert found.details["quantiles"] == pytest.approx(wanted, rel=1e-5)
    told = {name: found.details[name] for name in ("kept", "misclassified", "censored", "median_is_censored")}
    assert told == {"kept": 1, "misclassified": 4, "censored": 0, "median_is_censored": False}
    assert (found.unit, found.n, found.higher_is_better) == ("1/255", 31, True)


@pytest.mark.parametrize(("radii", "infinite", "censored"), [((0.1, 0.2), 1, False), ((0.1,), 2, True)])
def test_what_nothing_was_found_for_counts_as_the_largest_there_is(radii, infinite, censored):
    found = median_radius(torch.tensor([*radii, *[torch.inf] * infinite]), torch.zeros(3, dtype=torch.int64), 1, {})
    assert found.details["censored"] == infinite
    assert found.details["median_is_censored"] == censored
    assert found.value == pytest.approx(255.0 if censored else 51.0)


# --- the counted model ---


def linear(x_BCHW):
    """Three logits of two pixels; class 2 wins where both are small."""
    one, other = x_BCHW.flatten(1).unbind(1)
    return torch.stack([4 * one - 1, 4 * other - 1, torch.zeros_like(one)], 1)


def pairs(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 2)


def test_passes_are_counted_in_images():
    model = MeteredModel(linear)
    assert model.num_classes == 0
    x = pairs((0.1, 0.9), (0.5, 0.2)).requires_grad_()
    with torch.no_grad():
        model(x)
    assert (model.forward, model.backward, model.num_classes) == (2, 0, 3)
    loss = cross_entropy(model(x), torch.tensor([0, 1]))
    assert model.backward == 0
    torch.autograd.grad(loss, x)
    assert (model.forward, model.backward) == (4, 2)
    model(x.detach()[:1])
    assert (model.forward, model.backward) == (5, 2)


def test_what_the_caller_overwrites_is_its_own_and_float32():
    kept = torch.zeros(1, 3, dtype=torch.float64)
    model = MeteredModel(lambda _: kept)
    out = model(pairs((0.1, 0.2)))
    out += 1
    assert out.dtype == torch.float32
    assert kept.tolist() == [[0, 0, 0]]


def test_a_cut_graph_has_a_zero_gradient_and_the_same_logits():
    x = pairs((0.1, 0.9)).requires_grad_()
    model = MeteredModel(lambda x: linear(x).detach())
    out = model(x)
    assert torch.equal(out, linear(x))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.abs().max() == 0


# --- checks ---


def checked(model, values, labels=None):
    images = TensorImages((255 * pairs(*values)).round().to(torch.uint8), torch.tensor(labels or [0] * len(values)), 3)
    victims = EvalImages(images, 2, CPU)
    return check_model(MeteredModel(model), victims, victims.all_mask())


def test_zero_gradients_are_counted_image_by_image():
    """A network that is dead below one half: two of five images have a pixel above it."""
    dead = lambda x: linear((x - 0.5).clamp(min=0))  # noqa: E731
    values = [(0.1, 0.2), (0.9, 0.1), (0.3, 0.4), (0.2, 0.8), (0.0, 0.0)]
    assert checked(dead, values) == Checks(randomised=False, probabilities=False, zero_gradient_fraction=3 / 5)
    assert checked(linear, values).zero_gradient_fraction == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda z: z, False),
        (lambda z: z.softmax(1), True),
        (lambda z: z.softmax(1) + 1e-3, False),  # in range, but the sum is not 1
        (lambda z: z - z.mean(1, keepdim=True) + 1 / 3, False),  # the sum is 1, but values are not in range
        (lambda z: z.softmax(1).log(), False),
    ],
)
def test_outputs_that_look_like_probabilities(change, expected):
    assert checked(lambda x: change(linear(x)), [(0.1, 0.9), (0.7, 0.3)]).probabilities is expected


def test_noise_shows_in_directions_and_in_labels_but_scale_alone_is_no_noise():
    sizes = iter(np.linspace(1, 2, 100))
    steady = checked(lambda x: float(next(sizes)) * linear(x), [(0.1, 0.9)])
    assert not steady.randomised
    rng = generator("noise")
    loud, silent = (
        checked(lambda x, size=size: linear(x) + size * torch.randn(len(x), 3, generator=rng), [(0.1, 0.9)])
        for size in (1e-2, 1e-7)
    )
    assert (loud.randomised, silent.randomised) == (True, False)
    turns = iter([0, 1] * 50)
    flips = checked(lambda x: 1e-12 * torch.eye(3)[next(turns)].expand(len(x), 3), [(0.1, 0.9)])
    assert flips.randomised  # too small for directions, and yet another label


# --- attempts ---


def ensemble(made, classes=5, **budget):
    """An ensemble whose attacks return prepared images and note what they were given."""
    calls = []

    class Prepared:
        def __init__(self, model, **settings):
            self.settings, self.y_target, self.target_class = settings, None, None

        def init_hyperparam(self, x):
            calls.append(("init", len(x)))

        def attack_single_run(self, x, y, x_init=None, use_rand_start=None, is_targeted=None):
            aim = self.y_target.tolist() if self.y_target is not None else self.target_class
            calls.append(("run", aim, x_init, self.settings))
            x_adv = made(x, aim)
            return x_adv if is_targeted else (None, x_adv)

    package_ = SimpleNamespace(apgd=Prepared, apgd_targeted=Prepared, fab=Prepared, square=Prepared, quiet=None)
    model = MeteredModel(lambda x: linear(x) if classes == 3 else five(x))
    return Ensemble(model, package_, AttackBudget(**budget), 0, CPU), calls


def five(x_BCHW):
    """Five logits; the first pixel is class 0's, and the others follow in the order 1, 2, 3, 4."""
    one, other = x_BCHW.flatten(1).unbind(1)
    return torch.stack([one, other, *(torch.full_like(one, 0.4 - 0.1 * k) for k in range(3))], 1)


X = pairs((0.6, 0.5), (0.6, 0.5), (0.6, 0.5), (0.6, 0.5), (0.6, 0.5))
EPS = 0.125
MOVED = pairs(
    (0.5, 0.625),  # within the ball, and class 1: broken
    (0.6, 0.5),  # nothing changed
    (0.5, 0.65),  # class 1, but 0.15 away
    (0.725, 0.5),  # within the ball, and still class 0
    (0.47, 0.5),  # just outside by more than rounding
)


def test_an_attempt_counts_if_it_is_within_the_ball_and_changes_the_class():
    made, calls = ensemble(lambda x, _: MOVED, apgd_ce_iterations=7)
    attempt = made.apgd_ce(X, torch.zeros(5, dtype=torch.int64), EPS)
    assert attempt.broken_B.tolist() == [True, False, False, False, False]
    assert torch.equal(attempt.x_adv, MOVED)
    settings = calls[1][3]
    assert (settings["n_iter"], settings["eps"], settings["norm"], settings["loss"]) == (7, EPS, "Linf", "ce")


@pytest.mark.parametrize(
    ("value", "broken"), [((0.0, 0.1), True), ((-1e-6, 0.1), False), ((0.9, 1.0), True), ((0.9, 1.0 + 1e-6), False)]
)
def test_an_attempt_outside_of_the_range_of_pixels_does_not_count(value, broken):
    made, _ = ensemble(lambda x, _: pairs(value), square_queries=3)
    near = pairs((0.05, 0.0)) if value[0] < 0.5 else pairs((0.95, 0.9))
    assert made.square(near, torch.zeros(1, dtype=torch.int64), EPS).broken_B.tolist() == [broken]


def test_apgd_t_goes_through_wrong_classes_from_the_likeliest_and_leaves_broken_images_alone():
    """Image 0 falls to the second target; image 1 to none, so that all three are tried on it."""
    x = pairs((0.6, 0.5), (0.61, 0.5))

    def by(x, aim):
        hit = torch.tensor(
            [target == 2 and float(pixel) < 0.605 for target, pixel in zip(aim, x[:, 0, 0, 0], strict=True)]
        )
        return torch.where(hit[:, None, None, None], pairs((0.5, 0.55)), x)  # fmt: skip

    made, calls = ensemble(by, apgd_t_targets=3, apgd_t_iterations=4)
    attempt = made.apgd_t(x, torch.zeros(2, dtype=torch.int64), EPS)
    assert attempt.broken_B.tolist() == [True, False]
    runs = [call for call in calls if call[0] == "run"]
    assert [call[1] for call in runs] == [[1, 1], [2, 2], [3]]
    starts = [call[2] for call in runs]
    assert not torch.allclose(starts[0], starts[1])  # each target has a start of its own
    made, calls = ensemble(lambda x, _: pairs((0.5, 0.55)).expand(len(x), 1, 1, 2), apgd_t_targets=3)
    made.apgd_t(x, torch.zeros(2, dtype=torch.int64), EPS)
    assert len([call for call in calls if call[0] == "run"]) == 1  # all are broken: nothing is left to do


def test_fab_t_keeps_the_smallest_norm_of_all_targets_and_knows_no_ball():
    x = pairs((0.6, 0.5), (0.6, 0.5), (0.6, 0.5))
    answers = {
        2: pairs((0.2, 0.5), (0.6, 0.5), (0.6, 0.5)),  # 0.4 away; nothing; nothing
        3: pairs((0.45, 0.5), (0.5, 0.7), (0.6, 0.55)),  # 0.15 away; 0.2 away; still class 0
    }
    made, _ = ensemble(lambda x, aim: answers[aim], fab_targets=2, fab_iterations=5)
    labels = torch.zeros(3, dtype=torch.int64)
    norms = [norm.tolist() for norm, _ in made.fab_runs(x, labels)]
    assert norms[0] == pytest.approx([0.4, np.inf, np.inf])
    assert norms[1] == pytest.approx([0.15, 0.2, np.inf])
    assert made.fab_radii(x, labels).tolist() == pytest.approx([0.15, 0.2, np.inf])


# --- the package ---


@pytest.fixture
def installed(monkeypatch):
    """Say which distributions there are."""

    def provide(*names):
        package.attack_package.cache_clear()
        for name in ("autoattack", "pyautoattack"):
            for part in ("", ".autopgd_base", ".fab_pt", ".square"):
                made = ModuleType(name + part)
                made.__path__ = []
                classes = ("APGDAttack", "APGDAttack_targeted", "FABAttack_PT", "SquareAttack")
                vars(made).update({one: f"{one} of {name}" for one in classes})
                monkeypatch.setitem(sys.modules, name + part, made if name in names else None)

    yield provide
    package.attack_package.cache_clear()


@pytest.mark.parametrize(
    ("names", "chosen"), [(("autoattack", "pyautoattack"), "autoattack"), (("pyautoattack",), "pyautoattack")]
)
def test_the_authors_own_distribution_is_preferred(installed, names, chosen):
    installed(*names)
    found = package.attack_package()
    assert found.name == chosen
    assert found.square == f"SquareAttack of {chosen}"
    assert (found.version == "unknown") == (chosen == "autoattack")  # which is not installed here


def test_without_attacks_the_command_that_installs_them_is_named(installed):
    installed()
    with pytest.raises(MibenchError, match="pip install pyautoattack"):
        package.attack_package()
