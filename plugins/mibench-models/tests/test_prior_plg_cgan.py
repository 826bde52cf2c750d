"""PLG-MI's prior: pseudo labels, hinge and projection by hand, conditioning, resuming."""

import numpy as np
import pytest
import torch
from mibench_models.priors.parts.pseudo_labels import draw_pairs, pseudo_labels
from mibench_models.priors.parts.target_guidance import changed, margin
from mibench_models.priors.plg_cgan.component import PlgCgan
from mibench_models.priors.plg_cgan.networks import ConditionalGan, ConditionalNorm, ProjectionCritic
from mibench_models.priors.plg_cgan.training import CganTrainer
from torch import nn

from mibench.api import Access, Classifier, ImageSet, TargetView, TensorImages, UsageError, generator, seeded
from mibench.api.params import build
from mibench.testing import TinyWorld
from mibench.testing.checks import global_rng_untouched, same_tensors, snapshot

TINY = {"z_dim": 6, "width": 2, "top": 5, "steps": 4, "critic_steps": 2, "batch": 6}
CPU = torch.device("cpu")


def trainer(world: TinyWorld = TinyWorld(), **settings: object) -> CganTrainer:  # noqa: B008
    model = build(PlgCgan, TINY | settings)
    with seeded("init"):
        prior = model.build(channels=world.channels, size=world.size, classes=world.classes)
    made = model.trainer(prior, world.images("public"), target=world.target(), seed=5, device=CPU)
    assert isinstance(made, CganTrainer)
    return made


