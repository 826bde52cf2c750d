"""Latents of ``head-model`` are people, distributed as those of the dataset."""

import numpy as np
import pytest
import torch
from mibench_datasets.head_model.component import HeadModelPrior
from mibench_datasets.head_model.person import Population
from mibench_datasets.head_model.quantiles import LogGamma
from mibench_datasets.rendered_faces.head import load_head
from mibench_datasets.rendered_faces.identity import sample_coarse, sample_identity
from scipy import stats

from mibench.api import generator

HEAD = load_head()
MANY = 600


def population(**settings):
    return Population(HEAD, **{"seed": 0, "coarse_groups": 5, "shape_spread": 0.35} | settings)


@pytest.fixture(scope="module")
def people():
    who = population()
    return who(torch.randn(MANY, who.size, generator=generator("people")))


@pytest.fixture(scope="module")
def drawn():
    return [sample_identity(HEAD, seed=0, number=k, coarse_groups=5, shape_spread=0.35) for k in range(MANY)]


@pytest.mark.parametrize("shape", [0.6, 1.0, 3.0])
def test_gamma_quantiles_are_those_of_scipy(shape):
    z = torch.linspace(-6, 6, 500)
    got = LogGamma(shape)(z).double().numpy()
    want = np.where(z < 0, np.log(stats.gamma.ppf(stats.norm.cdf(z), shape)),
                    np.log(stats.gamma.isf(stats.norm.sf(z), shape)))  # fmt: skip
    assert np.allclose(got, want, atol=1e-3)
    far = LogGamma(shape)(torch.tensor([-30.0, 30.0]))
    assert far.isfinite().all()


def test_shape_is_distributed_as_in_the_dataset(people, drawn):
    sliders = np.array([identity.sliders_S for identity in drawn])
    ours = people.sliders_BS.numpy()
    assert np.abs(ours).max() <= 1
    assert (ours[:, ~HEAD.slider_two_sided_S] >= 0).all()
    for name in ("head/head-oval", "eyes/eye-scale", "ears/ear-lobe", "nose/nose-hump", "head/head-age"):
        at = HEAD.slider_names.index(name)
        assert stats.ks_2samp(ours[:, at], sliders[:, at]).pvalue > 1e-3
    macros = np.array([identity.macros_M for identity in drawn]).reshape(-1, 3, 2, 2)
    mine = people.macros_BM.numpy().reshape(-1, 3, 2, 2)
    assert np.allclose(mine.sum((1, 2, 3)), 1, atol=1e-5)
    for axes in ((2, 3), (1, 3), (1, 2)):  # ethnicity, sex, age
        for part in range(mine.sum(axes).shape[1]):
            assert stats.ks_2samp(mine.sum(axes)[:, part], macros.sum(axes)[:, part]).pvalue > 1e-3
    for name in ("brows_3", "hairline_2"):
        theirs = np.array([getattr(identity, name) for identity in drawn])
        for part in range(theirs.shape[1]):
            assert stats.ks_2samp(getattr(people, f"{name}B")[part].numpy(), theirs[:, part]).pvalue > 1e-3


def test_groups_look_exactly_as_in_the_dataset_and_are_equally_frequent(people):
    counts = []
    for group in range(5):
        coarse = sample_coarse(0, group)
        members = torch.from_numpy(coarse.skin_3).eq(people.skin_3B.T).all(1)
        counts.append(int(members.sum()))
        for ours, theirs in ((people.hair_3B, coarse.hair_3), (people.iris_3B, coarse.iris_3)):
            assert torch.allclose(ours[:, members].T, torch.from_numpy(theirs))
        assert (people.beard_B[members] == coarse.beard).all()
        assert (people.long_B[members] == (coarse.style == "long")).all()
        if coarse.beard:
            male = people.macros_BM[members].unflatten(1, (3, 2, 2)).sum((1, 3))[:, 1]
            assert male.min() >= 0.6 - 1e-5
    assert sum(counts) == MANY
    assert stats.chisquare(counts).pvalue > 1e-3


def test_derivatives_pass_the_cut_and_the_choice():
    who = population()
    latent = torch.full((1, who.size), 0.5)
    latent[0, :2] = 9.0  # far beyond the end of its slider
    latent.requires_grad_(True)
    person = who(latent)
    assert person.sliders_BS[0, 0] == 1
    (gradient,) = torch.autograd.grad(person.sliders_BS[0, 0] + person.skin_3B.sum(), latent)
    assert gradient[0, 0] == pytest.approx(0.35)
    assert (gradient[0, -5:] != 0).all()


def test_truncation_and_mean():
    prior = HeadModelPrior().build(channels=3, size=16)
    z = prior.sample(3, generator("z"))
    assert torch.equal(prior.to_latent(z, truncation=0.5)[:, 0], 0.5 * z)
    assert torch.equal(prior.to_latent(z, truncation=0.5, cutoff=0)[:, 0], z)
    median = population()(torch.zeros(1, population().size))
    assert median.sliders_BS.abs().max() == 0
    assert torch.allclose(median.macros_BM[0].unflatten(0, (3, 2, 2)).sum((1, 2)), torch.full((3,), 1 / 3))


def test_any_real_vector_is_a_valid_person():
    who = population()
    for scale in (1e-3, 30.0, 1e4):
        person = who(scale * torch.randn(8, who.size, generator=generator("far", str(scale))))
        assert person.sliders_BS.abs().max() <= 1
        assert torch.allclose(person.macros_BM.sum(1), torch.ones(8), atol=1e-5)
        assert (person.macros_BM >= 0).all()
        assert person.brows_3B.abs().max() <= 1


def test_other_parameters_are_other_people():
    assert not torch.equal(population().groups_GK, population(seed=1).groups_GK)
    assert population(coarse_groups=9).size == population().size + 4
    one = torch.ones(1, population().size)
    assert population(shape_spread=0.1)(one).sliders_BS.max() < population()(one).sliders_BS.max()
