"""LOMMA: its contract with both hosts, its identity loss against float64, its students."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_attacks.methods.lomma import Lomma
from mibench_attacks.students.distillation import Distiller, query_teacher
from mibench_attacks.students.networks import make_student
from mibench_models.priors.dcgan.component import DcganPrior
from torch.testing import assert_close

from mibench.api import Access, AccessError, Prior, UsageError, freeze, generator, run_attack, seeded
from mibench.api.params import build, canonical
from mibench.testing import AttackContract
from mibench.testing.tiny_world import TinyWorld

SETTINGS = {
    "candidates": 4, "final": 3, "steps": 3, "samples": 2, "batch_ref": 5, "batch": 3, "public_images": 30,
    "students": ["cnn-2", "cnn-3"], "student_epochs": 2, "student_batch": 8,
}  # fmt: skip
WORLD = TinyWorld()  # 24 public images


def dcgan(world: TinyWorld = WORLD) -> Prior:
    with seeded("dcgan"):
        prior = DcganPrior(z_dim=6, width=4).build(channels=world.channels, size=world.size)
    prior.generator.image[0].weight.data *= 20
    return freeze(prior)


class TestLommaOnGmi(AttackContract):
    component = Lomma
    settings = SETTINGS

    def prior(self) -> Prior:
        return dcgan(self.world)


class TestAlignedGreyLommaOnKed(TestLommaOnGmi):
    settings: ClassVar = dict(SETTINGS, host="ked", align="paa", n_aug=2)
    world = TinyWorld(channels=1)


def made(**settings):
    return build(Lomma, SETTINGS | settings)


def attack(attack, classes=(1,), ctx=None, target=None):
    target, ctx = target or WORLD.target(), ctx or WORLD.attack_context()
    return list(run_attack(attack, classes, target, dcgan(), ctx)), target


VARIANTS = {
    "lomma": {},
    "logit": {"augment": False},
    "augment": {"logit": False},
    "baseline": {"logit": False, "augment": False},
    "ked": {"host": "ked"},
    "aligned": {"align": "taa", "n_aug": 2},
}
variants = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())


@variants
def test_the_ledger_equals_the_formula(settings):
    _, target = attack(made(**settings), [0, 2])
    cost = dict(made(**settings).cost(2))
    assert vars(target.ledger) == cost
    public = 0 if settings == VARIANTS["baseline"] else 30
    assert cost["forward"] == public + cost["backward"] + 2 * 4


@variants
def test_the_batch_changes_no_image(settings):
    (whole,), _ = attack(made(**settings, batch=50))
    (single,), _ = attack(made(**settings, batch=1))
    assert_close(whole.images_NCHW, single.images_NCHW, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["lomma", "logit", "augment", "baseline"])
def test_the_identity_loss_equals_float64(name):
    lomma, target, ctx = made(**VARIANTS[name], lam=0.7), WORLD.target(), WORLD.attack_context()
    shared = lomma.prepare(target, dcgan(), ctx)
    x, _ = WORLD.batch(5)
    logits, features = (out.double().numpy() for out in target.logits_and_features(x))
    models = [logits, *(student(x).detach().double().numpy() for student in shared.students)]
    assert len(models) == (3 if name in {"lomma", "augment"} else 1)
    if name in {"lomma", "logit"}:
        public = WORLD.attack_context().public.all_images()
        mean = shared.mean_D.double().numpy()
        seen = query_teacher(WORLD.target(), ctx, 30, batch=8).index_M
        np.testing.assert_allclose(mean, target.features(public[seen]).double().numpy().mean(0), atol=1e-5)
        expected = np.mean([-model[:, 2] for model in models], 0) + 0.7 * ((features - mean) ** 2).mean(1)
    else:
        expected = np.mean([np.log(np.exp(model).sum(1)) - model[:, 2] for model in models], 0)
    np.testing.assert_allclose(
        lomma.objective.of_class(2, target, shared.students, shared.mean_D)(x).numpy(), expected, rtol=1e-5, atol=1e-6
    )


def test_the_distillation_set_shows_every_image_before_any_again():
    ctx, target = WORLD.attack_context(), WORLD.target()
    distillation_set = query_teacher(target, ctx, 30, batch=7)
    assert (
        sorted(distillation_set.index_M[:24].tolist()) == list(range(24))
        and len(set(distillation_set.index_M[24:].tolist())) == 6
    )
    assert vars(target.ledger) == {"forward": 30, "backward": 0, "render": 0}
    assert_close(distillation_set.logits_MK, target.logits(ctx.public.images(distillation_set.index_M)))
    assert len(set(query_teacher(target, ctx, 5, batch=7).index_M.tolist())) == 5


def test_a_student_descends_the_divergence_as_published():
    """One student that is linear: two SGD updates with momentum, decay and a halved rate, in float64."""
    ctx, target = WORLD.attack_context(), WORLD.target()
    distillation_set = query_teacher(target, ctx, 8, batch=8)
    student = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 256, 4, bias=False))
    x = ctx.public.images(distillation_set.index_M).flatten(1).double().numpy()
    q = distillation_set.logits_MK.double().softmax(1).numpy()
    w, v = student[1].weight.detach().double().numpy().copy(), 0.0
    for epoch in range(22):
        p = np.exp(x @ w.T) / np.exp(x @ w.T).sum(1, keepdims=True)
        v = 0.9 * v + (p - q).T @ x / 8 + 1e-4 * w
        w = w - (0.01 if epoch < 20 else 0.005) * v
    distiller = Distiller(students=(), public_images=8, epochs=22, lr=0.01, batch=8)
    distiller.train_student(student, distillation_set, [generator("order", epoch) for epoch in range(22)])
    np.testing.assert_allclose(student[1].weight.detach().numpy(), w, atol=2e-5)


def test_students_learn_to_agree_with_the_target():
    ctx, target = WORLD.attack_context(), WORLD.target()
    distiller = Distiller(students=("cnn-4",), public_images=24, epochs=20, lr=0.05, batch=8)
    (student,), _ = distiller.distill(target, ctx)
    x = ctx.public.all_images()
    q = target.logits(x).softmax(1)
    untrained = q.clamp_min(1e-9).log().mul(q).sum(1).mean() + torch.tensor(4.0).log()  # against a uniform guess
    apart = (q * (q.clamp_min(1e-9).log() - student(x).log_softmax(1))).sum(1).mean()
    assert apart < 0.5 * untrained
    assert not any(p.requires_grad for p in student.parameters()) and not student.training


def test_a_restart_finds_its_students_and_makes_the_same_images():
    kept, made_times = {}, []

    def remember(name, make):
        if name not in kept:
            made_times.append(name)
            kept[name] = {key: tensor.clone() for key, tensor in make().items()}
        return kept[name]

    ctx = WORLD.attack_context()
    ctx.cached = remember
    (first,), _ = attack(made(), ctx=ctx)
    (again,), target = attack(made(), ctx=ctx)
    (plain,), _ = attack(made())
    assert made_times == ["students"]
    assert torch.equal(first.images_NCHW, again.images_NCHW) and torch.equal(first.images_NCHW, plain.images_NCHW)
    assert target.ledger.forward == made().cost(1)["forward"] - 30


def test_the_switches_change_the_attack():
    images = [attack(made(**VARIANTS[name]))[0][0].images_NCHW for name in ("lomma", "logit", "augment", "baseline")]
    assert all(not torch.equal(images[i], images[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["cnn-4", "efficientnet_b0"])
def test_students_take_any_images(name, channels):
    with seeded("student"), torch.no_grad():
        student = make_student(name, channels=channels, num_classes=5).eval()
        assert student(torch.rand(2, channels, 32, 32)).shape == (2, 5)


def test_wrong_settings_are_explained():
    for students in (["resnet18"], ["cnn-"], ["cnn-0"], ["efficientnet_b9"], ["cnn_b1"]):
        with pytest.raises(UsageError, match="unknown student"):
            made(students=students)
    with pytest.raises(UsageError, match="final <= candidates"):
        made(final=5)
    with pytest.raises(UsageError, match="set clip > 0"):
        made(clip=0)
    made(clip=0, host="ked")
    ctx = WORLD.attack_context()
    with pytest.raises(UsageError, match=r"discriminator.*Set lomma.prior=ked-gan"):
        made(host="ked").prepare(WORLD.target(), WORLD.prior(), ctx)
    ctx.public = None
    with pytest.raises(UsageError, match="needs public images"):
        attack(made(), ctx=ctx)
    attack(made(logit=False, augment=False), ctx=ctx)
    with pytest.raises(AccessError):
        attack(made(), target=WORLD.target(Access.SCORES))


def test_presets_and_prior_choice():
    assert Lomma().prior_choice() == "dcgan" and made(host="ked").prior_choice() == "ked-gan"
    assert made(prior="stylegan2/rendered64").prior_choice() == "stylegan2/rendered64"
    assert Lomma().cost(1)["backward"] == 5 * 2400
    for name, settings in Lomma.presets.items():
        preset = build(Lomma, settings)
        assert build(Lomma, canonical(preset)) == preset
        if name in {"small", "small-ked"}:
            per_step = preset.search.candidates if preset.host == "gmi" else preset.search.samples
            assert preset.selection.final == 6 and 24 * per_step * preset.search.steps <= 30_000