class Table(nn.Module):
    """Answers with the pixels themselves: an image is a row of logits."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.fc = nn.Flatten(), nn.Linear(3, 3, bias=False)
        self.fc.weight.data = torch.eye(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.flat(x)[:, :3])


def table(rows: list[list[int]]) -> tuple[TargetView, ImageSet]:
    pixels = torch.zeros(len(rows), 1, 2, 2, dtype=torch.uint8)
    pixels.view(len(rows), 4)[:, :3] = torch.tensor(rows, dtype=torch.uint8)
    net = Classifier(Table(), head="fc", stage_names=["flat"], mean=[0.0], std=[1 / 255], channels=1)
    return TargetView(net, Access.SCORES), TensorImages(pixels, torch.zeros(len(rows), dtype=torch.long), 1)


def test_pseudo_labels_by_hand() -> None:
    target, images = table([[0, 0, 0], [9, 8, 0], [3, 3, 3], [1, 0, 0], [0, 7, 9]])
    # rows of softmax: thirds; .73 .27 0; thirds; .58 .21 .21; 0 .12 .88
    found = pseudo_labels(target, images, 3, device=CPU)
    assert found.tolist() == [[1, 3, 0], [0, 2, 1], [4, 0, 2]]  # image 0 serves three classes; equals by position
    assert target.ledger.forward == 5
    assert target.ledger.backward == 0
    with pytest.raises(UsageError, match="top=6"):
        pseudo_labels(target, images, 6, device=CPU)


def test_images_of_broken_answers_come_last() -> None:
    target, images = table([[0, 0, 0], [9, 8, 0], [7, 7, 7]])
    answer = target.logits
    target.logits = lambda x: answer(x) * torch.tensor([[1.0], [torch.nan], [1.0]])
    assert pseudo_labels(target, images, 3, device=CPU).tolist() == [[0, 2, 1]] * 3


def test_pairs_are_drawn_alike_with_their_class() -> None:
    index = torch.tensor([[7, 1], [1, 3], [5, 4]])
    chosen, labels = draw_pairs(index, 6000, generator("pairs"))
    assert all(int(image) in index[int(label)] for image, label in zip(chosen, labels, strict=True))
    counts = torch.bincount(chosen, minlength=8)
    assert 1800 < counts[1] < 2200
    assert 850 < counts[7] < 1150
    assert counts[0] == 0


def test_margin_of_the_reference_vector() -> None:
    logits, y = torch.tensor([[2.0, 1.0, -1.0]] * 2), torch.tensor([0, 2])
    assert margin(logits, y).tolist() == [-1.0, 3.0]
    assert margin(logits, y, k=20).tolist() == [-2.0, 2.5]


def test_changes_are_per_image_and_gentle() -> None:
    ramp = torch.linspace(0, 1, 32).expand(50, 1, 32, 32).contiguous().requires_grad_(True)
    seen = changed(ramp, generator("views"))
    mirrored = seen[:, 0, :, :16].mean((1, 2)) > seen[:, 0, :, 16:].mean((1, 2))
    assert 15 < mirrored.sum() < 35
    flat = changed(torch.full((50, 3, 8, 8), 0.5), generator("views"))
    torch.testing.assert_close(flat, flat[:, :1, :1, :1].expand_as(flat))  # geometry and contrast leave grey alone
    assert 0.4 <= flat.min() < 0.45
    assert 0.55 < flat.max() <= 0.6
    (gradient,) = torch.autograd.grad(seen.sum(), ramp)
    assert gradient.flatten(1).abs().sum(1).gt(0).all()


def test_conditional_norm_mixes_gains_and_biases() -> None:
    norm = ConditionalNorm(2, 3).eval()
    norm.gain_KC.data = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    norm.bias_KC.data = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.0, 5.0]])
    x = torch.ones(2, 2, 1, 1)
    found = norm(x, torch.tensor([[0.0, 0.0, 1.0], [1 / 3, 1 / 3, 1 / 3]])).flatten(1) * (1 + 1e-5) ** 0.5
    torch.testing.assert_close(found, torch.tensor([[5.0, 11.0], [3.0, 6.0]]), atol=1e-4, rtol=0)


def conv(x: np.ndarray, layer: nn.Module) -> np.ndarray:
    """Convolve in float64 with a spectrally normalised layer of the module, normalised by a full decomposition."""
    original = layer.parametrizations.weight.original.detach().double().numpy()
    weight = original / np.linalg.svd(original.reshape(len(original), -1), compute_uv=False)[0]
    reach = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    side, size = weight.shape[-1], x.shape[-1]
    out = sum(
        np.einsum("bchw,oc->bohw", padded[:, :, i : i + size, j : j + size], weight[:, :, i, j])
        for i in range(side)
        for j in range(side)
    )
    return out + layer.bias.detach().double().numpy()[None, :, None, None]


def halve(x: np.ndarray) -> np.ndarray:
    batch, channels, side, _ = x.shape
    return x.reshape(batch, channels, side // 2, 2, side // 2, 2).mean((3, 5))


def test_projection_critic_against_float64() -> None:
    with seeded("critic"):
        critic = ProjectionCritic(3, 2, size=8, width=2)
    for _ in range(200):
        critic(torch.rand(1, 2, 8, 8, generator=generator("warm")))  # converge the power iterations
    critic.eval()
    x = torch.rand(4, 2, 8, 8, generator=generator("x"))
    first, second = critic.blocks
    h = x.double().numpy()
    h = halve(conv(np.maximum(conv(h, first.conv1), 0), first.conv2)) + conv(halve(h), first.skip)
    inner = np.maximum(conv(np.maximum(h, 0), second.conv1), 0)
    h = halve(conv(inner, second.conv2)) + halve(conv(h, second.skip))
    h = np.maximum(h, 0).sum((2, 3))

    def linear(layer: nn.Module) -> np.ndarray:
        weight = layer.parametrizations.weight.original.detach().double().numpy()
        return weight / np.linalg.svd(weight, compute_uv=False)[0]

    score = h @ linear(critic.score).T[:, 0] + critic.score.bias.item()
    labels = [0, 2, 1, 2]
    truth = score + (linear(critic.embedding).T[labels] * h).sum(1)
    found = critic(x, nn.functional.one_hot(torch.tensor(labels), 3).float())
    np.testing.assert_allclose(found.detach().numpy(), truth, atol=1e-4)
    average = score + (linear(critic.embedding).T.mean(0) * h).sum(1)
    np.testing.assert_allclose(critic(x).detach().numpy(), average, atol=1e-4)


def test_hinge_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer()
    answers = iter([torch.tensor([0.5, -2.0, -0.5]), torch.tensor([2.0, 0.25, -1.0])])
    monkeypatch.setattr(
        ProjectionCritic, "forward", lambda self, x, y: next(answers) + 0 * self.score.bias.sum(), raising=True
    )
    signals = made._critic_step(0, 0)
    # fakes: relu(1 + d) = 1.5, 0, 0.5; reals: relu(1 - d) = 0, 0.75, 2
    assert signals["loss_d"].item() == pytest.approx(2.0 / 3 + 2.75 / 3)
    assert signals["real"].item() == pytest.approx(1.25 / 3)


def test_generator_loss_is_critic_and_weighted_margin() -> None:
    made = trainer(alpha=0.7)
    before = snapshot(made.prior.state_dict())
    signals = made._generator_step(0)
    made.prior.load_state_dict(before)
    fake, y = made._fake("g", 0)
    opinion = -made.prior.critic(fake, made._weights(y)).double().mean()
    logits = TinyWorld().trained()(changed(fake, generator(5, "change", 0)))
    rivals = logits.double().clone()
    rivals[torch.arange(6), y] = -torch.inf
    truth = opinion + 0.7 * (rivals.amax(1) - logits.double()[torch.arange(6), y]).mean()
    assert signals["loss_g"].item() == pytest.approx(truth.item(), abs=1e-5)


def test_reals_are_dequantised_public_images() -> None:
    made = trainer()
    x, y = made._real(0, 0)
    public = TinyWorld().images("public").all_images()
    added = (x[:, None] - public[None]).flatten(2)
    fits = (added.amin(2) >= -1e-6) & (added.amax(2) <= 1 / 256 + 1e-6)
    assert fits.any(1).all()
    assert all(int(fits[row].float().argmax()) in made.pseudo_KT[int(y[row])] for row in range(len(y)))


@pytest.mark.parametrize("alpha", [0.2, 0.0])
def test_resumed_training_is_equal_to_the_byte(alpha: float) -> None:
    straight, first, second = (trainer(alpha=alpha) for _ in range(3))
    with global_rng_untouched("the training"):
        signals = [straight.step(index) for index in range(4)]
    again = [first.step(index) for index in range(2)]
    saved = first.state()
    first.step(2)  # what was saved must not change with the trainer
    second.load_state(saved)
    again += [second.step(index) for index in range(2, 4)]
    assert signals == again
    assert same_tensors(straight.state(), second.state())
    assert same_tensors(straight.finish().state_dict(), second.finish().state_dict())


def test_a_resumed_training_asks_for_no_labels_again() -> None:
    first, second = trainer(), trainer()
    first.step(0)
    assert first.target.ledger.forward == 24 + 6
    assert first.target.ledger.backward == 6
    second.load_state(first.state())
    second.step(1)
    assert second.target.ledger.forward == 6


def test_power_iterations_are_part_of_the_state() -> None:
    made = trainer()
    made.step(0)
    names = [name for name in made.state() if name.endswith("_u")]
    assert len(names) == 3 * 3 + 2
    frozen = made.finish()
    before = snapshot(frozen.state_dict())
    frozen.discriminator(torch.rand(2, 3, 16, 16, generator=generator("x")))
    assert same_tensors(before, snapshot(frozen.state_dict()))


@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 64), (3, 8)])
def test_shapes_and_conditioning(channels: int, size: int) -> None:
    with seeded("init"):
        prior = build(PlgCgan, {"z_dim": 6, "width": 1}).build(channels=channels, size=size, classes=4)
        for part in prior.modules():
            if isinstance(part, ConditionalNorm):
                nn.init.normal_(part.gain_KC, 1.0, 0.3)
    prior.eval()
    latent = prior.to_latent(prior.sample(3, generator("z")))
    assert latent.shape == (3, 1, 10)
    labelled = prior.condition(latent, torch.tensor([2, 0, 2]))
    assert labelled[:, 0, 6:].tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    torch.testing.assert_close(labelled[..., :6], latent[..., :6])
    image = prior.render(labelled)
    assert image.shape == (3, channels, size, size)
    assert image.min() < 0  # tanh, not clamped
    other = prior.render(prior.condition(latent, torch.tensor([1, 1, 1])))
    assert (image - other).abs().amax((1, 2, 3)).gt(1e-4).all()
    torch.testing.assert_close(prior.render(labelled[1:2]), image[1:2], atol=1e-5, rtol=0)
    assert prior.discriminator(image.clamp(0, 1)).shape == (3,)
    assert prior.to_latent(prior.sample(3, generator("z")), truncation=0.0)[..., :6].eq(0).all()
    with pytest.raises(ValueError, match="one block"):
        prior.render(latent, start=1)


def test_finished_prior_is_frozen() -> None:
    made = trainer(TinyWorld(channels=1))
    made.step(0)
    prior = made.finish()
    assert isinstance(prior, ConditionalGan)
    assert not prior.training
    assert not any(weights.requires_grad for weights in prior.parameters())
    assert prior.crop_and_resize(prior.render(prior.to_latent(prior.sample(2, generator(0)))), 10).shape == (
        2,
        1,
        10,
        10,
    )


def test_odd_sizes_are_refused_and_presets_build() -> None:
    with pytest.raises(UsageError, match="got 48"):
        PlgCgan().build(channels=3, size=48, classes=2)
    assert all(build(PlgCgan, settings) for settings in PlgCgan.presets.values())
