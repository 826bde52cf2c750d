"""CMA-ES from scores: the contract, the strategy against the library and known optima, what it spends, what it sees."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import cmaes
import numpy as np
import pytest
import torch
from mibench_attacks.latents.p_space import to_p
from mibench_attacks.latents.standardised import SearchSpace
from mibench_attacks.losses.scored import ScoredViews
from mibench_attacks.methods.cma import EvolutionStrategy
from mibench_attacks.methods.random_search import RandomSearch
from mibench_attacks.search.best_points import BestPoints
from mibench_attacks.search.evolution import EvolutionSearch
from mibench_attacks.selection.pool import CandidatePool
from mibench_models.priors.pca import LinearFaces
from torch.testing import assert_close

from mibench.api import Access, AccessError, ClassFailed, TargetView, UsageError, build, generator, replaced, run_attack
from mibench.testing import AttackContract
from mibench.testing.tiny_parts import TinyPrior
from mibench.testing.tiny_world import TinyWorld

TINY = {
    "pool": 20, "restarts": 2, "generations": 3, "population": 6, "keep": 3, "final": 4, "draws": 3, "batch": 7,
}  # fmt: skip
STYLED = {
    **TINY, "space": "p", "k": 1.0, "views": 2, "loss": "max_margin", "penalty": 0.1, "covariance": "full",
}  # fmt: skip
RANDOM = {"pool": 20, "restarts": 2, "queries": 36, "keep": 6, "final": 4, "draws": 3, "batch": 7}
DRAWN = {**RANDOM, "views": 1}


class Styled(TinyPrior):
    """A prior with two style layers whose latents come out of a leaky ReLU, as in a StyleGAN."""

    def __init__(self, channels=3, size=16):
        super().__init__(channels, size)
        self.latent_layers = 2

    def to_latent(self, z_BZ, *, truncation=1.0, cutoff=None):
        return truncation * torch.nn.functional.leaky_relu(torch.stack([z_BZ, z_BZ], 1), 0.2)

    def render(self, latent_BLW, *, start=0, carry=None):
        return super().render(latent_BLW.mean(1, keepdim=True))


class TestInNoise(AttackContract):
    component = EvolutionStrategy
    settings = TINY


class TestInPSpaceUnderViews(AttackContract):
    component = EvolutionStrategy
    settings = STYLED

    def prior(self):
        return Styled(self.world.channels, self.world.size).eval()


class TestRandomSearch(AttackContract):
    component = RandomSearch
    settings = DRAWN
    world = TinyWorld(channels=1)


def sphere(centre: torch.Tensor) -> Callable[[torch.Tensor, int], torch.Tensor]:
    return lambda points, generation: (points - centre).square().sum(1)


def quiet(*_: object) -> None:
    pass


def minimise(search: EvolutionSearch, evaluate, start, *, seeds, bound=math.inf):
    return search.run(torch.as_tensor(start, dtype=torch.float64), evaluate, seeds=seeds, bound=bound, report=quiet)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_it_finds_the_centre_of_a_sphere_and_of_an_ellipse(covariance: str):
    search = EvolutionSearch(generations=90, population=12, covariance=covariance, keep=1)
    centre, narrow, scales = torch.linspace(-1, 1, 8).double(), torch.ones(3).double(), torch.tensor([0.2, 1.0, 5.0])
    best, trace = minimise(search, sphere(centre), torch.zeros(2, 8), seeds=[1, 2])
    assert_close(best.points_RkD[:, 0], centre.expand(2, 8), rtol=0, atol=1e-3)
    assert trace["loss"] == sorted(trace["loss"], reverse=True)
    assert trace["spread"][-1] < 1e-3 < trace["spread"][0]
    best, _ = minimise(search, lambda x, _: (scales * (x - narrow)).square().sum(1), torch.zeros(1, 3), seeds=[3])
    assert_close(best.points_RkD[0, 0], narrow, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("covariance", "kind"), [("diagonal", cmaes.SepCMA), ("full", cmaes.CMA)])
def test_without_a_bound_it_is_the_library_alone(covariance: str, kind: type):
    search = EvolutionSearch(generations=20, population=7, sigma=0.3, covariance=covariance, keep=1)
    centre = torch.tensor([0.5, -0.25, 1.0, 0.0], dtype=torch.float64)
    best, _ = minimise(search, sphere(centre), torch.zeros(1, 4), seeds=[42])
    alone, lowest = kind(mean=np.zeros(4), sigma=0.3, seed=42, population_size=7), math.inf
    for _ in range(20):
        points = [alone.ask() for _ in range(7)]
        losses = [float(((point - centre.numpy()) ** 2).sum()) for point in points]
        lowest = min(lowest, *losses)
        alone.tell(list(zip(points, losses, strict=True)))
    assert float(best.loss_Rk[0, 0]) == pytest.approx(lowest, rel=1e-12)


def test_restarts_in_one_batch_are_those_that_run_one_by_one():
    search, centre = EvolutionSearch(generations=30, population=6, keep=4), torch.linspace(-2, 2, 5).double()
    starts = torch.randn(3, 5, generator=generator("starts")).double()
    sizes = []

    def evaluate(points: torch.Tensor, generation: int) -> torch.Tensor:
        sizes.append(len(points))
        return sphere(centre)(points, generation)

    together, _ = minimise(search, evaluate, starts, seeds=[5, 6, 7], bound=1.5)
    assert sizes == [3] + [18] * 30
    assert sum(sizes) == search.queries(3)
    for r in range(3):
        alone, _ = minimise(search, sphere(centre), starts[r : r + 1], seeds=[5 + r], bound=1.5)
        assert torch.equal(alone.points_RkD[0], together.points_RkD[r])
        assert torch.equal(alone.loss_Rk[0], together.loss_Rk[r])


def test_an_optimum_outside_of_the_box_is_met_at_its_border():
    centre = torch.tensor([3.0, -3.0, 0.2, 0.0], dtype=torch.float64)
    seen = []

    def evaluate(points: torch.Tensor, generation: int) -> torch.Tensor:
        seen.append(points.abs().max())
        return sphere(centre)(points, generation)

    search = EvolutionSearch(generations=80, population=10, keep=1)
    best, _ = minimise(search, evaluate, 9 * torch.ones(1, 4), seeds=[0], bound=1.0)
    assert_close(best.points_RkD[0, 0], centre.clamp(-1, 1), rtol=0, atol=1e-4)
    assert max(seen) <= 1


def test_losses_that_are_not_finite_lose_and_a_strategy_at_rest_begins_again():
    def holes(points: torch.Tensor, generation: int) -> torch.Tensor:
        return torch.where(points[:, 0] > 0.5, torch.nan, points.square().sum(1))

    best, trace = minimise(EvolutionSearch(generations=60, population=8), holes, torch.full((1, 3), 0.4), seeds=[1])
    assert best.loss_Rk.isfinite().all()
    assert best.loss_Rk.max() < 1e-6
    assert all(map(math.isfinite, trace["loss"]))
    flat = lambda points, _: torch.zeros(len(points), dtype=torch.float64)  # noqa: E731
    _, trace = minimise(EvolutionSearch(generations=150, population=4), flat, torch.zeros(1, 2), seeds=[1])
    assert all(map(math.isfinite, trace["spread"]))
    assert max(trace["spread"]) < 1e4


def test_neither_global_randomness_nor_the_starting_points_are_touched():
    start, before = torch.zeros(2, 4).double(), np.random.get_state()[1].copy()  # noqa: NPY002 - what is checked
    minimise(EvolutionSearch(generations=5), sphere(torch.ones(4).double()), start, seeds=[1, 2])
    assert torch.equal(start, torch.zeros(2, 4).double())
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_best_points_are_a_sort_by_hand():
    rng = generator("best")
    points, loss = torch.randn(2, 30, 3, generator=rng).double(), torch.randn(2, 30, generator=rng).double()
    loss[0, 3], loss[1, 4] = math.nan, -math.inf
    best = BestPoints(4, points[:, :10], loss[:, :10])
    best.note(points[:, 10:], loss[:, 10:])
    for r in range(2):
        rows = [row for row in range(30) if math.isfinite(loss[r, row])]
        order = sorted(rows, key=lambda row, r=r: float(loss[r, row]))[:4]
        assert torch.equal(best.points_RkD[r], points[r, order])
    everything = best.points_RkD.flatten(0, 1)[best.loss_Rk.flatten().argsort()]
    assert torch.equal(best.finalists(8, where="class 3"), everything)
    nothing = BestPoints(2, points[:, :1], torch.full((2, 1), math.nan))
    assert math.isnan(nothing.mean_best())
    with pytest.raises(ClassFailed, match="class 3: expected 1 points with a finite loss, got 0 of 2"):
        nothing.finalists(1, where="class 3")


@pytest.mark.parametrize(("component", "settings"), [(EvolutionStrategy, TINY), (RandomSearch, RANDOM)])
def test_a_class_of_probability_zero_fails_although_its_confidence_is_finite(component, settings):
    world, made = TinyWorld(), build(component, settings)
    classifier = world.trained()
    classifier.head.bias.data[1] = -torch.inf
    target = TargetView(classifier, made.access, classes=1)
    with pytest.raises(ClassFailed, match="class 1: expected 4 points with a finite loss, got 0 of 6"):
        list(run_attack(made, [1], target, world.prior(), world.attack_context()))


@pytest.mark.parametrize("space", ["noise", "latent", "p"])
def test_coordinates_are_standard_deviations_of_the_pool_and_lead_back_to_it(space: str):
    prior, pool = Styled().eval(), CandidatePool(size=300, candidates=2, truncation=0.7, cutoff=None)
    z = prior.sample(300, generator("pool"))
    latents = prior.to_latent(z, truncation=0.7)
    found = SearchSpace(space=space).measure(prior, pool, latents, generator("pool"))
    u = found.of_pool(torch.arange(300))
    points = {"noise": z, "latent": latents[:, 0], "p": to_p(latents[:, 0])}[space].double().numpy()
    assert_close(u.numpy(), (points - points.mean(0)) / points.std(0), rtol=1e-4, atol=1e-5)
    assert_close(found.latents(u).expand(-1, 2, -1), latents, rtol=1e-4, atol=1e-5)


def test_a_coordinate_without_variance_stays_where_it_is():
    prior = LinearFaces(3, channels=1, size=4)
    pool = CandidatePool(size=5, candidates=1, truncation=1.0, cutoff=None)
    latents = prior.to_latent(prior.sample(5, generator("pool")))
    latents[:, 0, 1] = 0.5
    found = SearchSpace(space="latent").measure(prior, pool, latents, generator("pool"))
    assert found.of_pool(torch.arange(5))[:, 1].eq(0).all()
    assert found.latents(torch.full((2, 3), 2.0))[:, 0, 1].eq(0.5).all()


def scores(logits: torch.Tensor) -> SimpleNamespace:
    """A target that answers with these logits, whatever the image."""
    return SimpleNamespace(logits=lambda x: logits[: len(x)])


def test_the_loss_reads_log_probabilities_and_tells_apart_what_is_nearly_certain():
    logits = torch.tensor([[1.0, 2.0, -1.0], [40.0, 0.0, 1.0], [41.0, 0.0, 1.0]])
    x = torch.zeros(3, 1, 4, 4)
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    got = ScoredViews()(x, 0, scores(logits), [])
    assert_close(got.numpy(), -np.log(p[:, 0]), rtol=0, atol=1e-12)
    assert got[2] <= got[1]
    for loss in ("ce", "max_margin"):  # logits that differ by a constant are the same probabilities
        here, shifted = (ScoredViews(loss=loss)(x, 0, scores(made), []) for made in (logits, logits + 8))
        assert_close(here, shifted, rtol=0, atol=1e-9)
    assert_close(here, torch.tensor([1.0, -39.0, -40.0]).double(), rtol=0, atol=1e-9)


def test_views_are_averaged_beside_the_image_itself():
    world, made = TinyWorld(), ScoredViews(views=3, flip=1.0, crop_scale=(1.0, 1.0))
    target, x = world.target(Access.SCORES), torch.rand(5, 3, world.size, world.size, generator=generator("x"))
    draws = made.draw(5, world.size, generator("draws"))
    plain, mirrored = (ScoredViews()(images, 1, target, []) for images in (x, x.flip(-1)))
    assert_close(made(x, 1, target, draws), (plain + 3 * mirrored) / 4, rtol=0, atol=1e-6)
    assert made.queries == 4
    with pytest.raises(AccessError, match="label-only"):
        made(x, 1, world.target(Access.LABELS), draws)


def attack(made, prior=None, world=None, seed=0):
    world = world or TinyWorld()
    target = world.target(made.access)
    [result] = run_attack(made, [1], target, prior or world.prior(), world.attack_context(seed=seed))
    return result, target


def log_p(result, world=None):
    return (world or TinyWorld()).target().logits(result.images_NCHW).double().log_softmax(1)[:, 1]


def test_searching_beats_drawing_beats_the_pool():
    long = {"generations": 10, "draws": 1, "restarts": 1, "keep": 6}
    searched, target = attack(build(EvolutionStrategy, {**TINY, **long}))
    drawn, control = attack(build(RandomSearch, {**RANDOM, "restarts": 1, "queries": 60, "draws": 1}))
    assert vars(target.ledger) == vars(control.ledger)
    assert log_p(searched).max() > log_p(drawn).max() / 10
    pool = build(RandomSearch, {**RANDOM, "queries": 1, "keep": 2, "final": 2})
    assert log_p(drawn).max() > log_p(attack(pool)[0]).max()
    assert searched.trace["loss"][-1] < searched.trace["loss"][0]


def test_what_is_found_is_never_worse_than_the_best_of_the_pool():
    for seed in range(4):
        made = build(EvolutionStrategy, {**TINY, "sigma": 3.0, "generations": 1, "population": 4})
        found, _ = attack(made, seed=seed)
        alone, _ = attack(replaced(made, {"generations": 0, "final": 2}), seed=seed)
        assert log_p(found).max() >= log_p(alone).max() - 1e-6


def test_the_search_stays_in_the_box_and_the_penalty_keeps_it_near_the_mean(monkeypatch):
    prior, made = TinyPrior().eval(), build(EvolutionStrategy, {**TINY, "k": 0.8, "generations": 20})
    world, seen = TinyWorld(), []
    target, ctx = world.target(Access.SCORES), world.attack_context()
    shared, render = made.prepare(target, prior, ctx), prior.render
    monkeypatch.setattr(prior, "render", lambda latent, **more: seen.append(latent[:, 0]) or render(latent, **more))
    made.reconstruct(1, shared, target, prior, ctx)
    where = shared.coordinates
    u = (torch.cat(seen) - where.mean_D) / where.std_D
    assert u.abs().max() <= 0.8 + 1e-5
    seen.clear()
    heavy = replaced(made, {"k": 3.0, "penalty": 1e4})
    heavy.reconstruct(1, heavy.prepare(target, prior, ctx), target, prior, ctx)
    assert ((seen[-1] - where.mean_D) / where.std_D).square().sum(1).mean() < 1


def test_the_penalty_is_half_the_squared_distance():
    u = torch.tensor([[3.0, 4.0], [0.0, 1.0]]).double()
    got = SearchSpace(penalty=0.5).penalise(torch.tensor([1.0, 2.0]).double(), u)
    assert_close(got, torch.tensor([1 + 0.5 * 12.5, 2 + 0.5 * 0.5]).double())


@pytest.mark.parametrize(("component", "settings"), [(EvolutionStrategy, TINY), (RandomSearch, RANDOM)])
def test_the_batch_size_changes_nothing_but_rounding(component, settings):
    whole, pieces = (attack(build(component, {**settings, "batch": batch}))[0] for batch in (100, 1))
    assert_close(whole.images_NCHW, pieces.images_NCHW, rtol=0, atol=1e-4)
    assert_close(whole.scores_N, pieces.scores_N, rtol=0, atol=1e-4)


def test_spaces_that_a_prior_does_not_have_are_refused():
    with pytest.raises(UsageError, match="at least 2 coordinates"):
        attack(build(EvolutionStrategy, TINY), TinyPrior(noise_size=1).eval())
    with pytest.raises(UsageError, match=r"cma\.prior=stylegan2, or cma\.space=noise"):
        attack(build(EvolutionStrategy, {**TINY, "space": "p"}))


def test_impossible_numbers_are_refused():
    with pytest.raises(UsageError, match=r"'cma': expected final <= points that are kept, got 7 > 6; raise keep"):
        build(EvolutionStrategy, {**TINY, "final": 7})
    with pytest.raises(UsageError, match="'random-search': expected restarts <= pool, got 30 > 20"):
        build(RandomSearch, {**RANDOM, "restarts": 30})


def test_the_small_budget_and_its_control():
    small = build(EvolutionStrategy, EvolutionStrategy.presets["small"])
    per_class = {name: small.cost(3)[name] - small.cost(2)[name] for name in small.cost(1)}
    assert per_class == {"forward": 1 + 40 * 16 + 10 * 10, "backward": 0, "render": 1 + 640 + 10}
    assert small.cost(0) == {"forward": 2000, "backward": 0, "render": 1000}
    assert small.pool == CandidatePool(size=1000, candidates=1, truncation=1.0, cutoff=None)
    assert EvolutionStrategy.presets.keys() == RandomSearch.presets.keys()
    for preset, settings in EvolutionStrategy.presets.items():
        searched, drawn = build(EvolutionStrategy, settings), build(RandomSearch, RandomSearch.presets[preset])
        assert searched.cost(5) == drawn.cost(5)
        assert searched.prior_choice() == drawn.prior_choice()
        assert (searched.pool, searched.objective, searched.selection) == (drawn.pool, drawn.objective, drawn.selection)
    assert build(EvolutionStrategy, {}).cost(5) == build(RandomSearch, {}).cost(5)
    assert build(EvolutionStrategy, EvolutionStrategy.presets["head"]).prior_choice() == "head-model"


def test_the_control_draws_from_the_pools_distribution():
    made, world = build(RandomSearch, {**RANDOM, "truncation": 0.5, "queries": 400}), TinyWorld()
    drawn = made._draw(1, world.prior(), world.attack_context())
    assert drawn.shape == (400, 1, 12)
    assert float(drawn.std()) == pytest.approx(0.5, abs=0.03)
    again, other = (made._draw(label, world.prior(), world.attack_context()) for label in (1, 2))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
